//! The ways in: each transport turns bytes into calls of a session. `tcp`, `websocket` and `http` stand on `connection` and
//! `metrics`, and do not know each other.

pub mod connection;
pub mod http;
pub mod input_guard;
pub mod metrics;
pub mod tcp;
pub mod websocket;
