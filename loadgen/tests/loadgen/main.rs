//! The built load generator against a server that lies to it, against Roomcast, and against other servers. No test
//! asserts how fast anything is; some assert that a delay of known length is found.

// What the tests are made of.
mod fake;
mod load;
mod servers;

// Each fault that a server can have is counted exactly, and nothing else is.
mod faults;

// Clients that are cut and come back with their position.
mod reconnects;

// Clients on several nodes, which come back at another one.
mod failover;

// Servers that end connections and tell clients how long to wait, and a server that is restarted in its place.
mod restarts;

// The same over the Centrifuge protocol, and compressed messages.
mod centrifuge;

// The same over plain HTTP, and publishers by the server API.
mod http;

// Clients over TLS, and clients with tokens.
mod tls;
mod tokens;

// Overloads of a server, and their effect on clients that read.
mod overload;

// Roomcast, and the servers of a comparison.
mod others;
mod real;

// The other commands, exit codes and ends; the files that are written.
mod commands;
mod files;
