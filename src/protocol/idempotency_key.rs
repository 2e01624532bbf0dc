//! The text by which a client marks the repeats of one publish.

use std::sync::Arc;

use thiserror::Error;

/// The text by which a client marks the repeats of one publish: 1 to 128 bytes of UTF-8. Clones share the text.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(Arc<str>);

/// A key that breaks its rule. The text shows both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("idempotency key of {bytes} bytes: 1 to {} bytes", IdempotencyKey::BYTES_MAX)]
pub struct KeyError {
    bytes: usize,
}

impl IdempotencyKey {
    /// The longest key, in bytes.
    pub const BYTES_MAX: usize = 128;

    /// Parses a key.
    ///
    /// # Errors
    /// The key is empty or too long.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let is_valid = (1..=Self::BYTES_MAX).contains(&text.len());
        if is_valid { Ok(Self(text.into())) } else { Err(KeyError { bytes: text.len() }) }
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
