//! Rooms, shards and writers against plain models: random inputs, a seeded scheduler, sockets in memory. There is no
//! runtime, no socket and no clock: the tests set the time.

// What the tests share: names, a random number, sockets in memory, a writer with its wire and its clock.
mod common;
mod harness;
mod waiting;
mod wire;

// One part each, against random inputs.
mod room;
mod shard;
mod writer;
mod writer_budget;
mod writer_model;

// One part each, one rule per test.
mod budget;
mod closing;
mod drop_oldest;
mod flushing;
mod merging;
mod pongs;
mod slow_consumers;

// The broker and the writers together, under a seeded scheduler.
mod simulation;
