//! The transports: each turns bytes into calls of a session. `tcp`, `websocket`, `stream` and `http` build on the other files and
//! do not know each other.

pub mod connection;
pub mod emulation;
pub mod http;
pub mod input_guard;
pub mod keepalive;
pub mod metrics;
pub mod stream;
mod sweep;
pub mod tcp;
pub mod websocket;
