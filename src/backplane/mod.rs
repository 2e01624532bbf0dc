//! The backplane: the stream of NATS JetStream that gives the publications of all nodes one order, and the questions and
//! signals between the nodes. A shard proposes, and applies only what comes back from the stream. Knows rooms and
//! publications, and neither members nor sockets.
//!
//! One thread talks to NATS. [`publishing`] and [`following`] decide what it does, as plain state machines without clock
//! and I/O; [`nats`] does it.

pub mod entry;
pub mod envelope;
pub mod feed;
pub mod following;
mod leader;
pub mod metrics;
pub mod nats;
pub mod peers;
pub mod publishing;
pub mod questions;
pub mod repeats;
pub mod signal;
pub mod stream;

pub use self::metrics::{BackplaneMetrics, BackplaneState};
pub use self::nats::{BackplaneError, Begin, CaughtUp, NatsTls, Prepared, Starting, start};
pub use self::peers::{PeerMailbox, PeerNode, Peers};
