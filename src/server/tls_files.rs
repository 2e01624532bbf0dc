//! The files of the certificate and its key: read and checked at the start, when they change, and on request. What is wrong
//! never replaces what is in use.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{SHA256, digest};
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{Ticketer, default_provider};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{MissedTickBehavior, interval};
use tracing::{info, warn};
use x509_parser::parse_x509_certificate;
use x509_parser::time::ASN1Time;

use crate::config::{self, ConfigError, TlsPorts, TlsRules, read_file};
use crate::metrics::Counter;
use crate::net::handshakes::TlsServer;

/// The time between two looks at the files.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// A certificate that ends within this many seconds is warned of: 14 days.
const ENDS_SOON_SECONDS: i64 = 14 * 24 * 60 * 60;

/// The time between two warnings of the end of a certificate.
const WARN_EVERY: Duration = Duration::from_secs(24 * 60 * 60);

/// What a reload has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The files are those in use.
    Unchanged,
    /// New connections get another certificate.
    Replaced,
}

/// What asks for a reload, and gets the answer.
pub type ReloadRequest = oneshot::Sender<anyhow::Result<Change>>;

/// The certificate of a server, if it speaks TLS, and where workers get it.
#[derive(Debug)]
pub struct Certificate {
    server: watch::Sender<TlsServer>,
    files: Option<TlsFiles>,
    ask: mpsc::Sender<ReloadRequest>,
    asked: mpsc::Receiver<ReloadRequest>,
}

/// The files of a server that speaks TLS.
#[derive(Debug)]
struct TlsFiles {
    rules: TlsRules,
    /// For the metric, in Unix seconds.
    not_after: Arc<Counter>,
    ends: ASN1Time,
    in_use: Seen,
    /// The files as they were at the last look, right or wrong.
    last: Seen,
    warned_at: Option<Instant>,
}

/// The digest of the files, or why they cannot be read. A secret is kept nowhere.
type Seen = Result<Vec<u8>, String>;

/// What the two files hold.
struct Contents {
    certificate: Vec<u8>,
    key: Vec<u8>,
    /// A warning if others can read the key.
    exposure: Option<String>,
}

/// A certificate with its key, ready to be used.
struct Loaded {
    server: TlsServer,
    ends: ASN1Time,
}

impl Certificate {
    /// Reads the files of a server that speaks TLS. The end of the certificate is stored in `not_after`, in Unix seconds.
    ///
    /// # Errors
    /// A file cannot be read, or holds no certificate, or no private key, or not that of the certificate.
    pub fn load(rules: Option<&TlsRules>, not_after: &Arc<Counter>) -> anyhow::Result<Self> {
        let (ask, asked) = mpsc::channel(1);
        let server = watch::Sender::default();
        let files = rules.map(|rules| TlsFiles::load(rules, Arc::clone(not_after), &server)).transpose()?;
        Ok(Self { server, files, ask, asked })
    }

    /// Where workers get what new connections use.
    pub fn server(&self) -> watch::Receiver<TlsServer> {
        self.server.subscribe()
    }

    /// Where a reload is asked for.
    pub fn requests(&self) -> mpsc::Sender<ReloadRequest> {
        self.ask.clone()
    }

    /// Uses the files when they have changed and when it is asked to, for as long as it is polled. Never returns.
    pub async fn watch(&mut self) {
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = looks.tick(), if self.files.is_some() => self.look(),
                Some(answer) = self.asked.recv() => {
                    // Who asked may not wait for the answer.
                    let _ = answer.send(self.reload());
                }
            }
        }
    }

    fn look(&mut self) {
        if let Some(files) = &mut self.files {
            files.look(&self.server);
            files.warn_of_end();
        }
    }

    fn reload(&mut self) -> anyhow::Result<Change> {
        let Some(files) = &mut self.files else { return Ok(Change::Unchanged) };
        files.apply(Contents::read(&files.rules), &self.server)
    }
}

impl TlsFiles {
    fn load(rules: &TlsRules, not_after: Arc<Counter>, used: &watch::Sender<TlsServer>) -> anyhow::Result<Self> {
        let contents = Contents::read(rules);
        let seen = seen(&contents);
        let contents = contents?;
        let Loaded { server, ends } = contents.check(rules)?;
        contents.exposure.iter().for_each(|warning| warn!("{warning}"));
        used.send_replace(server);
        let (in_use, last) = (seen.clone(), seen);
        let mut files = Self { rules: rules.clone(), not_after, ends, in_use, last, warned_at: None };
        files.begin_use("tls certificate");
        Ok(files)
    }

    /// Uses the files if they have changed since they were last read. Logs once for each content that is wrong, as a file
    /// that is half written.
    fn look(&mut self, used: &watch::Sender<TlsServer>) {
        let contents = Contents::read(&self.rules);
        if seen(&contents) != self.last
            && let Err(error) = self.apply(contents, used)
        {
            warn!(error = format!("{error:#}"), "the tls certificate in use stays");
        }
    }

