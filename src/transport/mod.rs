//! The ways in: each transport turns bytes into calls of a session. Transports do not know each other; what they share
//! lies below them, in `accept` and `conversation`.

pub mod accept;
pub mod conversation;
pub mod http;
pub mod tcp;
pub mod websocket;
