//! Why a server ends a connection, and how long it tells the client to wait before it comes back. Parses words; every
//! dialect finds them by itself.

use std::time::Duration;

/// What stands before the seconds in the words of a server that stops, as in `shutdown retry=11`.
const RETRY: &str = " retry=";

/// The header that has the seconds in an answer of HTTP (RFC 9110 §10.2.3).
const RETRY_AFTER: &str = "retry-after";

/// The end of a connection, as the server tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closing {
    /// The reason without the hint, so that equal reasons count together.
    pub reason: String,
    /// How long the client is told to wait before it comes back; `None` if the server does not say.
    pub retry_after: Option<Duration>,
}

impl Closing {
    /// The end in the words of the server, in which `retry=<seconds>` may stand anywhere.
    pub fn in_words(words: &[u8]) -> Self {
        let words = String::from_utf8_lossy(words);
        let Some((reason, seconds, rest)) = split_at_retry(&words) else { return words.into_owned().into() };
        Self { reason: format!("{reason}{rest}"), retry_after: Some(Duration::from_secs(seconds)) }
    }

    /// The end by an answer of HTTP, of which this is the head: its status, and the seconds of `Retry-After`.
    pub fn by_answer(head: &str) -> Self {
        let mut lines = head.split("\r\n");
        let reason = lines.next().unwrap_or_default().to_owned();
        let mut headers = lines.filter_map(|line| line.split_once(':'));
        let header = headers.find(|(name, _)| name.eq_ignore_ascii_case(RETRY_AFTER));
        let seconds = header.and_then(|(_, seconds)| seconds.trim().parse().ok());
        Self { reason, retry_after: seconds.map(Duration::from_secs) }
    }
}

/// An end without a hint.
impl From<String> for Closing {
    fn from(reason: String) -> Self {
        Self { reason, retry_after: None }
    }
}

/// The words before the hint, its seconds, and the words behind it; `None` without a hint.
fn split_at_retry(words: &str) -> Option<(&str, u64, &str)> {
    let (before, behind) = words.split_once(RETRY)?;
    let digits = behind.bytes().take_while(u8::is_ascii_digit).count();
    let (seconds, rest) = behind.split_at(digits);
    Some((before, seconds.parse().ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn closing(reason: &str, seconds: u64) -> Closing {
        Closing { reason: reason.to_owned(), retry_after: Some(Duration::from_secs(seconds)) }
    }

    #[test]
    fn the_hint_is_no_part_of_the_reason() {
        assert_eq!(Closing::in_words(b"shutdown retry=11"), closing("shutdown", 11));
        assert_eq!(Closing::in_words(b"shutdown retry=1, close code 1001"), closing("shutdown, close code 1001", 1));
        assert_eq!(Closing::in_words(b"shutdown"), "shutdown".to_owned().into());
    }

    #[test]
    fn what_is_no_number_of_seconds_is_no_hint() {
        for words in ["shutdown retry=", "shutdown retry=soon", "retries retry=-1", "noretry=1"] {
            assert_eq!(Closing::in_words(words.as_bytes()), words.to_owned().into());
        }
    }

    #[test]
    fn an_answer_of_http_has_its_hint_in_a_header() {
        let head = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 8\r\nretry-after: 11";
        assert_eq!(Closing::by_answer(head), closing("HTTP/1.1 503 Service Unavailable", 11));
        let without = "HTTP/1.1 404 Not Found\r\nRetry-After: Fri, 31 Dec 2027 23:59:59 GMT";
        assert_eq!(Closing::by_answer(without), "HTTP/1.1 404 Not Found".to_owned().into());
    }
}
