//! Hooks: before a client connects, joins or publishes, the application is asked whether it may. Off by default. A
//! decision that is known at once costs no future; a question holds up its own client and nobody else.

mod addresses;
mod answer;
mod cache;
mod circuit;
mod client;
mod deciding;
mod metrics;
mod question;
mod signature;

use std::cell::RefCell;
use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::Uri;
use hyper_rustls::ConfigBuilderExt;
use ipnet::IpNet;
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use serde::Serialize;
use strum::{EnumCount, IntoStaticStr, VariantArray};
use tracing::warn;

use self::addresses::not_allowed;
use self::answer::Asked;
use self::cache::{Cache, Key};
use self::circuit::Circuit;
use self::client::ApplicationClient;
pub use self::deciding::Deciding;
use self::deciding::QuestionLimit;
pub use self::metrics::HookMetrics;
use self::metrics::Outcome;
pub use self::question::{Question, Wish};
use self::signature::Signer;
use crate::auth::UnixSeconds;
use crate::auth::tokens::{SubscriptionToken, Token};
use crate::config::{ConfigError, HookPolicy, HookRules};
use crate::log::LogThrottle;
use crate::protocol::publication::Data;

/// What the application is asked before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, EnumCount, IntoStaticStr, VariantArray)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Hook {
    /// A client connects.
    Connect,
    /// A client joins a room.
    Join,
    /// A client publishes to a room.
    Publish,
}

/// Whether a client may do what it wishes.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// It may.
    Allowed(Allowed),
    /// It may not.
    Refused(Refusal),
}

/// What the application allows.
#[derive(Clone, Debug, PartialEq)]
pub enum Allowed {
    /// What the client wishes.
    AsAsked,
    /// To connect as if the client had presented this token.
    Identity(Box<Token>),
    /// To join as if the client had presented this token of a subscription.
    Membership(Box<SubscriptionToken>),
    /// To publish this instead.
    Data(Data),
}

/// Why a client may not do what it wishes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The reason that the application gives, on one line of bounded length.
    ByApplication(Box<str>),
    /// The application has given no answer, and the setting of the hook is `deny`.
    NoAnswer,
}

/// A question that was asked.
pub enum Asking {
    /// The decision is known.
    Ready(Decision),
    /// The decision comes, within the time of `hook-timeout`.
    Later(Deciding),
}

/// The application, as all workers share it.
pub struct Application {
    url: Uri,
    signer: Signer,
    policies: [HookPolicy; Hook::COUNT],
    timeout: Duration,
    concurrency: usize,
    networks: Arc<[IpNet]>,
    tls: Arc<ClientConfig>,
    message_bytes_max: usize,
}

/// The questions of one worker.
pub struct Hooks {
    application: Arc<Application>,
    client: ApplicationClient,
    limit: QuestionLimit,
    circuit: RefCell<Circuit>,
    cache: RefCell<Cache>,
    failures: LogThrottle,
    metrics: Arc<HookMetrics>,
    /// Reads the clock of the calendar, by which questions are signed and claims end.
    unix_seconds: fn() -> UnixSeconds,
}

impl Hook {
    /// The hook as the question and the metrics name it.
    pub fn word(self) -> &'static str {
        self.into()
    }
}

impl Application {
    /// The application of these rules, with the bytes of the file of its secret.
    ///
    /// # Errors
    /// The secret is too short, the URL names an address that is not allowed, or the system has no list of authorities.
    pub fn new(rules: &HookRules, secret: &[u8], message_bytes_max: usize) -> Result<Self, ConfigError> {
        let signer = Signer::new(secret).ok_or_else(|| {
            ConfigError::new("hook-secret-file", rules.secret_file.display(), "a secret of at least 32 bytes")
        })?;
        let host = rules.url.host().unwrap_or_default().trim_matches(['[', ']']);
        if let Ok(address) = host.parse::<IpAddr>()
            && let Some(what) = not_allowed(address, &rules.networks)
        {
            let rule = format!("the address is {what}, and {{hook-networks}} does not list it");
            return Err(ConfigError::new("hook-url", &rules.url, rule));
        }
        let is_tls = rules.url.scheme_str() == Some("https");
        let tls = tls_config(is_tls).map_err(|error| {
            ConfigError::new("hook-url", &rules.url, format!("the system has no list of authorities for TLS: {error}"))
        })?;
        Ok(Self {
            url: rules.url.clone(),
            signer,
            policies: [rules.connect, rules.join, rules.publish],
            timeout: rules.timeout,
            concurrency: rules.concurrency,
            networks: rules.networks.clone().into(),
            tls: Arc::new(tls),
            message_bytes_max,
        })
    }

