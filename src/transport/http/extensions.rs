//! The extensions of a WebSocket handshake (RFC 6455 §9.1): what a client offers of permessage-deflate (RFC 7692 §7.1), and
//! the answer. Other extensions are left unanswered, which declines them.

use std::num::NonZeroU16;

use hyper::header::{HeaderMap, HeaderValue, SEC_WEBSOCKET_EXTENSIONS};

use super::body::Answer;
use crate::protocol::compression::{Compression, WINDOW_BITS_MAX, WINDOW_BITS_MIN};

const DEFLATE: &str = "permessage-deflate";

/// No state is kept for a client in either direction, whatever it offers (RFC 7692 §7.1.1).
const ANSWER: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

/// The least window of DEFLATE, as a base-2 logarithm.
const OFFERED_BITS_MIN: u8 = 8;

/// Answers the first offer of permessage-deflate that can be kept. Messages of `bytes_min` and more are compressed then; with
/// `None`, no offer is answered.
pub fn answer_extensions(headers: &HeaderMap, bytes_min: Option<NonZeroU16>, response: &mut Answer) -> Compression {
    let lists = headers.get_all(SEC_WEBSOCKET_EXTENSIONS).into_iter().filter_map(|value| value.to_str().ok());
    let offer = lists.flat_map(|list| split_outside_quotes(list, ',')).find_map(Offer::parse);
    let (Some(bytes_min), Some(Offer { server_max_window_bits })) = (bytes_min, offer) else {
        return Compression::None;
    };
    let answer = match server_max_window_bits {
        None => HeaderValue::from_static(ANSWER),
        Some(bits) => HeaderValue::try_from(format!("{ANSWER}; server_max_window_bits={bits}")).expect("ASCII"),
    };
    response.headers_mut().insert(SEC_WEBSOCKET_EXTENSIONS, answer);
    let window_bits = server_max_window_bits.unwrap_or(WINDOW_BITS_MAX);
    Compression::Deflate { bytes_min: bytes_min.get(), window_bits }
}

/// An offer of permessage-deflate that can be kept. What it says of the client's own window and context changes nothing: a
/// message is read with the largest window.
struct Offer {
    /// The largest window that the client reads with, if it has said so.
    server_max_window_bits: Option<u8>,
}

impl Offer {
    /// `None` for another extension, and for an offer that RFC 7692 §7.1 has a server decline: with a parameter that is
    /// unknown, named twice or has a wrong value, or with a window that zlib does not compress with.
    fn parse(offer: &str) -> Option<Self> {
        let mut parts = split_outside_quotes(offer, ';').map(str::trim);
        if parts.next() != Some(DEFLATE) {
            return None;
        }
        let mut server_max_window_bits = None;
        let mut names = Vec::new();
        for part in parts {
            let (name, value) = match part.split_once('=') {
                Some((name, value)) => (name.trim_end(), Some(unquoted(value.trim_start())?)),
                None => (part, None),
            };
            match (name, value.as_deref()) {
                (_, _) if names.contains(&name) => return None,
                ("server_no_context_takeover" | "client_no_context_takeover" | "client_max_window_bits", None) => {}
                ("client_max_window_bits", Some(value)) => drop(window_bits(value)?),
                ("server_max_window_bits", Some(value)) => {
                    server_max_window_bits = Some(window_bits(value).filter(|bits| *bits >= WINDOW_BITS_MIN)?);
                }
                _ => return None,
            }
            names.push(name);
        }
        Some(Self { server_max_window_bits })
    }
}

/// A window as RFC 7692 §7.1.2 writes it: 8 to 15, without a leading zero.
fn window_bits(value: &str) -> Option<u8> {
    let bits = value.parse().ok().filter(|bits| (OFFERED_BITS_MIN..=WINDOW_BITS_MAX).contains(bits))?;
    value.starts_with(|first: char| first.is_ascii_digit() && first != '0').then_some(bits)
}

/// The value of a parameter, which may stand in quotes.
fn unquoted(value: &str) -> Option<String> {
    match value.strip_prefix('"') {
        None => Some(value.to_owned()),
        Some(quoted) => Some(quoted.strip_suffix('"')?.replace('\\', "")),
    }
}

/// Splits a list at a delimiter, but not within quoted strings (RFC 9110 §5.6.4).
fn split_outside_quotes(list: &str, delimiter: char) -> impl Iterator<Item = &str> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    list.split(move |found| {
        match found {
            _ if is_escaped => is_escaped = false,
            '\\' if is_quoted => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            _ => return found == delimiter && !is_quoted,
        }
        false
    })
}
