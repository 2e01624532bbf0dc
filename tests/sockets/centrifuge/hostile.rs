//! Data that could break other members, and input that is no command.

use harness::frame::{FINAL_BINARY, frame};
use harness::{Centrifuge, CentrifugeTransport, Client, Encoding, Transport, varint};
use serde_json::{Value, json};

use super::{ENCODINGS, TRANSPORTS, code, connect, member, over_all};
use crate::server::{Shape, TestServer};

const JSON: CentrifugeTransport = CentrifugeTransport::WebSocket(Encoding::Json);

/// Members of every kind, which must be there after everything that others publish.
struct Bystanders {
    texts: [Client; 2],
    sdks: Vec<Centrifuge>,
}

impl Bystanders {
    fn join(server: &TestServer) -> Self {
        let texts = Transport::ALL.map(|transport| Client::member(server, transport, "a", "text"));
        Self { texts, sdks: TRANSPORTS.iter().map(|transport| member(server, *transport, "a")).collect() }
    }

    /// Each of them gets one message, with this data as it was written, and this line for text clients.
    #[track_caller]
    fn expect(&mut self, data: &str, shown: &str) {
        for client in &mut self.sdks {
            let object = client.object();
            assert!(object.contains(&format!("\"data\":{data},")), "{object} and not {data}");
        }
        for client in &mut self.texts {
            let line = client.line();
            assert_eq!(line.split_once("] ").map(|(_, text)| text), Some(shown));
        }
    }

    #[track_caller]
    fn expect_nothing(&mut self) {
        self.sdks.iter_mut().for_each(Centrifuge::expect_nothing);
        self.texts.iter_mut().for_each(Client::expect_nothing);
    }
}

/// Waits until the publisher has its own message and the reply, without looking into them.
fn skip(client: &mut Centrifuge) {
    (0..2).for_each(|_| drop(client.object()));
}

#[test]
fn data_that_some_readers_of_json_cannot_take_reaches_all_members_as_it_was_written() {
    let server = TestServer::plain(Shape::MANY);
    let mut bystanders = Bystanders::join(&server);
    for encoding in ENCODINGS {
        let mut client = member(&server, CentrifugeTransport::WebSocket(encoding), "a");
        for data in [
            "1e400",
            "-1e-400",
            "123456789012345678901234567890.000",
            "1E2",
            r#"{"a":1,"a":2}"#,
            r#"{"text":"one","text":"two"}"#,
            r#""\ud800""#,
            r#"{"text":"\udc00 alone"}"#,
            r#"{"\u0000":"\u0000"}"#,
            r#""\/""#,
        ] {
            client.send_command(format!("{{\"publish\":{{\"channel\":\"a\",\"data\":{data}}}}}"));
            skip(&mut client);
            let shown = if data == r#""\/""# { "/" } else { data };
            bystanders.expect(data, shown);
        }
        client.close();
    }
    bystanders.expect_nothing();
}

#[test]
fn white_space_between_the_tokens_is_removed_and_that_in_strings_stays() {
    let server = TestServer::plain(Shape::MANY);
    let mut bystanders = Bystanders::join(&server);
    for transport in TRANSPORTS {
        let mut client = member(&server, transport, "a");
        let data = "{\n\t\"a b\" : [ 1 ,\r\n 2 ] , \"c\": \"d \\n e\" }";
        let command = match transport.encoding() {
            Encoding::Protobuf => publish_in_protobuf(9_000, data.as_bytes()),
            Encoding::Json => format!("{{\"id\":9000,\n\"publish\":{{\"channel\":\"a\", \"data\":{data}}}}}").into(),
        };
        client.send_payload(command);
        skip(&mut client);
        bystanders.expect(r#"{"a b":[1,2],"c":"d \n e"}"#, r#"{"a b":[1,2],"c":"d \n e"}"#);
    }
    bystanders.expect_nothing();
}

#[test]
fn data_that_is_nested_too_deeply_is_refused_however_deep() {
    over_all(|transport| {
        let server = TestServer::plain(Shape::MANY);
        let mut bystanders = Bystanders::join(&server);
        let mut client = member(&server, transport, "a");
        for depth in [121, 128, 1_000, 10_000] {
            for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
                let bytes_max = 60_000 / (open.len() + close.len());
                let depth = depth.min(bytes_max);
                let data = [&open.repeat(depth), "1", &close.repeat(depth)].concat();
                // The harness cannot write such JSON in Protobuf from JSON, so that it is sent as it is.
                let request = format!("{{\"channel\":\"a\",\"data\":{data}}}");
                assert_eq!(code(&client.error("publish", request)), 107, "{depth}");
            }
        }
        let deepest = ["[".repeat(120), "]".repeat(120)].concat();
        client.send_command(format!("{{\"publish\":{{\"channel\":\"a\",\"data\":{deepest}}}}}"));
        skip(&mut client);
        bystanders.expect(&deepest, &deepest);
        bystanders.expect_nothing();
    });
}

