//! Several nodes, one room: real nodes as processes around real NATS servers, all on loopback.

// NATS itself, as the tests start, stop and kill it.
mod nats;
