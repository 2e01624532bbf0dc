//! The request by which a client without WebSocket sends commands: they belong to the session of its stream.

use std::borrow::Cow;

use prost::Message;
use serde::Deserialize;

/// Commands for the session of a stream. It shows no secret where it is printed.
#[derive(Deserialize)]
pub struct EmulationRequest<'a> {
    /// The secret name of the session.
    #[serde(borrow)]
    pub session: Cow<'a, str>,
    /// The server that has given the name.
    #[serde(borrow)]
    pub node: Cow<'a, str>,
    /// The frame, as the client would send it over a WebSocket.
    #[serde(borrow, rename = "data")]
    pub frame: Cow<'a, str>,
}

/// The same in Protobuf, where the frame is binary.
#[derive(Message)]
#[prost(skip_debug)]
pub struct BinaryEmulationRequest {
    /// The server that has given the name.
    #[prost(string, tag = "1")]
    pub node: String,
    /// The secret name of the session.
    #[prost(string, tag = "2")]
    pub session: String,
    /// The frame.
    #[prost(bytes = "vec", tag = "3")]
    pub frame: Vec<u8>,
}

impl<'a> EmulationRequest<'a> {
    /// Parses the body of a request; `None` if it is not JSON or lacks a field.
    pub fn parse(body: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(body).ok()
    }
}

impl BinaryEmulationRequest {
    /// Parses the body of a request; `None` if it is not Protobuf. A field that is not there is empty.
    pub fn parse(body: &[u8]) -> Option<Self> {
        Self::decode(body).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_in_json_has_three_texts_and_perhaps_more() {
        let body = br#"{"session":"s","node":"n","data":"{\"id\":2}\n{}","later":[1]}"#;
        let request = EmulationRequest::parse(body).unwrap();
        assert_eq!((&*request.session, &*request.node, &*request.frame), ("s", "n", "{\"id\":2}\n{}"));
        for wrong in [
            "",
            "{}",
            "[]",
            "null",
            r#"{"session":"s","node":"n"}"#,
            r#"{"session":"s","node":"n","data":{}}"#,
            r#"{"session":"s","node":"n","data":null}"#,
            r#"{"session":1,"node":"n","data":""}"#,
            r#"{"session":"s","session":"s","node":"n","data":""}"#,
            r#"{"session":"s","node":"n","data":""}x"#,
        ] {
            assert!(EmulationRequest::parse(wrong.as_bytes()).is_none(), "{wrong}");
        }
    }

    #[test]
    fn a_request_in_protobuf_ends_where_it_says_and_its_names_are_text() {
        let body = b"\x0a\x01n\x12\x01s\x1a\x02\x00\xff\x50\x01";
        let request = BinaryEmulationRequest::parse(body).unwrap();
        assert_eq!((&*request.session, &*request.node, &*request.frame), ("s", "n", &[0, 0xff][..]));
        assert!(BinaryEmulationRequest::parse(&body[..9]).is_none(), "it is cut");
        assert!(BinaryEmulationRequest::parse(b"\x0a\x01\xff").is_none(), "it is not UTF-8");
    }
}