    /// Uses the files from here on, once they are known to be right.
    fn apply(&mut self, contents: anyhow::Result<Contents>, used: &watch::Sender<TlsServer>) -> anyhow::Result<Change> {
        self.last = seen(&contents);
        if self.last == self.in_use {
            return Ok(Change::Unchanged);
        }
        let Loaded { server, ends } = contents?.check(&self.rules)?;
        used.send_replace(server);
        self.in_use.clone_from(&self.last);
        (self.ends, self.warned_at) = (ends, None);
        self.begin_use("tls certificate replaced");
        Ok(Change::Replaced)
    }

    fn begin_use(&mut self, phrase: &'static str) {
        self.not_after.set(u64::try_from(self.ends.timestamp()).unwrap_or_default());
        info!(certificate = %self.rules.certificate.display(), ends = %self.ends, "{phrase}");
        self.warn_of_end();
    }

    /// Warns once a day of a certificate that ends soon or has ended.
    fn warn_of_end(&mut self) {
        let seconds_left = self.ends.timestamp() - ASN1Time::now().timestamp();
        let is_due = self.warned_at.is_none_or(|warned_at| warned_at.elapsed() >= WARN_EVERY);
        if seconds_left < ENDS_SOON_SECONDS && is_due {
            self.warned_at = Some(Instant::now());
            let certificate = self.rules.certificate.display();
            match seconds_left > 0 {
                true => warn!(%certificate, ends = %self.ends, "the tls certificate ends soon: replace it"),
                false => warn!(%certificate, ended = %self.ends, "the tls certificate has ended: replace it"),
            }
        }
    }
}

/// Refuses files that [`Certificate::load`] would refuse.
///
/// # Errors
/// As of [`Certificate::load`].
pub fn check(rules: &TlsRules) -> anyhow::Result<()> {
    Contents::read(rules)?.check(rules).map(drop)
}

impl Contents {
    fn read(rules: &TlsRules) -> anyhow::Result<Self> {
        let (certificate, _) = read_file("tls-cert", &rules.certificate)?;
        let (key, metadata) = read_file("tls-key", &rules.key)?;
        Ok(Self { certificate, key, exposure: config::exposure("tls-key", &rules.key, &metadata) })
    }

    /// Makes of the files what workers use, once it is certain that they belong together.
    fn check(&self, rules: &TlsRules) -> anyhow::Result<Loaded> {
        let wrong_certificate = |rule: &str| wrong("tls-cert", &rules.certificate, rule);
        let wrong_key = |rule: &str| wrong("tls-key", &rules.key, rule);
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&self.certificate).collect();
        let chain = chain.ok().filter(|chain| !chain.is_empty());
        let chain = chain.ok_or_else(|| wrong_certificate("must hold PEM sections BEGIN CERTIFICATE, whole"))?;
        // What is wrong with a key is not told: its text might be part of it.
        let key = PrivateKeyDer::from_pem_slice(&self.key)
            .map_err(|_| wrong_key("must hold a PEM section BEGIN PRIVATE KEY, whole and without a passphrase"))?;
        let ends = parse_x509_certificate(&chain[0]).map(|(_, leaf)| leaf.validity().not_after);
        let ends = ends.map_err(|error| wrong_certificate(&format!("must be a certificate of X.509: {error}")))?;
        let provider = Arc::new(default_provider());
        let certified = CertifiedKey::from_der(chain, key, &provider).map_err(|error| {
            let certificate = rules.certificate.display();
            wrong_key(&format!("must be the private key of the first certificate in {certificate}: {error}"))
        })?;
        let resolver: Arc<dyn ResolvesServerCert> = Arc::new(SingleCertAndKey::from(certified));
        Ok(Loaded { server: server(rules.ports, &provider, &resolver)?, ends })
    }
}

/// The configurations of the ports. Resumption needs no memory here: the client keeps its ticket, sealed.
fn server(
    ports: TlsPorts,
    provider: &Arc<CryptoProvider>,
    resolver: &Arc<dyn ResolvesServerCert>,
) -> anyhow::Result<TlsServer> {
    let builder = ServerConfig::builder_with_provider(Arc::clone(provider)).with_safe_default_protocol_versions()?;
    let mut lines = builder.with_no_client_auth().with_cert_resolver(Arc::clone(resolver));
    lines.session_storage = Arc::new(NoServerSessionStorage {});
    lines.ticketer = Ticketer::new()?;
    lines.send_tls13_tickets = 1;
    let mut http = lines.clone();
    http.alpn_protocols = vec![b"http/1.1".to_vec()];
    let is_on = |port| ports == port || ports == TlsPorts::Both;
    Ok(TlsServer {
        lines: is_on(TlsPorts::Tcp).then(|| Arc::new(lines)),
        http: is_on(TlsPorts::Http).then(|| Arc::new(http)),
    })
}

fn seen(contents: &anyhow::Result<Contents>) -> Seen {
    match contents {
        Ok(Contents { certificate, key, .. }) => {
            let digests = [certificate, key].map(|file| digest(&SHA256, file));
            Ok(digests.iter().flat_map(AsRef::as_ref).copied().collect())
        }
        Err(error) => Err(format!("{error:#}")),
    }
}

fn wrong(setting: &'static str, path: &Path, rule: impl Into<String>) -> anyhow::Error {
    ConfigError::new(setting, path.display(), rule).into()
}
