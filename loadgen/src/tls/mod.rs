//! TLS of clients: which certificates are trusted, which sessions are resumed, and the records of a connection. Never
//! touches a socket.

mod session;
mod trust;

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, ensure};
use clap::{ArgAction, Args};
use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::ServerName;
use serde::{Deserialize, Serialize};

pub use session::TlsSession;
use trust::Trust;

/// The only protocol that a server may choose on a connection of HTTP or WebSocket.
const HTTP: &[u8] = b"http/1.1";

/// Trust and sessions of targets over TLS.
#[derive(Clone, Debug, Default, PartialEq, Args, Serialize, Deserialize)]
#[command(next_help_heading = "TLS")]
pub struct TlsSettings {
    /// PEM file of the authority that signed the server's certificate, or of that certificate itself
    ///
    /// The server must show a certificate that the authority signed for the host of the target, or exactly a
    /// certificate of the file. Needed for tls:// and wss:// targets, unless --insecure is given.
    #[arg(long, value_name = "PATH", conflicts_with = "insecure")]
    pub ca: Option<PathBuf>,
    /// Accept any certificate of the server
    #[arg(long)]
    pub insecure: bool,
    /// Whether a client that comes back resumes its TLS session: true or false
    ///
    /// With false every client that comes back makes a full handshake, which costs the server a signature.
    #[arg(long = "tls-resumption", value_name = "BOOL", action = ArgAction::Set, default_value_t = true)]
    #[arg(hide_short_help = true)]
    pub resumption: bool,
}

impl TlsSettings {
    /// Validates the settings for targets of which some may use TLS.
    pub fn check(&self, is_tls_used: bool) -> anyhow::Result<()> {
        if !is_tls_used {
            return Ok(());
        }
        ensure!(
            self.insecure || self.ca.is_some(),
            "tls:// and wss:// need --ca PATH, a PEM file of the server's authority or certificate, or --insecure"
        );
        Trust::new(self.ca.as_deref(), aws_lc_rs::default_provider()).map(drop)
    }

    /// What opens connections to a target with this host name.
    pub fn connector(&self, host: &str, is_http: bool) -> anyhow::Result<TlsConnector> {
        let provider = aws_lc_rs::default_provider();
        let trust = Trust::new(self.ca.as_deref(), provider.clone())?;
        let versions = ClientConfig::builder_with_provider(Arc::new(provider)).with_safe_default_protocol_versions()?;
        let trusting = versions.dangerous().with_custom_certificate_verifier(Arc::new(trust));
        let mut config = trusting.with_no_client_auth();
        config.alpn_protocols = is_http.then(|| HTTP.to_vec()).into_iter().collect();
        config.resumption = Resumption::disabled();
        let server = ServerName::try_from(host.to_owned()).with_context(|| format!("{host:?} is no name of a host"))?;
        Ok(TlsConnector { config: Arc::new(config), server, resumption: self.resumption })
    }
}

/// Opens connections to one target.
pub struct TlsConnector {
    config: Arc<ClientConfig>,
    server: ServerName<'static>,
    resumption: bool,
}

impl TlsConnector {
    /// A configuration that remembers the sessions of one client. It is only for a client that connects again: it costs
    /// memory, and rustls keeps no more than eight tickets of a server.
    pub fn config_that_remembers(&self) -> Arc<ClientConfig> {
        let mut config = ClientConfig::clone(&self.config);
        if self.resumption {
            config.resumption = Resumption::in_memory_sessions(1);
        }
        Arc::new(config)
    }

    /// A new connection, with the configuration of its client if it has one.
    pub fn connect(&self, own: Option<&Arc<ClientConfig>>) -> Result<TlsSession, rustls::Error> {
        TlsSession::new(Arc::clone(own.unwrap_or(&self.config)), self.server.clone())
    }
}
