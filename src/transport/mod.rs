//! The ways in: each transport turns bytes into calls of a session. Transports do not know each other; what they share
//! lies below them: `accept`, `census`, `conversation`, `handshake`, `origin`, `proxied`, `metrics` and `watch`.

pub mod accept;
pub mod census;
pub mod conversation;
mod handshake;
pub mod http;
pub mod metrics;
mod origin;
pub mod proxied;
pub mod tcp;
pub mod watch;
pub mod websocket;
