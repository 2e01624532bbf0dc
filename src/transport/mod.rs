//! The ways in: each transport turns bytes into calls of a session. Transports do not know each other.

pub mod accept;
pub mod tcp;
