//! A certificate authority of the tests, certificates that it has signed and others, and both sides of TLS.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig};

/// The names for which the certificate of a server is valid.
const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// The authority of this process.
static AUTHORITY: LazyLock<Authority> = LazyLock::new(Authority::generate);

/// The identity of all servers that need no other.
static THIS_HOST: LazyLock<Identity> = LazyLock::new(|| Identity::signed_for(&NAMES));

static CLIENT: LazyLock<Arc<ClientConfig>> = LazyLock::new(|| {
    let mut roots = RootCertStore::empty();
    roots.add(AUTHORITY.certificate.clone()).expect("a certificate");
    let versions = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    Arc::new(versions.expect("a provider").with_root_certificates(roots).with_no_client_auth())
});

struct Authority {
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn generate() -> Self {
        let mut params = params("authority of the tests", &[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate").into();
        Self { certificate, issuer: Issuer::new(params, key) }
    }
}

/// A certificate of a server and its key.
#[derive(Clone)]
pub struct Identity {
    authority: CertificateDer<'static>,
    certificate: CertificateDer<'static>,
    /// In PKCS #8.
    key: Vec<u8>,
}

impl Identity {
    /// A certificate for all names of this host, always the same one in a process.
    pub fn of_this_host() -> Self {
        THIS_HOST.clone()
    }

    /// A new certificate for these names, signed by the authority of this process.
    pub fn signed_for(names: &[&str]) -> Self {
        let key = KeyPair::generate().expect("a key");
        let certificate = params("server of the tests", names).signed_by(&key, &AUTHORITY.issuer);
        let (certificate, authority) = (certificate.expect("a certificate").into(), AUTHORITY.certificate.clone());
        Self { authority, certificate, key: key.serialize_der() }
    }

    /// A new certificate that has signed itself and is its own authority, as that of `openssl req -x509`.
    pub fn self_signed(names: &[&str]) -> Self {
        let mut params = params("self-signed server of the tests", names);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let certificate: CertificateDer = params.self_signed(&key).expect("a certificate").into();
        Self { authority: certificate.clone(), certificate, key: key.serialize_der() }
    }

    /// The server side of TLS with this certificate.
    pub fn server(&self) -> Arc<ServerConfig> {
        let versions = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.clone()));
        let builder = versions.expect("a provider").with_no_client_auth();
        Arc::new(builder.with_single_cert(vec![self.certificate.clone()], key).expect("a key of the certificate"))
    }

    /// Writes the files into a folder.
    #[track_caller]
    pub fn write(&self, folder: &Path) -> CertificateFiles {
        let file = |name: &str, label, der: &[u8]| {
            let path = folder.join(name);
            fs::write(&path, pem(label, der)).expect("a folder");
            path
        };
        CertificateFiles {
            ca: file("ca.pem", "CERTIFICATE", &self.authority),
            certificate: file("certificate.pem", "CERTIFICATE", &self.certificate),
            key: file("key.pem", "PRIVATE KEY", &self.key),
        }
    }
}

/// The files of a server's TLS, and of a client's trust in it.
#[derive(Clone, Debug)]
pub struct CertificateFiles {
    /// The certificate of the authority.
    pub ca: PathBuf,
    /// The certificate of the server.
    pub certificate: PathBuf,
    /// The key of the server.
    pub key: PathBuf,
}

fn params(name: &str, names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().copied().map(str::to_owned).collect();
    let mut params = CertificateParams::new(names).expect("names");
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// The text form of RFC 7468.
fn pem(label: &str, der: &[u8]) -> String {
    const LINE: usize = 64;
    let text = STANDARD.encode(der);
    let lines: Vec<&str> = (0..text.len()).step_by(LINE).map(|at| &text[at..text.len().min(at + LINE)]).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// The client side of a connection to this address, which trusts the authority.
pub fn client(server: IpAddr) -> ClientConnection {
    ClientConnection::new(Arc::clone(&CLIENT), ServerName::IpAddress(server.into())).expect("a configuration")
}
