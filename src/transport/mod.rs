//! The ways in: each transport turns bytes into calls of a session. Transports do not know each other; what they share
//! lies below them: `accept`, `census`, `conversation`, `leftover`, `origin`, `proxied` and `metrics`.

pub mod accept;
pub mod census;
pub mod conversation;
pub mod http;
mod leftover;
pub mod metrics;
mod origin;
pub mod proxied;
pub mod tcp;
pub mod websocket;
