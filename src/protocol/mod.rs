//! The wire format as plain values: names, commands, events, dialects and the reasons why a connection ends.
//! Never does I/O, never waits, knows no task.

pub mod centrifuge;
mod chunk;
pub mod client_lines;
pub mod command;
pub mod compression;
pub mod dialect;
pub mod disconnect;
pub mod error_code;
pub mod event;
pub mod idempotency_key;
pub mod json;
pub mod lines;
pub mod listing;
pub mod names;
pub mod position;
pub mod publication;
pub mod room_events;
pub mod telnet;
pub mod text;
pub mod websocket;
