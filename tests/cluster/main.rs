//! Several nodes, one room: real nodes as processes around real NATS servers, all on loopback. What members hear while
//! servers and nodes are killed, stopped or cut off is compared with one order.

// Nodes with a key for the server API.
mod nodes;
// Connections that may be cut.
mod wire;
// Members that come back with their position, and what they have heard.
mod listener;
// Publishers, and what they were told of what they have published.
mod publisher;
// Compares all of it with one order.
mod checker;
// Listeners and publishers of all kinds on all nodes.
mod load;

// NATS itself, as the tests start, stop and kill it.
mod nats;
// Members of all transports on two and three nodes.
mod together;
// Presence, lists, counts, events and orders of the application over nodes.
mod peers;
// Starts that are refused.
mod refused;
// NATS is killed, stopped, full, or loses its stream.
mod nats_faults;
// A node is killed, stopped, or cut off from NATS.
mod node_faults;
// A node that has found its stream and has not caught up with it.
mod catching_up;
// A node under a service manager: when it is ready, and its watchdog.
mod service;
