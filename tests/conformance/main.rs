//! RFC 6455 section by section, over real sockets, frame by frame: what public conformance suites ask, as tests that are
//! named after the section. Most run against `examples/ws_echo`, which is the server's own transport around an echo; how a
//! connection fails is asked of the server as well. The frames are written and read by code of their own, nothing of `src/`.
//!
//! What holds for the text dialect behind the frames is in `tests/sockets/websocket.rs`, the handshake (§4) in
//! `tests/sockets/http.rs`, the decoder without a socket in `tests/units/protocol/websocket.rs`.

// Servers, a client, frames as wrong as a test wants them.
mod harness;

// §5.1 and §5.2: masks, lengths, reserved bits, reserved opcodes.
mod framing;
// §5.4: messages in fragments, control frames between them.
mod fragmentation;
// §5.5.2 and §5.5.3: pings and pongs.
mod ping_pong;
// §5.5.1, §7.1 and §7.4: the closing handshake and its codes.
mod closing;
// §8.1: text that is UTF-8, wherever it is cut.
mod utf8;
// §8.1: text that is none, and when that is noticed.
mod not_utf8;
// §10.4: large messages, many small ones, and the limit.
mod sizes;
