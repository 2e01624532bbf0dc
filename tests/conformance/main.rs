//! RFC 6455 section by section, over real sockets, frame by frame: the questions of public conformance suites, as tests
//! that are named after the section. Most run against `examples/ws_echo`, which is the server's own transport around an
//! echo; those about failing connections run against the server as well. The client's frames are code of
//! `tests/harness`, not of `src/`.
//!
//! The text dialect behind the frames is tested in `tests/sockets/websocket.rs`, the handshake (§4) in
//! `tests/sockets/http.rs`, the decoder without a socket in `tests/units/protocol/websocket.rs`.

// The servers. The client and its frames, right or wrong, are in the crate `tests/harness`.
mod servers;

// §5.1 and §5.2: masks, lengths, reserved bits, reserved opcodes.
mod framing;
// §5.4: messages in fragments, control frames between them.
mod fragmentation;
// §5.5.2 and §5.5.3: pings and pongs.
mod ping_pong;
// §5.5.1, §7.1 and §7.4: the closing handshake and its codes.
mod closing;
// §8.1: valid UTF-8, cut at any byte.
mod utf8;
// §8.1: invalid UTF-8, and the byte at which the server notices it.
mod not_utf8;
// RFC 7692: offers of compression, compressed messages, and what ends a connection.
mod deflate;
// §10.4: large messages, many small ones, and the limit.
mod sizes;
