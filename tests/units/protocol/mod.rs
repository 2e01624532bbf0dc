//! The wire format: commands in, events out, WebSocket frames.

mod command;
mod dialect;
mod lines;
mod listing;
mod names;
mod telnet;
mod websocket;
