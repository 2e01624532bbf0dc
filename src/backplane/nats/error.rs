//! Why a node cannot be one of its cluster, in words for its operator: what is wrong, and what would be right.

use std::error::Error;
use std::io;

use thiserror::Error;

/// Why a node cannot be one of its cluster.
#[derive(Debug, Error)]
pub enum BackplaneError {
    /// No server was found in time.
    #[error("no NATS server at {servers} within {seconds} s: {cause}: start NATS, or correct --cluster")]
    Unreachable {
        /// The servers of the settings, without passwords.
        servers: String,
        /// How long they were looked for.
        seconds: u64,
        /// What came of the last attempt.
        cause: String,
    },
    /// The server does not know the user.
    #[error("NATS at {servers} refuses the credentials: --cluster nats://user:password@host or nats://token@host")]
    Credentials {
        /// The servers of the settings, without passwords.
        servers: String,
    },
    /// The user may not do what a node does.
    #[error("NATS does not permit what a node needs: {cause}: the user needs {subjects}, $JS.API.> and _INBOX.>")]
    Permission {
        /// What the server has said.
        cause: String,
        /// The subjects of the cluster.
        subjects: String,
    },
    /// The server cannot read many messages at once.
    #[error("NATS at {servers} has version {version}, and a cluster needs 2.11 or later")]
    Version {
        /// The servers of the settings, without passwords.
        servers: String,
        /// Its version.
        version: String,
    },
    /// There is no JetStream.
    #[error("NATS at {servers} has no JetStream: {cause}: start it with --jetstream, and allow the account to use it")]
    JetStream {
        /// The servers of the settings, without passwords.
        servers: String,
        /// What the server has said.
        cause: String,
    },
    /// Messages may be longer than NATS takes.
    #[error(
        "NATS takes messages of at most {max_payload} bytes, and a node sends up to {needed}: \
         raise max_payload of NATS, or lower message-bytes"
    )]
    Payload {
        /// The limit of the server.
        max_payload: usize,
        /// The longest message of a node.
        needed: usize,
    },
    /// A stream has the name, and it is not one of this server's.
    #[error(
        "the stream {name} of NATS is not one of Roomcast: {difference}: take another --cluster-name, or delete it"
    )]
    Foreign {
        /// The name.
        name: String,
        /// What is not as it should be.
        difference: String,
    },
    /// The stream cannot be made or changed.
    #[error("NATS does not {act} the stream {name}: {cause}{remedy}")]
    Stream {
        /// What was tried.
        act: &'static str,
        /// The name of the stream.
        name: String,
        /// What the server has said.
        cause: String,
        /// What would be right.
        remedy: &'static str,
    },
    /// The server answers in plain text where TLS is to begin.
    #[error("NATS at {servers} speaks no TLS: --cluster nats:// in place of tls://, or give NATS a certificate")]
    NoTls {
        /// The servers of the settings, without passwords.
        servers: String,
    },
    /// The other side of TLS proves nothing, or wants another proof.
    #[error("TLS to NATS: {0}")]
    Tls(String),
    /// The URL of a server is none.
    #[error("--cluster {server}: {cause}")]
    Url {
        /// The server, as the settings have it.
        server: String,
        /// Why.
        cause: String,
    },
    /// The thread has ended.
    #[error("the thread of the backplane has ended")]
    Ended,
}

/// What TLS has to do with the error.
pub(super) fn cause_in_tls<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let of_tls = error.downcast_ref().or_else(|| inner.and_then(|inner| inner.downcast_ref()));
        if of_tls.is_some() {
            return of_tls;
        }
        cause = error.source();
    }
    None
}
