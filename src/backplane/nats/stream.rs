//! The stream of a cluster in NATS: made, checked, and asked about.

use std::collections::HashMap;
use std::time::Duration;

use async_nats::ServerInfo;
use async_nats::jetstream::context::{RequestError, RequestErrorKind};
use async_nats::jetstream::response::Response;
use async_nats::jetstream::stream::{Config, DiscardPolicy, Info, Republish, RetentionPolicy};
use async_nats::jetstream::{Context, ErrorCode};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tracing::{info, warn};

use super::super::stream::Inspection;
use super::connection::servers;
use super::error::BackplaneError;
use super::messages::{OneMessage, inspection};
use super::subjects::Subjects;
use crate::config::ClusterRules;
use crate::log::with_causes;

/// What marks a stream as one of this server, with the format of its messages.
const FORMAT: (&str, &str) = ("roomcast.format", "1");

/// The version of NATS from which on many messages can be read at once.
const VERSION_MIN: (u32, u32) = (2, 11);

/// Copies of the stream where NATS is a cluster.
const REPLICAS: usize = 3;

/// Why the stream cannot be used.
#[derive(Debug)]
pub(super) enum StreamError {
    /// Another attempt may help: NATS is starting, or has no leader.
    NotYet(String),
    /// None will.
    Final(BackplaneError),
}

/// The stream of one cluster.
#[derive(Clone, Debug)]
pub(super) struct Stream {
    context: Context,
    config: Config,
    servers: String,
}

impl Stream {
    pub(super) fn new(context: Context, rules: &ClusterRules, subjects: &Subjects, server: &ServerInfo) -> Self {
        let replicas = match rules.replicas {
            Some(replicas) => replicas.into(),
            None if server.cluster.is_some() => REPLICAS,
            None => 1,
        };
        let config = Config {
            name: subjects.stream.clone(),
            subjects: vec![subjects.log.clone()],
            description: Some("Publications of the rooms of a Roomcast cluster, in their order".to_owned()),
            retention: RetentionPolicy::Limits,
            discard: DiscardPolicy::Old,
            max_age: rules.stream_age,
            max_bytes: i64::try_from(rules.stream_bytes_max).unwrap_or(i64::MAX),
            max_messages: -1,
            max_messages_per_subject: -1,
            num_replicas: replicas,
            republish: Some(Republish {
                source: subjects.log.clone(),
                destination: subjects.feed.clone(),
                headers_only: false,
            }),
            allow_direct: true,
            // Repeats are told apart by the nodes. The shortest window that servers take.
            duplicate_window: Duration::from_millis(100),
            metadata: HashMap::from([(FORMAT.0.to_owned(), FORMAT.1.to_owned())]),
            ..Config::default()
        };
        Self { context, config, servers: servers(rules) }
    }

    /// Makes the stream, or checks the one that is there.
    pub(super) async fn open(&self) -> Result<Info, StreamError> {
        let name = &self.config.name;
        let info: Info = match self.request("STREAM.INFO", &json!({})).await? {
            Response::Ok(info) => info,
            Response::Err { error } if error.error_code() == ErrorCode::STREAM_NOT_FOUND => return self.create().await,
            Response::Err { error } => return Err(self.refused("tell of", &error)),
        };
        if let Some(difference) = difference(&self.config, &info.config) {
            let name = name.clone();
            return Err(StreamError::Final(BackplaneError::Foreign { name, difference }));
        }
        if info.config.max_bytes != self.config.max_bytes {
            let (is, set) = (info.config.max_bytes, self.config.max_bytes);
            warn!(stream = name, is, set, "the stream has another limit of bytes than the settings: it stays as it is");
        }
        if (1..self.config.max_age.as_nanos()).contains(&info.config.max_age.as_nanos()) {
            return self.update(Config { max_age: self.config.max_age, ..info.config }).await;
        }
        Ok(info)
    }

    /// Asks the leader for the state of the stream, and for the time of one message. `None` if there is no stream.
    pub(super) async fn inspect(&self, asked: Option<u64>) -> Result<Option<Inspection>, StreamError> {
        let info: Info = match self.request("STREAM.INFO", &json!({})).await? {
            Response::Ok(info) => info,
            Response::Err { error } if error.error_code() == ErrorCode::STREAM_NOT_FOUND => return Ok(None),
            Response::Err { error } => return Err(StreamError::NotYet(error.to_string())),
        };
        let Some(sequence) = asked.filter(|&sequence| sequence <= info.state.last_sequence) else {
            return Ok(Some(inspection(&info, None)));
        };
        match self.request::<OneMessage>("STREAM.MSG.GET", &json!({ "seq": sequence })).await? {
            Response::Ok(message) => Ok(Some(inspection(&info, message.stored_at()))),
            Response::Err { error } if error.error_code() == ErrorCode::NO_MESSAGE_FOUND => {
                Ok(Some(inspection(&info, None)))
            }
            Response::Err { error } => Err(StreamError::NotYet(error.to_string())),
        }
    }

