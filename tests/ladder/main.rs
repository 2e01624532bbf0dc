//! Stages 1 to 4 of the ladder, `examples/`, over real sockets against the built examples. Nothing here waits for a
//! time: a client's own line comes back behind everything that was sent before, and that is the fence.

// The examples as processes. Their clients are in the crate `tests/harness`.
mod example;

// Stages 1 and 2: lines come back.
mod echo;
// Stage 3: lines reach every client.
mod chat;
// Stage 4: lines stay in their room.
mod rooms;
// Hostile clients: none can stop an example or take more than it may.
mod survival;

// Stage 4 once more, for the tests of its structure and its limits; as a process it is in `rooms`.
#[path = "../../examples/chat_rooms_locked.rs"]
#[expect(dead_code, reason = "nobody calls an example's main here")]
mod chat_rooms_locked;
// Stage 2, for its limits.
#[path = "../../examples/echo_threaded.rs"]
#[expect(dead_code, reason = "nobody calls an example's main here")]
mod echo_threaded;
