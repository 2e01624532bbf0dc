//! The signature by which the application knows that a question is the server's, and of now.

use std::fmt::Write;

use aws_lc_rs::hmac::{self, Context, HMAC_SHA256};

use crate::auth::UnixSeconds;
use crate::auth::tokens::secret_in;

/// The shortest secret, in bytes: as long as the hash.
const SECRET_BYTES_MIN: usize = 32;

/// The secret that the application knows. It cannot be printed.
pub(super) struct Signer(hmac::Key);

impl Signer {
    /// The secret in the bytes of its file. `None` if it is too short.
    pub(super) fn new(file: &[u8]) -> Option<Self> {
        let secret = secret_in(file);
        (secret.len() >= SECRET_BYTES_MIN).then(|| Self(hmac::Key::new(HMAC_SHA256, secret)))
    }

    /// HMAC-SHA256 of `<time>.<body>`, in hexadecimal digits.
    pub(super) fn sign(&self, UnixSeconds(time): UnixSeconds, body: &[u8]) -> String {
        let mut context = Context::with_key(&self.0);
        context.update(format!("{time}.").as_bytes());
        context.update(body);
        let mut digits = String::new();
        for byte in context.sign().as_ref() {
            write!(digits, "{byte:02x}").expect("a string takes every byte");
        }
        digits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_signed_with_its_time_as_any_library_does_it() {
        let signer = Signer::new(b"0123456789abcdef0123456789abcdef\n").unwrap();
        // python3 -c 'import hmac; print(hmac.new(b"0123456789abcdef"*2, b"1700000000.{}", "sha256").hexdigest())'
        let expected = "417adf36b901772f658597a76d329694e335e65fc0849d7715c3ca33406309b5";
        assert_eq!(signer.sign(UnixSeconds(1_700_000_000), b"{}"), expected);
        assert_ne!(signer.sign(UnixSeconds(170_000_000), b"0.{}"), expected);
    }

    #[test]
    fn a_secret_has_32_bytes_without_its_line_end() {
        assert!(Signer::new(&[b'a'; 32]).is_some());
        assert!(Signer::new(b"0123456789abcdef0123456789abcde\n").is_none());
    }
}
