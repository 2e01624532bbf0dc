//! What is said on the wire, as pure values: names, commands, events, dialects, the reasons a connection ends.
//! Never does I/O, never waits, knows no task.

pub mod command;
pub mod dialect;
pub mod disconnect;
pub mod error_code;
pub mod event;
pub mod lines;
pub mod names;
pub mod telnet;
pub mod websocket;
