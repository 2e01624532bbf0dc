//! Listening, accepting under limits, and the client behind a proxy. Knows no room and no protocol of the clients.

pub mod accept;
pub mod address_limiter;
pub mod connection_limit;
pub mod listen;
pub mod proxy;
