//! Compares rooms, shards and writers with plain models, under random inputs and a seeded scheduler. The sockets are in
//! memory and the tests set the time, so nothing here needs a runtime, the network or a clock.

// Shared helpers: names, random numbers, sockets in memory, and a writer with its wire and its clock.
mod common;
mod harness;
mod waiting;
mod wire;

// Each of these compares one part with its model, under random inputs.
mod history;
mod idempotency;
mod log;
mod room;
mod shard;
mod writer;
mod writer_budget;
mod writer_model;

// Each of these checks one part, one rule per test.
mod budget;
mod closing;
mod drop_oldest;
mod flushing;
mod merging;
mod pongs;
mod remembering;
mod slow_consumers;

// This runs the broker and the writers together, under a seeded scheduler.
mod simulation;
