//! Roomcast: a real-time room server. Clients join rooms, and anything published to a room reaches every member.
//!
//! What is never done here:
//! - No lock: only a shard task touches a room, only a writer touches the write side of a socket, all are told by message.
//! - A shard never awaits a client; a writer never awaits a socket.
//! - [`broker::Room`], [`broker::Shard::step`] and [`writer::Writer::step`] never do I/O: the tasks around them receive,
//!   step and send, so that the same code runs under random inputs, a seeded scheduler and wires in memory.
//! - No queue is unbounded: every bound is a setting or a named constant with its unit.
//! - No module uses one that stands above it or beside it:
//!
//! | floor | modules | |
//! |---|---|---|
//! | 7 | `main` | flags → logging → [`server::run`] → exit code |
//! | 6 | [`server`] | the composition root |
//! | 5 | [`worker`] | one thread: runtime, listeners, shards, writer |
//! | 4 | [`transport`] | bytes in, calls of a session out |
//! | 3 | [`session`] | one client's conversation, the same on every transport |
//! | 2 | [`broker`] | rooms; knows writers and bytes, no socket |
//! | 1 | [`writer`] | the write sides of sockets; knows slots and bytes, no room |
//! | 0 | [`protocol`], [`config`], [`fault`], [`log`], [`mailbox`], [`memory`], [`metrics`], [`shutdown`] | what is said, what applies, what may fail in a test, what is logged, how tasks are told, what is given back, what is counted, when to stop |
//!
//! [`process`], on floor 6 beside the server, is what only `main` uses: the signals, the end after a panic.

pub mod broker;
pub mod config;
pub mod fault;
pub mod log;
pub mod mailbox;
pub mod memory;
pub mod metrics;
pub mod process;
pub mod protocol;
pub mod server;
pub mod session;
pub mod shutdown;
pub mod transport;
pub mod worker;
pub mod writer;
