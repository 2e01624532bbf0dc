//! The backplane against real NATS servers, where they are installed: one order on all nodes, nothing lost and nothing
//! doubled through faults, refusals in words for the operator, and the other nodes.

mod common;
mod faults;
mod order;
mod peers;
mod refusals;
mod tls;
mod traffic;
