//! Sockets before they are clients: listening, accepting under limits, and the client behind a proxy. Knows no protocol and
//! no room.

pub mod accept;
pub mod address_limiter;
pub mod connection_limit;
pub mod listen;
pub mod proxy;
