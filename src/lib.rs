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
//! | 8 | `main` | flags → logging → [`server::run`] → exit code |
//! | 7 | [`server`] | the composition root |
//! | 7 | [`process`] | the signals and the end after a panic, used by `main` alone |
//! | 6 | [`worker`] | one thread: runtime, listeners, shards, writer |
//! | 5 | [`transport`] | bytes in, calls of a session out |
//! | 4 | [`session`] | one client's commands, the same on every transport |
//! | 3 | [`broker`] | rooms; knows writers and bytes, no socket |
//! | 2 | [`writer`] | the write sides of sockets; knows slots and bytes, no room |
//! | 1 | [`net`] | listening, accepting, limits, the client behind a proxy; knows no protocol |
//! | 0 | [`protocol`] | names, commands, events, dialects, the reasons a connection ends |
//! | 0 | [`config`], [`log`], [`metrics`] | settings, the log, counters and their exposition |
//! | 0 | [`mailbox`], [`memory`], [`shutdown`], [`fault`] | sending to a task, freed memory, the phases of a stop, failures for tests |

pub mod broker;
pub mod config;
pub mod fault;
pub mod log;
pub mod mailbox;
pub mod memory;
pub mod metrics;
pub mod net;
pub mod process;
pub mod protocol;
pub mod server;
pub mod session;
pub mod shutdown;
pub mod transport;
pub mod worker;
pub mod writer;
