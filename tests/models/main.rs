//! The rooms, shards and writers against plain models of what they promise: random inputs, a seeded scheduler, wires in
//! memory. No runtime, no socket, no clock: all time is made up.

// What the tests share: names, a random number, sockets in memory, a writer with its wire and its clock.
mod common;
mod harness;
mod waiting;
mod wire;

// One piece each, against random inputs.
mod room;
mod shard;
mod writer;
mod writer_budget;
mod writer_model;

// One piece each, a sentence at a time.
mod budget;
mod closing;
mod drop_oldest;
mod flushing;
mod merging;
mod pongs;
mod slow_consumers;

// The broker and the writers together, under a seeded scheduler.
mod simulation;
