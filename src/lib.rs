//! Roomcast is a real-time room server: clients join rooms, and every message that is published to a room reaches all
//! of its members in one order. Line clients over TCP, browsers over WebSocket and the SDKs of the Centrifuge protocol
//! share the rooms.
//!
//! # The way of a message
//!
//! ```text
//! socket → connection → protocol handler → session → shard of the room → writer of each worker → sockets
//! ```
//!
//! 1. A **connection** ([`transport::connection`]) reads its socket, and its framing ([`transport::tcp`],
//!    [`transport::websocket`], [`transport::stream`]) cuts the input into messages.
//! 2. A **protocol handler** ([`session::text`], [`session::centrifuge`]) parses a message ([`protocol::command`],
//!    [`protocol::centrifuge`]), calls the session, and says what came of it in the words of its wire format.
//! 3. The **session** ([`session`]) knows the client and its rooms, and no wire format. It publishes through the
//!    [`broker`], and waits while the room or the client has too much on its way: that is the backpressure, and it
//!    stops the connection from reading. It is polled, and a client that waits to join has no future of its own.
//! 4. The **shard** that owns the room ([`broker::Shard`]) gives the message its offset, remembers it, encodes it once
//!    per dialect, and sends each writer one entry for all members there. Rooms are assigned to shards by the hash of
//!    their names. A client that resumes from a position is sent what it has missed in the turn in which it joins.
//! 5. The **writer** of a worker ([`writer`]) appends the entry to the outbox of each member, then flushes: one `send`
//!    per client with everything that is pending for it. It disconnects slow consumers or drops their oldest messages.
//!
//! A **worker** ([`worker`]) is a thread with its own runtime, listeners, shards and writer. Workers share mailboxes
//! and limits.
//!
//! # Rules
//!
//! - Nothing is locked. Each piece of state has one owner: a room its shard, the write side of a socket its writer.
//!   Others send messages to the owner.
//! - A shard never waits for a client, and a writer never waits for a socket.
//! - Every queue is bounded, by a setting or by a named constant with its unit.
//! - The calls of [`session::Session`], [`broker::Room`], [`broker::Shard::step`] and [`writer::Writer::step`] are
//!   synchronous code without I/O. The tasks around them only receive, step and send, so that tests run the same code
//!   with random input, a seeded scheduler and sockets in memory.
//! - A module uses only modules of lower floors. `tests/architecture.rs` checks this rule and the absence of locks.
//!
//! # Floors
//!
//! | floor | module | |
//! |---|---|---|
//! | 9 | `main` | the binary: arguments, logging, [`server::run`], exit code |
//! | 8 | [`server`] | starts the workers and stops them in order |
//! | 8 | [`commands`] | what operators do besides serving: keys, tokens, health checks, drains; only for `main` |
//! | 8 | [`process`] | signals, exit codes, exit after a panic; only for `main` |
//! | 7 | [`worker`] | one thread of the server |
//! | 6 | [`transport`] | sockets: lines, WebSocket, HTTP and its streams; the read side of clients |
//! | 5 | [`api`] | the server API: what the backend of an application asks for; knows no connection |
//! | 4 | [`session`] | one client: its rooms and what it does there, and the protocol handlers on top |
//! | 3 | [`broker`] | rooms, what they remember, and shards; knows no socket |
//! | 2 | [`writer`] | outboxes and the write side of clients; knows no room |
//! | 2 | [`backplane`] | the stream that orders the publications of all nodes, and their questions to each other |
//! | 2 | [`access`] | reads the rules, and the files of tokens' keys and API keys |
//! | 2 | [`hooks`] | asks the application before clients connect, join or publish |
//! | 1 | [`auth`] | tokens, API keys and the rules of rooms: who may do what |
//! | 1 | [`net`] | listeners, connection limits, PROXY headers, streams, plain or TLS; knows no protocol of clients |
//! | 1 | [`stats`] | the figures of the dashboard: samples, percentiles, a verdict; reads no clock and no counter |
//! | 0 | [`protocol`] | the wire format as plain values: names, commands, events, dialects, frames |
//! | 0 | [`config`] | settings from flags, environment and file |
//! | 0 | [`metrics`], [`log`] | counters for Prometheus; the log, which never blocks |
//! | 0 | [`pages`] | the web pages inside the binary, compressed; knows no HTTP |
//! | 0 | [`mailbox`] | the queue into a task |
//! | 0 | [`memory`] | returns freed memory to the system after a peak |
//! | 0 | [`probe`] | whether a thread still runs its tasks |
//! | 0 | [`shutdown`] | the phases in which the server stops |
//! | 0 | [`fault`] | deliberate faults for tests |

pub mod access;
pub mod api;
pub mod auth;
pub mod backplane;
pub mod broker;
pub mod commands;
pub mod config;
pub mod fault;
pub mod hooks;
pub mod log;
pub mod mailbox;
pub mod memory;
pub mod metrics;
pub mod net;
pub mod pages;
pub mod probe;
pub mod process;
pub mod protocol;
pub mod server;
pub mod session;
pub mod shutdown;
pub mod stats;
pub mod transport;
pub mod worker;
pub mod writer;
