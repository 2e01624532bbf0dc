//! Compression of WebSocket messages: permessage-deflate (RFC 7692).

/// Whether the messages to a client are compressed. Part of its dialect, so that a message is compressed once for all
/// clients that have negotiated the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Compression {
    /// As they are.
    #[default]
    None,
    /// By DEFLATE, each message for itself, without what came before (`server_no_context_takeover`).
    Deflate {
        /// The shortest message that is compressed, in bytes: shorter ones are sent as they are.
        bytes_min: u16,
        /// The base-2 logarithm of the window, 9 to 15 (`server_max_window_bits`).
        window_bits: u8,
    },
}
