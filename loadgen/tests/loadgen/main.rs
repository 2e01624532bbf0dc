//! `loadgen` as one runs it: the built program against a server that lies to it, against the real one, and against others'.
//! No test asserts how fast anything is, but that a delay of known length is found again.

// What the tests are made of.
mod fake;
mod load;
mod servers;

// Each fault that a server can have, counted exactly; and what is no fault, not counted.
mod faults;

// What happens to those who read at once while a server has more to do than it can.
mod overload;

// Roomcast itself, and the servers one may compare it with.
mod others;
mod real;

// The other commands, exit codes and endings; what is written to files.
mod commands;
mod files;
