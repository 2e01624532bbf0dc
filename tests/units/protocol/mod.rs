//! The wire formats: parsing of commands, encoding of events, and WebSocket frames.

mod centrifuge;
mod client_lines;
mod command;
mod compression;
mod dialect;
mod json;
mod lines;
mod listing;
mod names;
mod position;
mod room_events;
mod telnet;
mod websocket;
