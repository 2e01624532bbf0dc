//! The connection to NATS: its options, and what the library says about it. The library connects again by itself.

use std::io;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_nats::connection::State;
use async_nats::{Client, ConnectError, ConnectErrorKind, ConnectOptions, Event, ServerAddr};
use aws_lc_rs::rand;
use futures_util::FutureExt;
use rustls::{ClientConfig, Error as TlsError, InvalidMessage};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::error::{BackplaneError, cause_in_tls};
use super::tls::NatsTls;
use crate::config::{ClusterRules, NatsLogin, NatsServer};
use crate::log::with_causes;

/// The time from one ping to the next. A server that misses two is taken for dead.
const PING_INTERVAL: Duration = Duration::from_secs(2);

/// The time for one attempt to connect.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);

/// The time for an answer of the JetStream API.
pub(super) const REQUEST_WITHIN: Duration = Duration::from_secs(1);

/// About the pause from the second attempt to connect on. The first is made at once.
const RECONNECT_PAUSE: Duration = Duration::from_millis(250);

/// The messages of one subscription that wait for the thread. One more is dropped.
const SUBSCRIPTION_CAPACITY: usize = 1_024;

/// Events that wait for the thread.
const EVENTS_MAX: usize = 64;

/// The time for the connection to say what it has still to say.
const CLOSE_WITHIN: Duration = Duration::from_secs(1);

/// What is needed to connect, read once.
pub(super) struct Dialing {
    addresses: Vec<ServerAddr>,
    name: String,
    tls: ClientConfig,
    login: Option<NatsLogin>,
}

/// A connection, and what the library says about it.
pub(super) struct Connection {
    pub client: Client,
    events: mpsc::Receiver<Event>,
}

impl Dialing {
    /// Reads the URLs of the settings.
    pub(super) fn new(rules: &ClusterRules, NatsTls(tls): NatsTls, node_name: &str) -> Result<Self, BackplaneError> {
        Ok(Self { addresses: addresses(rules)?, name: node_name.to_owned(), tls, login: rules.login.clone() })
    }

    /// Connects once.
    pub(super) async fn connect(&self) -> Result<Connection, ConnectError> {
        self.connect_with(|options| options).await
    }

    /// Connects as soon as that is possible. Returns at once.
    pub(super) async fn connect_in_time(&self) -> Result<Connection, ConnectError> {
        self.connect_with(ConnectOptions::retry_on_initial_connect).await
    }

    async fn connect_with(
        &self,
        set: impl FnOnce(ConnectOptions) -> ConnectOptions,
    ) -> Result<Connection, ConnectError> {
        let (sender, events) = mpsc::channel(EVENTS_MAX);
        let options = ConnectOptions::new()
            .name(&self.name)
            .tls_client_config(self.tls.clone())
            .ping_interval(PING_INTERVAL)
            .connection_timeout(CONNECT_WITHIN)
            .request_timeout(Some(REQUEST_WITHIN))
            .subscription_capacity(SUBSCRIPTION_CAPACITY)
            .ignore_discovered_servers()
            .reconnect_delay_callback(|attempts| if attempts <= 1 { Duration::ZERO } else { reconnect_pause() })
            .event_callback(move |event| {
                let sender = sender.clone();
                async move { drop(sender.send(event).await) }
            });
        let options = match &self.login {
            Some(NatsLogin::User(user, password)) => options.user_and_password(user.clone(), password.clone()),
            Some(NatsLogin::Token(token)) => options.token(token.clone()),
            None => options,
        };
        let client = set(options).connect(&self.addresses[..]).await?;
        Ok(Connection { client, events })
    }
}

impl Connection {
    pub(super) fn is_up(&self) -> bool {
        self.client.connection_state() == State::Connected
    }

    /// Connections that were made so far. Events may be dropped, and this number is not.
    pub(super) fn connects(&self) -> u64 {
        self.client.statistics().connects.load(Ordering::Relaxed)
    }

    /// The next event; `None` once the connection is closed for good.
    pub(super) async fn event(&mut self) -> Option<Event> {
        self.events.recv().await
    }

    /// What the server has complained about since.
    pub(super) fn complaint(&mut self) -> Option<String> {
        let mut complaint = None;
        while let Some(Some(event)) = self.event().now_or_never() {
            if let Event::ServerError(error) = event {
                complaint = Some(error.to_string());
            }
        }
        complaint
    }

    /// Sends what is to be sent, and closes the socket.
    pub(super) async fn close(self) {
        let Self { client, mut events } = self;
        // Fails if the connection is closed already.
        let _ = client.drain().await;
        drop(client);
        let closed = async { while events.recv().await.is_some() {} };
        // A server that was stopped takes nothing. Its socket is closed with the runtime.
        let _ = timeout(CLOSE_WITHIN, closed).await;
    }
}

/// Whether another attempt makes no sense.
pub(super) fn final_error(error: &ConnectError, rules: &ClusterRules) -> Option<BackplaneError> {
    match (error.kind(), cause_in_tls(error)) {
        (ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication, _) => {
            Some(BackplaneError::Credentials { servers: servers(rules) })
        }
        (_, Some(TlsError::InvalidMessage(InvalidMessage::InvalidContentType))) => {
            Some(BackplaneError::NoTls { servers: servers(rules) })
        }
        (_, Some(_)) => Some(BackplaneError::Tls(with_causes(error))),
        (_, None) => None,
    }
}

/// The servers of the settings, without passwords.
pub(super) fn servers(rules: &ClusterRules) -> String {
    rules.servers.iter().map(NatsServer::to_string).collect::<Vec<_>>().join(", ")
}

/// The addresses of the servers, which hold no login: the library logs them.
fn addresses(rules: &ClusterRules) -> Result<Vec<ServerAddr>, BackplaneError> {
    let address = |server: &NatsServer| {
        let wrong = |error: io::Error| BackplaneError::Url { server: server.to_string(), cause: error.to_string() };
        server.0.parse().map_err(wrong)
    };
    rules.servers.iter().map(address).collect()
}

/// Between half the pause and one and a half, so that nodes do not come all at once.
fn reconnect_pause() -> Duration {
    let mut random = [0];
    rand::fill(&mut random).expect("the system has random bytes");
    RECONNECT_PAUSE / 2 + RECONNECT_PAUSE * u32::from(random[0]) / 255
}