#[test]
fn data_that_is_no_json_is_refused_or_ends_its_sender() {
    let server = TestServer::plain(Shape::MANY);
    let mut bystanders = Bystanders::join(&server);
    // Protobuf carries any bytes.
    let mut client = member(&server, CentrifugeTransport::WebSocket(Encoding::Protobuf), "a");
    let deep = "[".repeat(10_000);
    for data in [&b"no JSON"[..], b"\xff\xfe", b"{", b"1 2", b"\0", b"", b"\"a\nb\"", b"NaN", deep.as_bytes()] {
        client.send_payload(publish_in_protobuf(9_000, data));
        let reply: Value = serde_json::from_str(&client.object()).expect("JSON");
        assert_eq!((&reply["id"], &reply["error"]["code"]), (&json!(9_000), &json!(107)), "{data:?}");
    }
    for frame_of_json in [
        r#"{"id":7,"publish":{"channel":"a","data":{]}}}"#,
        r#"{"id":7,"publish":{"channel":"a","data":1e}}"#,
        "{\"id\":7,\"publish\":{\"channel\":\"a\",\"data\":\"a\nb\"}}",
        "{\"id\":7,\"publish\":{\"channel\":\"a\",\"data\":\"\0\"}}",
        r#"{"id":7,"publish":{"channel":"a","data":NaN}}"#,
        r#"{"id":7,"publish":{"channel":"a","data":1}"#,
        r#"{"id":7,"publish":{"channel":"a","data":"\u12"}}"#,
        &"[".repeat(60_000),
        &"{\"a\":".repeat(10_000),
    ] {
        let mut client = member(&server, JSON, "a");
        client.send(frame_of_json);
        client.expect_closed(3501);
    }
    let mut client = member(&server, JSON, "a");
    assert_eq!(code(&client.error("publish", r#"{"channel":"a"}"#)), 107);
    bystanders.expect_nothing();
}

/// A publish to the room `a` with an id and these bytes as its data, in Protobuf.
fn publish_in_protobuf(id: u32, data: &[u8]) -> Vec<u8> {
    let counted = |tag: u8, bytes: &[u8]| [&[tag << 3 | 2][..], &varint(bytes.len() as u64), bytes].concat();
    let publish = [counted(1, b"a"), counted(2, data)].concat();
    let command = [&[1 << 3][..], &varint(id.into()), &counted(7, &publish)].concat();
    [varint(command.len() as u64), command].concat()
}

#[test]
fn ids_beyond_their_range_end_the_connection_and_the_largest_is_repeated() {
    let server = TestServer::plain(Shape::ONE);
    for id in ["4294967296", "-1", "1.5", "1e3", "\"7\"", "[1]", "99999999999999999999999999", "true"] {
        let mut client = connect(&server, JSON);
        client.send(format!("{{\"id\":{id},\"ping\":{{}}}}"));
        client.expect_closed(3501);
    }
    for transport in TRANSPORTS {
        let mut client = connect(&server, transport);
        client.send(r#"{"id":4294967295,"ping":{}}"#);
        assert_eq!(client.reply(u32::MAX)["ping"], json!({}));
        client.send(r#"{"id":7,"ping":{}}"#);
        client.send(r#"{"id":7,"ping":{}}"#);
        assert_eq!([(); 2].map(|()| client.reply(7)), [(); 2].map(|()| json!({ "ping": {} })));
    }
}

#[test]
fn a_frame_full_of_pongs_is_read_and_others_have_their_turn() {
    harness::at_once(ENCODINGS, |encoding| {
        let server = TestServer::plain(Shape::ONE);
        let transport = CentrifugeTransport::WebSocket(encoding);
        let [mut client, mut other] = [(); 2].map(|()| member(&server, transport, "a"));
        let pongs = match encoding {
            Encoding::Json => "{}".repeat(32 * 1024).into_bytes(),
            Encoding::Protobuf => vec![0; 64 * 1024],
        };
        for _ in 0..4 {
            client.send_payload(&pongs);
            other.publish("a", 1);
            assert_eq!(other.publication("a"), json!(1));
        }
        assert_eq!(client.fence().len(), 4);
    });
}

#[test]
fn frames_that_hold_nothing_or_no_object_end_the_connection() {
    let server = TestServer::plain(Shape::MANY);
    let mut bystanders = Bystanders::join(&server);
    for json in ["", "\n", "null", "[]", "1", "\"a\"", "{}{", "{\"id\":1}", "{} x", "\u{feff}{}"] {
        let mut client = connect(&server, JSON);
        client.send(json);
        client.expect_closed(3501);
    }
    for bytes in
        [&b""[..], b"\x01", b"\x05\x08\x07", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", b"\x02\x08\x07", b"{}"]
    {
        let mut client = connect(&server, CentrifugeTransport::WebSocket(Encoding::Protobuf));
        client.send_bytes(frame(FINAL_BINARY, bytes));
        client.expect_closed(3501);
    }
    bystanders.expect_nothing();
}
