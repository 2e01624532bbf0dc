//! The backplane: the stream of NATS JetStream that gives the publications of all nodes one order, and the questions and
//! signals between the nodes. A shard proposes, and applies only what comes back from the stream. Knows rooms and
//! publications, and neither members nor sockets.

pub mod entry;
pub mod feed;
pub mod peers;
pub mod questions;
pub mod signal;
