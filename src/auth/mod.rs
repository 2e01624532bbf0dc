//! Who a client is and what it may do. Pure: the bytes of a token in, a [`Token`](tokens::Token) out; a room and a
//! token in, [`Rights`](rights::Rights) out. Reads no file, no clock and no socket, and never fetches anything that a
//! token names.

pub mod api_keys;
mod claim_types;
mod claims;
pub mod grants;
mod keys;
pub mod pattern;
pub mod revocations;
pub mod rights;
pub mod rules;
mod token;
pub mod tokens;

pub use claim_types::{BASE64, INFO_BYTES_MAX};

/// A time as tokens have it: seconds since 1970, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct UnixSeconds(pub u64);
