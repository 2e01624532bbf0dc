//! Compares rooms, shards and writers with plain models, under random inputs and a seeded scheduler. The sockets are in
//! memory and the tests set the time, so nothing here needs a runtime, the network or a clock.

// Shared helpers: names, random numbers, sockets in memory, encrypted streams in memory, a writer with its wire and its clock,
// and a protocol whose client is in many rooms.
mod cluster_node;
mod common;
mod harness;
mod many_rooms;
mod sealed_wire;
mod waiting;
mod wire;

// Each of these compares one part with its model, under random inputs.
mod envelope;
mod following;
mod history;
mod idempotency;
mod log;
mod publishing;
mod room;
mod sealed;
mod shard;
mod writer;
mod writer_budget;
mod writer_model;

// Each of these checks one part, one rule per test.
mod budget;
mod busiest;
mod closing;
mod cluster;
mod cluster_order;
mod drop_oldest;
mod flushing;
mod merging;
mod offsets;
mod pongs;
mod presence;
mod remembering;
mod revoked;
mod rules;
mod slow_consumers;

// This runs sessions, the broker and the writers together, under a seeded scheduler; and on the same server, one session
// in a hundred rooms.
mod memberships;
mod simulation;

// This runs several nodes with their sessions and writers around a stream that behaves badly.
mod cluster_simulation;