    fn policy(&self, hook: Hook) -> HookPolicy {
        self.policies[hook as usize]
    }
}

impl Hooks {
    /// The questions of one of `workers`, each of which has an equal part of the concurrency and at least 1.
    pub fn new(
        application: Arc<Application>,
        workers: u16,
        metrics: Arc<HookMetrics>,
        unix_seconds: fn() -> UnixSeconds,
    ) -> Rc<Self> {
        let questions = (application.concurrency / usize::from(workers)).max(1);
        Rc::new(Self {
            client: ApplicationClient::new(Arc::clone(&application), questions),
            application,
            limit: QuestionLimit::new(questions),
            circuit: RefCell::new(Circuit::new()),
            cache: RefCell::default(),
            failures: LogThrottle::new(),
            metrics,
            unix_seconds,
        })
    }

    /// Asks the application, unless the hook is off, an earlier decision still holds, or the application is left alone
    /// after failures.
    pub fn ask(self: &Rc<Self>, question: &Question<'_>) -> Asking {
        let (hook, now) = (question.wish.hook(), Instant::now());
        if !self.asks(hook) {
            return Asking::Ready(Decision::Allowed(Allowed::AsAsked));
        }
        let key = question.key();
        if let Some(decision) = key.as_ref().and_then(|key| self.cache.borrow().get(key, now).cloned()) {
            self.metrics.count(hook, Outcome::Cached);
            return Asking::Ready(decision);
        }
        let Some(ticket) = self.circuit.borrow_mut().admit(now) else {
            self.metrics.count(hook, Outcome::CircuitOpen);
            return Asking::Ready(self.without_answer(hook));
        };
        Asking::Later(Deciding::new(self, question, ticket, now))
    }

    /// Whether the application is asked before this.
    pub fn asks(&self, hook: Hook) -> bool {
        self.application.policy(hook) != HookPolicy::Off
    }

    async fn answer(&self, asked: &Asked, body: Bytes) -> Result<(Decision, Duration), String> {
        let answer = self.client.send(body, (self.unix_seconds)()).await?;
        let decision = asked.decision(&answer.body, (self.unix_seconds)())?;
        Ok((decision, answer.max_age))
    }

    /// What holds when the application gives no answer.
    fn without_answer(&self, hook: Hook) -> Decision {
        match self.application.policy(hook) {
            HookPolicy::Deny => Decision::Refused(Refusal::NoAnswer),
            HookPolicy::Allow | HookPolicy::Off => Decision::Allowed(Allowed::AsAsked),
        }
    }

    /// Keeps a decision for as long as the application says, but no membership beyond its end. What was changed is the
    /// client's own.
    fn keep(&self, key: Option<Key>, decision: &Decision, max_age: Duration) {
        let max_age = match decision {
            Decision::Allowed(Allowed::Data(_) | Allowed::Identity(_)) => Duration::ZERO,
            Decision::Allowed(Allowed::Membership(token)) => token
                .expires_at
                .map_or(max_age, |at| max_age.min(Duration::from_secs(at.0.saturating_sub((self.unix_seconds)().0)))),
            _ => max_age,
        };
        let now = Instant::now();
        if let Some(key) = key.filter(|_| !max_age.is_zero()) {
            self.cache.borrow_mut().put(key, decision.clone(), now + max_age, now);
        }
    }

    fn log_failure(&self, hook: Hook, error: &str) {
        if let Some(times) = self.failures.count() {
            warn!(hook = hook.word(), times, error, "the application gave no answer to a hook");
        }
    }
}

/// What TLS is spoken with: by the authorities that the system trusts, or by none where nobody speaks TLS.
fn tls_config(is_needed: bool) -> io::Result<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(aws_lc_rs::default_provider().into());
    let builder = builder.with_safe_default_protocol_versions().map_err(io::Error::other)?;
    let builder =
        if is_needed { builder.with_native_roots()? } else { builder.with_root_certificates(RootCertStore::empty()) };
    Ok(builder.with_no_client_auth())
}
