//! The behaviour of Roomcast on the wire, over real sockets, against a server in this process or the built binary.
//! Nothing here waits for a time: a `PING` is answered behind everything that is on its way to its client, and that is
//! the fence.

// The server in a thread of this process. Clients and the server as a process are in the crate `tests/harness`.
mod server;

// Tokens and rules for the tests of who may do what.
mod access;

// The text dialect, row by row: greeting, commands, replies, labels.
mod dialect;
// Refused commands: the exact texts, and nothing of them is delivered.
mod refusals;
// Rooms: LIST, WHO, moving between rooms.
mod rooms;
// What rooms remember: history, positions, resuming; who comes and goes.
mod history;
// A client that is cut at any byte, and comes back with its position.
mod cut_client;
// Such clients compared with the order of their room.
mod resuming;
// Replays for clients that read late, and while the server stops.
mod replays;
// What thousands of rooms retain: the budget, the age, and the memory that comes back.
mod history_memory;
// A client that asks for the history again and again.
mod history_floods;
// Lists that are requested very often.
mod lists;
// One order for everybody, replies in command order, nothing lost behind a full mailbox.
mod order;
// Bytes cut at every point, one by one, thousands of lines at once.
mod bytes;
// Telnet's negotiation, byte order marks, line ends of other kinds.
mod telnet;
// The flood of one client and the turns of the others.
mod fairness;
// More work than the server can do at once: the clients that cause it wait, others do not.
mod overload;
// Ends of connections: the member leaves, pending answers are written, the last line says why.
mod endings;
// Connections that end within a line or a frame: the member leaves, and nothing is left of it.
mod cut_short;
// Members that do not read, and more clients than the connection limit.
mod limits;
// Limits for rooms and their members.
mod capacity;
// The rate limit of deliveries.
mod deliveries;
// Limits for one address.
mod addresses;
// No descriptors left: clients are refused, and accepted again later.
mod descriptors;
// As many clients as the descriptors allow, and more.
mod storm;
// Unfinished lines and frames, and their memory.
mod unfinished;
// Timeouts of unfinished messages and silent clients, and the budget of their memory.
mod waiting;
// A descriptor table per worker: more clients than one table holds.
mod descriptor_tables;
// Members that read nothing or hardly anything, under load, with both policies.
mod slow_consumers;
// The smallest budget of all outboxes.
mod budget;
// The memory that they cost, by the kernel's figures.
mod stalled_memory;
// Rooms and clients that come and go, and their memory.
mod coming_and_going;
// Thousands of clients at once.
mod crowds;
// Draining: every client gets what was accepted, and none can delay the end.
mod drain;
// Draining behind a load balancer, and beside the server that takes over.
mod drain_delay;
// Draining over a time: who is served meanwhile, and what everybody is told.
mod drain_spread;
// A process that is stopped for seconds under load, and goes on.
mod pauses;
// The web pages: where they are, in which encoding, and what they may do in a browser.
mod pages;
// HTTP: health, readiness, refused handshakes.
mod http;
// TLS on both ports: deliveries, HTTP, the end of a stream.
mod tls;
// Clients of TLS and certificates for these tests.
mod tls_client;
// Handshakes that are slow, endless, wrong or very many.
mod tls_handshakes;
// Certificates that are wrong, end, or are replaced while the server runs.
mod tls_certificates;
// Clients behind a proxy.
mod proxies;
// The web pages that may open a WebSocket.
mod origins;
// Tokens: who a client is, what is refused, names that can be trusted.
mod tokens;
// Tokens that expire, are renewed, or are revoked.
mod token_times;
// Rules of rooms, and rights that are lost.
mod rights;
// Rules, keys and certificates that are read again at SIGHUP.
mod reload;
// The application that is asked before clients connect, join or publish.
mod hooks;
// The metrics.
mod metrics;
// The figures of the dashboard, and who may read them.
mod dashboard;
// HTTP that is slow, endless or too large on purpose.
mod http_abuse;
// The methods and paths of HTTP, and the pages that may read.
mod http_routes;
// HTTP connections over their life.
mod http_connections;
// Requests that two servers may read in two ways.
mod http_smuggling;
// Clients that are served while others pipeline requests.
mod http_turns;
// The answers of a full server to its monitors.
mod http_spare;
// Refused requests in the log and the metrics.
mod http_refused;
// Bytes behind a refused request.
mod pipelined;
// Silent connections.
mod silent;
// Other protocols on the wrong port.
mod wrong_port;
// WebSocket clients, frame by frame.
mod websocket;
// Clients of the Centrifuge protocol: rooms, recovery, access, endings, hostile input.
mod centrifuge;
// WebSocket in pieces: a handshake cut anywhere, a frame that takes longer than a pong may.
mod cuts;
// Messages in fragments without end, and the memory of unfinished ones.
mod fragments;
// Clients of the Centrifuge protocol without WebSocket.
mod streams;
// Their requests that are refused, and pages of other origins.
mod streams_refused;
// A room over plain HTTP: its history as JSON, and who may read it.
mod rooms_http;
// A room as server-sent events: what comes, what ends it, and what it costs.
mod rooms_http_streams;
// Such readers that are cut at any byte, or are too slow, and come back.
mod rooms_http_cuts;
// What reading history may take of memory, and of the deliveries of an address.
mod rooms_http_limits;
// The list of rooms over plain HTTP.
mod room_list;
// Clients of the Centrifuge protocol that ask for as much as they can.
mod centrifuge_attacks;
// The server API: every method, keys and their rights, bodies, batches, orders, the description.
mod api;
// Line breaks where they do not belong, over both transports at once.
mod line_breaks;
// Names over both transports at once, and names in two forms of Unicode.
mod names;
// Pings of the server, and the end of a client that does not answer.
mod keepalive;
// Pings of a client without end.
mod pings;
// The built binary: ready file, signals, log.
mod binary;
// Compressed messages of clients that share a room with others.
mod deflate;
// Under a service manager: what it is told, and its watchdog.
mod service;
// Its log: nothing waits for it, and it names what an operator can solve.
mod log;
// The built binary's command line: refused arguments, and which setting overrides which.
mod command_line;
// What it tells of itself: help, version, completions, manual pages, a settings file.
mod command_line_help;
// Its commands that ask a server whether it is well, and to stop.
mod command_line_drain;
mod command_line_health;
// Its commands around tokens, keys and rules.
mod access_tools;
// The end after a panic. The binary fails on request in debug builds alone.
#[cfg(debug_assertions)]
mod panics;