    /// Makes the stream. Does nothing if another node has made the same.
    pub(super) async fn create(&self) -> Result<Info, StreamError> {
        match self.request("STREAM.CREATE", &self.config).await? {
            Response::Ok(info) => {
                info!(stream = self.config.name, replicas = self.config.num_replicas, "made the stream of the cluster");
                Ok(info)
            }
            Response::Err { error } => Err(self.refused("make", &error)),
        }
    }

    async fn update(&self, config: Config) -> Result<Info, StreamError> {
        let seconds = config.max_age.as_secs();
        match self.request("STREAM.UPDATE", &config).await? {
            Response::Ok(info) => {
                info!(stream = self.config.name, seconds, "the stream keeps its messages for longer");
                Ok(info)
            }
            Response::Err { error } => Err(self.refused("change", &error)),
        }
    }

    async fn request<T: DeserializeOwned>(
        &self,
        act: &str,
        body: &(impl serde::Serialize + ?Sized),
    ) -> Result<Response<T>, StreamError> {
        let subject = format!("{act}.{}", self.config.name);
        self.context.request(subject, body).await.map_err(|error| self.no_answer(&error))
    }

    fn no_answer(&self, error: &RequestError) -> StreamError {
        let cause = with_causes(error);
        let has_jetstream = self.context.client().server_info().jetstream;
        if error.kind() == RequestErrorKind::NoResponders && !has_jetstream {
            return StreamError::Final(BackplaneError::JetStream { servers: self.servers.clone(), cause });
        }
        StreamError::NotYet(cause)
    }

    fn refused(&self, act: &'static str, error: &async_nats::jetstream::Error) -> StreamError {
        let remedy = match error.error_code() {
            // NATS is starting; or another node has just made the stream, which is then looked at.
            ErrorCode::CLUSTER_NOT_AVAILABLE
            | ErrorCode::CLUSTER_NO_PEERS
            | ErrorCode::INSUFFICIENT_RESOURCES
            | ErrorCode::STREAM_NAME_EXIST => return StreamError::NotYet(error.to_string()),
            ErrorCode::JETSTREAM_NOT_ENABLED | ErrorCode::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT => {
                let (servers, cause) = (self.servers.clone(), error.to_string());
                return StreamError::Final(BackplaneError::JetStream { servers, cause });
            }
            ErrorCode::STORAGE_RESOURCES_EXCEEDED => {
                ": give JetStream of NATS more storage, or lower cluster-stream-bytes"
            }
            ErrorCode::STREAM_REPLICAS_NOT_SUPPORTED => ": a single server holds one copy: cluster-replicas is 1 there",
            ErrorCode::STREAM_SUBJECT_OVERLAP => ": another stream has its subjects: take another cluster-name",
            _ => "",
        };
        let (name, cause) = (self.config.name.clone(), error.to_string());
        StreamError::Final(BackplaneError::Stream { act, name, cause, remedy })
    }
}

/// Refuses a server that is too old.
pub(super) fn check_version(server: &ServerInfo, rules: &ClusterRules) -> Result<(), BackplaneError> {
    let mut parts = server.version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    let version = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    if version >= VERSION_MIN {
        return Ok(());
    }
    Err(BackplaneError::Version { servers: servers(rules), version: server.version.clone() })
}

/// What a stream has that one of this server has not.
fn difference(ours: &Config, theirs: &Config) -> Option<String> {
    let (key, format) = FORMAT;
    match theirs.metadata.get(key) {
        Some(found) if found == format => {}
        Some(found) => return Some(format!("its {key} is {found}, and this version has {format}")),
        None => return Some(format!("it has no {key} in its metadata")),
    }
    let shape = |config: &Config| -> [(&'static str, Value); 9] {
        [
            ("subjects", json!(config.subjects)),
            ("republish", json!(config.republish)),
            ("retention", json!(config.retention)),
            ("discard", json!(config.discard)),
            ("allow_direct", json!(config.allow_direct)),
            ("no_ack", json!(config.no_ack)),
            ("sources", json!(config.mirror.is_some() || config.sources.is_some())),
            ("max_msgs", json!(config.max_messages.max(0))),
            ("max_msgs_per_subject", json!(config.max_messages_per_subject.max(0))),
        ]
    };
    let pairs = shape(ours).into_iter().zip(shape(theirs));
    let mut differing = pairs.filter(|(ours, theirs)| ours.1 != theirs.1);
    differing.next().map(|((name, ours), (_, theirs))| format!("its {name} is {theirs}, and should be {ours}"))
}
