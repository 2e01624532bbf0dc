//! What Roomcast promises on the wire, over real sockets, against a server in this process or the built binary. Nothing
//! here waits for time: a `PING` is answered behind everything on its way to its client, and that is the fence.

// The server in a thread of this process. Clients and the server as a process are in the crate `tests/harness`.
mod server;

// The text dialect, row by row: greeting, commands, replies, labels.
mod dialect;
// Every refusal, with its exact text, and that nothing of what was refused is delivered.
mod refusals;
// Rooms apart from each other: LIST, WHO, moving about.
mod rooms;
// Lists that are asked for without end.
mod lists;
// One order for everybody, replies in command order, nothing lost behind a full mailbox.
mod order;
// However the bytes are cut: at every point, one by one, thousands of lines at once.
mod bytes;
// Telnet's negotiation, byte order marks, line ends of other kinds.
mod telnet;
// One client's flood and the turns of the others.
mod fairness;
// More than the server can do at once: who waits, and who does not.
mod overload;
// However a connection ends: who leaves, what is still answered, what is said last.
mod endings;
// Cut short in mid-line and in mid-frame: who leaves, and that nothing is left of it.
mod cut_short;
// Members that do not read, and more clients than there are places.
mod limits;
// How many rooms there may be, and how large.
mod capacity;
// What one client may cost the others.
mod deliveries;
// What one address may have.
mod addresses;
// The descriptors run out: who is refused, and that it passes.
mod descriptors;
// As many clients as the descriptors allow, and more.
mod storm;
// Lines and frames that are begun and not ended, and what they cost.
mod unfinished;
// How long the server waits for what was begun and for who says nothing, and who gives way.
mod waiting;
// A descriptor table per worker: more clients than one table holds.
mod descriptor_tables;
// Members that read nothing or hardly anything, under load: both policies, and what they cost.
mod slow_consumers;
// The smallest budget of outboxes.
mod budget;
// What those cost, by the figures of the process.
mod stalled_memory;
// Rooms and clients that come and go, and their memory.
mod coming_and_going;
// Thousands of clients at once.
mod crowds;
// Stopping: everybody gets what was accepted, nobody can hold it up.
mod drain;
// Stopping behind a load balancer, and beside the server that takes over.
mod drain_delay;
// The process that stands still for seconds under load, and goes on.
mod pauses;
// HTTP: health, readiness, refused handshakes.
mod http;
// Clients behind a proxy.
mod proxies;
// Whose web pages may open a WebSocket.
mod origins;
// What is counted.
mod metrics;
// HTTP from those who mean harm: slow, endless, too large.
mod http_abuse;
// Who is served while others pipeline requests.
mod http_turns;
// A full server's answers to its monitors.
mod http_spare;
// What operators see of refused requests.
mod http_refused;
// What stands behind a request that was refused.
mod pipelined;
// Connections that say nothing.
mod silent;
// What comes to the wrong port.
mod wrong_port;
// WebSocket clients, frame by frame.
mod websocket;
// The same in pieces: a handshake cut anywhere, a frame that takes longer than a pong may.
mod cuts;
// Messages in fragments without end, and what unfinished ones cost.
mod fragments;
// Line breaks where they do not belong, over both transports at once.
mod line_breaks;
// Names over both transports at once, and their twins.
mod names;
// Pings, and the end of who does not answer.
mod keepalive;
// Pings of clients, without end.
mod pings;
// The built binary: ready file, signals, log.
mod binary;
// Its log: nothing waits for it, and what an operator can mend is told.
mod log;
// The built binary's command line: what is refused, what overrides what.
mod command_line;
// The end after a panic. The binary fails on request in debug builds alone.
#[cfg(debug_assertions)]
mod panics;
