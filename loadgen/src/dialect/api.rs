//! Publishing by the server API: `POST /api/publish` on a connection that is kept alive. Requests are pipelined, and the
//! server answers them in their order. A connection is no member of a room and receives nothing else.

use super::{Dialect, Incoming, Position, ProtocolError, length};
use crate::target::Target;

/// The dialect of `api://host:port`.
#[derive(Default)]
pub struct Api {
    /// Presented with each request; never in a report or an error.
    key: String,
}

impl Api {
    /// The dialect of clients that present this key.
    pub const fn new(key: String) -> Self {
        Self { key }
    }
}

impl Dialect for Api {
    fn encode_handshake(&self, _: &Target, _: &mut Vec<u8>) {}

    fn has_handshake(&self) -> bool {
        false
    }

    /// The key is in each request.
    fn authenticate(&self, _: Option<&str>, _: &mut Vec<u8>) -> bool {
        false
    }

    fn publishing_needs_join(&self) -> bool {
        false
    }

    /// It joins nothing.
    fn join(&self, _: &str, _: &mut Vec<u8>) {}

    fn join_to_resume(&self, _: &str, _: Option<Position<'_>>, _: &mut Vec<u8>) {}

    fn request_position(&self, _: &str, _: &mut Vec<u8>) {}

    fn leave(&self, _: &str, _: &mut Vec<u8>) {}

    fn publish(&self, room: &str, text: &[u8], out: &mut Vec<u8>) {
        let (begin, end) = (format!("{{\"channel\":\"{room}\",\"data\":\""), "\"}");
        let length = begin.len() + text.len() + end.len();
        // The host is a constant, since no proxy is in between.
        let head = format!(
            "POST /api/publish HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {}\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\n\r\n{begin}",
            self.key
        );
        out.extend_from_slice(head.as_bytes());
        out.extend_from_slice(text);
        out.extend_from_slice(end.as_bytes());
    }

    fn decode<'a>(&self, _: bool, input: &'a [u8]) -> Result<Option<(usize, Incoming<'a>)>, ProtocolError> {
        let nonsense = || ProtocolError::new(input);
        let Some(end) = memchr::memmem::find(input, b"\r\n\r\n") else { return Ok(None) };
        let head = std::str::from_utf8(&input[..end]).map_err(|_| nonsense())?;
        let mut lines = head.split("\r\n");
        let status = lines.next().filter(|status| status.starts_with("HTTP/1.1 ")).ok_or_else(nonsense)?;
        let header = |line: &'a str| line.split_once(':');
        let bytes = lines.filter_map(header).find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
        let bytes = bytes.and_then(|(_, bytes)| length(bytes.trim().as_bytes())).ok_or_else(nonsense)?;
        let Some(body) = input.get(end + 4..end + 4 + bytes) else { return Ok(None) };
        let incoming = match status.starts_with("HTTP/1.1 200 ") {
            true if body.starts_with(b"{\"result\"") => Incoming::Published,
            true => Incoming::Refused(String::from_utf8_lossy(body).into_owned()),
            false => Incoming::Refused(status.to_owned()),
        };
        Ok(Some((end + 4 + bytes, incoming)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(answer: &str) -> Incoming<'_> {
        for cut in 0..answer.len() {
            assert_eq!(Api::default().decode(true, &answer.as_bytes()[..cut]), Ok(None), "cut at {cut}");
        }
        let (length, incoming) = Api::default().decode(true, answer.as_bytes()).unwrap().expect("it is whole");
        assert_eq!(length, answer.len());
        incoming
    }

    #[test]
    fn a_publish_is_a_request_with_the_key() {
        let mut out = Vec::new();
        Api::new("secret".to_owned()).publish("a", b"~rc:", &mut out);
        let request = String::from_utf8(out).unwrap();
        let (head, body) = request.split_once("\r\n\r\n").unwrap();
        assert!(
            head.starts_with("POST /api/publish HTTP/1.1\r\n") && head.contains("\r\nX-API-Key: secret\r\n"),
            "{head}"
        );
        assert_eq!(body, "{\"channel\":\"a\",\"data\":\"~rc:\"}");
        assert!(head.ends_with(&format!("Content-Length: {}", body.len())), "{head}");
    }

    #[test]
    fn answers_say_whether_it_was_published() {
        assert_eq!(decode("HTTP/1.1 200 OK\r\ncontent-length: 13\r\n\r\n{\"result\":{}}"), Incoming::Published);
        let refused = "HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n{\"error\":{}}";
        assert_eq!(decode(refused), Incoming::Refused("{\"error\":{}}".to_owned()));
        let no_key = "HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n";
        assert_eq!(decode(no_key), Incoming::Refused("HTTP/1.1 401 Unauthorized".to_owned()));
    }

    #[test]
    fn an_answer_without_a_length_is_nonsense() {
        for answer in ["Welcome!\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n"] {
            assert!(Api::default().decode(true, answer.as_bytes()).is_err(), "{answer}");
        }
    }
}
