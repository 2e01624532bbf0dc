//! The first connection: finds NATS, checks that it is as a node needs it, and makes or checks the stream.

use std::time::Duration;

use async_nats::{Client, jetstream};
use tokio::time::{Instant, sleep};
use tracing::warn;

use super::super::publishing::ENVELOPE_BYTES;
use super::super::stream::Inspection;
use super::Node;
use super::connection::{Dialing, final_error, servers};
use super::error::BackplaneError;
use super::messages::inspection;
use super::stream::{Stream, StreamError, check_version};
use super::subjects::Subjects;
use crate::log::with_causes;

/// The time for NATS to be found and to make the stream.
const OPEN_WITHIN: Duration = Duration::from_secs(30);

/// The pause between two attempts.
const PAUSE: Duration = Duration::from_millis(250);

/// The most bytes of a publication beside its data and tags: names, what the application says about the publisher, a key.
const ENTRY_OVERHEAD_BYTES: usize = 16 * 1024;

/// The most bytes of a message beside its envelope: its headers.
const HEADER_BYTES: usize = 512;

/// What the first connection has found.
pub(super) struct Opened {
    pub dialing: Dialing,
    pub inspection: Inspection,
}

/// The longest entry of a node, in bytes.
pub(super) fn entry_bytes_max(node: &Node) -> usize {
    // Tags are many short texts at worst, each with bytes around it.
    2 * node.rules.message_bytes_max + ENTRY_OVERHEAD_BYTES
}

/// Finds NATS and opens the stream.
///
/// # Errors
/// There is none within 30 s, or one that cannot be used.
pub(super) async fn open(node: &Node) -> Result<Opened, BackplaneError> {
    let dialing = Dialing::new(&node.rules, node.tls.clone(), &node.name)?;
    let deadline = Instant::now() + OPEN_WITHIN;
    let mut logged_at = Instant::now();
    loop {
        let cause = match try_open(node, &dialing).await {
            Ok(inspection) => return Ok(Opened { dialing, inspection }),
            Err(StreamError::Final(error)) => return Err(error),
            Err(StreamError::NotYet(cause)) => cause,
        };
        let now = Instant::now();
        if now >= deadline {
            let (servers, seconds) = (servers(&node.rules), OPEN_WITHIN.as_secs());
            return Err(BackplaneError::Unreachable { servers, seconds, cause });
        }
        if now.duration_since(logged_at) >= Duration::from_secs(5) {
            logged_at = now;
            warn!(servers = servers(&node.rules), cause, "NATS cannot be used yet");
        }
        sleep(PAUSE).await;
    }
}

async fn try_open(node: &Node, dialing: &Dialing) -> Result<Inspection, StreamError> {
    let mut connection = dialing.connect().await.map_err(|error| match final_error(&error, &node.rules) {
        Some(error) => StreamError::Final(error),
        None => StreamError::NotYet(with_causes(&error)),
    })?;
    let opened = check_and_open(node, &connection.client).await;
    let opened = match (opened, connection.complaint()) {
        (opened @ Err(StreamError::Final(_)), _) | (opened, None) => opened,
        (_, Some(complaint)) if is_of_permissions(&complaint) => Err(permission_error(node, complaint)),
        (opened, Some(_)) => opened,
    };
    connection.close().await;
    opened
}

async fn check_and_open(node: &Node, client: &Client) -> Result<Inspection, StreamError> {
    let server = client.server_info();
    check_version(&server, &node.rules).map_err(StreamError::Final)?;
    let (max_payload, needed) = (server.max_payload, ENVELOPE_BYTES + entry_bytes_max(node) + HEADER_BYTES);
    if max_payload < needed {
        return Err(StreamError::Final(BackplaneError::Payload { max_payload, needed }));
    }
    let subjects = Subjects::new(&node.rules.name);
    try_subjects(client, &subjects).await.map_err(StreamError::NotYet)?;
    let stream = Stream::new(jetstream::new(client.clone()), &node.rules, &subjects, &server);
    Ok(inspection(&stream.open().await?, None))
}

/// Subscribes to what a node subscribes to, so that the server complains if it may not. The subscriptions end at once.
async fn try_subjects(client: &Client, subjects: &Subjects) -> Result<(), String> {
    for subject in [&subjects.feed, &subjects.questions, &subjects.signals, &subjects.nodes] {
        client.subscribe(subject.clone()).await.map_err(|error| with_causes(&error))?;
    }
    Ok(())
}

fn is_of_permissions(complaint: &str) -> bool {
    complaint.to_ascii_lowercase().contains("permissions violation")
}

fn permission_error(node: &Node, cause: String) -> StreamError {
    let subjects = Subjects::new(&node.rules.name).all().join(", ");
    StreamError::Final(BackplaneError::Permission { cause, subjects })
}
