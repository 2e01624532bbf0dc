//! The bytes of each protocol that the server can speak. Commands of every protocol are turned into the text protocol's
//! before the server sees them.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use flate2::{Compress, Compression, FlushCompress};
use serde_json::{Value, json};

use super::resuming::EPOCH;

/// The label in front of every message of the text protocol.
const LABEL: &str = "[127.0.0.1:1] ";

/// The answer to the handshake of `loadgen`, whose key is a constant.
const UPGRADE: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";

/// The head of the answer to a reader of a room.
const STREAM: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";

/// Accepts compression if a client offers it.
const DEFLATE: &str =
    "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n";

/// A protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Wire {
    /// The text protocol over TCP.
    #[default]
    Lines,
    /// The Centrifuge protocol in JSON over WebSocket.
    Centrifuge,
    /// Rooms as server-sent events, and the server API.
    Http,
}

impl Wire {
    /// The name of the scheme of a target.
    pub fn scheme(self) -> &'static str {
        match self {
            Self::Lines => "tcp",
            Self::Centrifuge => "centrifuge+ws",
            Self::Http => "sse",
        }
    }

    /// A message for a member. Offsets count from 1.
    pub fn delivery(self, room: &str, text: &str, offset: usize) -> String {
        match self {
            Self::Lines => format!("{LABEL}{text}\n"),
            Self::Centrifuge => {
                format!("{{\"push\":{{\"channel\":\"{room}\",\"pub\":{{\"data\":\"{text}\",\"offset\":{offset}}}}}}}")
            }
            Self::Http => format!("{}data: {{\"data\":\"{text}\"}}\n\n", id(offset)),
        }
    }

    /// A delivery without the last byte of its text.
    pub fn cut(self, delivery: &str) -> String {
        match self {
            Self::Lines => delivery.replace(".\n", "\n"),
            Self::Centrifuge | Self::Http => delivery.replace(".\"", "\""),
        }
    }

    /// The answer to a join. `offset` is that of the room's last message.
    pub fn joined(self, room: &str, offset: usize) -> Vec<String> {
        match self {
            Self::Lines => vec![format!("Joined {room}\n")],
            Self::Centrifuge => subscribed(json!({ "offset": offset })),
            Self::Http => vec![format!("retry: 1\n{}\n", id(offset))],
        }
    }

    /// The answer to a join with a position, with what was missed. `offset` is that of the position, or that of the
    /// room's last message if there is a gap.
    pub fn resumed(self, room: &str, missed: Vec<String>, is_gap: bool, offset: usize) -> Vec<String> {
        match self {
            Self::Lines if is_gap => vec![format!("Joined {room}\n"), "GAP unknown\n".to_owned()],
            Self::Lines => [format!("Joined {room}\n")].into_iter().chain(missed).collect(),
            Self::Http if is_gap => vec![format!("retry: 1\n{}event: gap\ndata: {{}}\n\n", id(offset))],
            Self::Http => vec![format!("retry: 1\n{}\n{}", id(offset), missed.concat())],
            Self::Centrifuge if is_gap => subscribed(json!({ "was_recovering": true, "offset": offset })),
            Self::Centrifuge => {
                let missed = missed.iter().map(|push| parse(push)["push"]["pub"].take()).collect::<Vec<_>>();
                let recovered =
                    json!({ "was_recovering": true, "recovered": true, "publications": missed, "offset": offset });
                subscribed(recovered)
            }
        }
    }

    /// The answer to a leave.
    pub fn left(self) -> String {
        match self {
            Self::Lines => "Left room\n".to_owned(),
            Self::Centrifuge => "{\"id\":4,\"unsubscribe\":{}}".to_owned(),
            Self::Http => unreachable!("a reader leaves by its end"),
        }
    }

    /// The last words of a server that stops, with the seconds after which clients are to come back.
    pub fn shutdown(self, hint: Option<u32>) -> String {
        let retry = hint.map_or(String::new(), |seconds| format!(" retry={seconds}"));
        match self {
            Self::Lines => format!("ERR closed shutdown{retry}\n"),
            Self::Centrifuge => format!(r#"{{"push":{{"disconnect":{{"code":3001,"reason":"shutdown{retry}"}}}}}}"#),
            Self::Http => unreachable!("no test stops a server of readers"),
        }
    }

    /// The answer to a token, and a ping behind it where the server sends pings.
    pub fn authenticated(self, is_refused: bool) -> Vec<String> {
        let answers = match (self, is_refused) {
            (Self::Lines, true) => &["ERR unauthorized\n"][..],
            (Self::Lines, false) => &["Authenticated as somebody\n"],
            (Self::Centrifuge, true) => &[r#"{"id":1,"error":{"code":101,"message":"unauthorized"}}"#],
            (Self::Http, _) => unreachable!("a reader presents no token"),
            (Self::Centrifuge, false) => &[r#"{"id":1,"connect":{"client":"c","ping":25,"pong":true}}"#, "{}"],
        };
        answers.iter().map(|answer| (*answer).to_owned()).collect()
    }

    /// What is written to the socket.
    pub fn framed(self, text: &str, is_deflated: bool) -> Vec<u8> {
        match self {
            Self::Lines => text.into(),
            Self::Http if text.starts_with("HTTP/1.1 ") => text.into(),
            Self::Http => format!("{:x}\r\n{text}\r\n", text.len()).into(),
            Self::Centrifuge if is_deflated => frame(0xc1, &deflated(text.as_bytes())),
            Self::Centrifuge => frame(0x81, text.as_bytes()),
        }
    }

    /// Does the handshake. Returns whether messages are to be compressed.
    pub fn accept(self, lines: &mut BufReader<TcpStream>) -> bool {
        if self != Self::Centrifuge {
            return false;
        }
        let head: Vec<String> = lines.lines().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
        let is_deflated = head.iter().any(|line| line.contains("permessage-deflate"));
        let extensions = if is_deflated { DEFLATE } else { "" };
        // Fails if the client has gone, which reading shows.
        let _ = lines.get_ref().write_all(format!("{UPGRADE}{extensions}\r\n").as_bytes());
        is_deflated
    }

    /// The next command as a line of the text protocol; `None` at the end.
    pub fn command(self, input: &mut BufReader<TcpStream>) -> Option<String> {
        match self {
            Self::Lines => input.lines().next()?.ok(),
            Self::Http => read_request(input),
            Self::Centrifuge => Some(as_line(&parse(&read_frame(input)?))),
        }
    }
}

/// The id of an event.
fn id(offset: usize) -> String {
    format!("id: {EPOCH}-{offset:016}\n")
}

/// The next request as a command; `None` at the end. The head of the answer to a reader is sent at once.
fn read_request(input: &mut BufReader<TcpStream>) -> Option<String> {
    let head: Vec<String> = input.lines().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
    let header = |name: &str| head.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    if let Some(rest) = head.first()?.strip_prefix("GET /rooms/") {
        // Fails if the client has gone, which reading shows.
        let _ = input.get_ref().write_all(STREAM.as_bytes());
        let since = header("Last-Event-ID").map_or(String::new(), |position| format!(" since={position}"));
        return Some(format!("JOIN {}{since}", rest.split('?').next()?));
    }
    let mut body = vec![0; header("Content-Length")?.parse().ok()?];
    input.read_exact(&mut body).ok()?;
    let publish: Value = serde_json::from_slice(&body).expect("JSON");
    let (key, text) = (header("X-API-Key")?, |name: &str| publish[name].as_str().unwrap_or_default());
    Some(format!("API {key} {} {}", text("channel"), text("data")))
}

/// A reply to a subscribe command, in the order of members of the protocol's own server.
fn subscribed(result: Value) -> Vec<String> {
    let member = |name: &str| result.get(name).map_or(String::new(), |value| format!(",\"{name}\":{value}"));
    let members: String = ["publications", "recovered", "offset", "was_recovering"].map(member).concat();
    vec![format!("{{\"id\":2,\"subscribe\":{{\"recoverable\":true,\"epoch\":\"{EPOCH}\"{members}}}}}")]
}

fn parse(json: &str) -> Value {
    serde_json::from_str(json).expect("JSON")
}

fn as_line(command: &Value) -> String {
    let text = |pointer: &str| command.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    if command.get("connect").is_some() {
        return format!("AUTH {}", text("/connect/token"));
    }
    if let Some(subscribe) = command.get("subscribe") {
        let since = match subscribe["recover"].as_bool() {
            Some(true) => format!(" since={}-{}", text("/subscribe/epoch"), subscribe["offset"]),
            _ => String::new(),
        };
        return format!("JOIN {}{since}", text("/subscribe/channel"));
    }
    if command.get("publish").is_some() {
        return text("/publish/data").to_owned();
    }
    if command.get("unsubscribe").is_some() { "LEAVE".to_owned() } else { "PONG".to_owned() }
}

/// The payload of a client's frame; `None` at the end.
fn read_frame(input: &mut impl Read) -> Option<String> {
    let [_, short] = take(input)?;
    let length = match short & 0x7f {
        126 => usize::from(u16::from_be_bytes(take(input)?)),
        127 => u64::from_be_bytes(take(input)?) as usize,
        short => usize::from(short),
    };
    let mask: [u8; 4] = take(input)?;
    let mut payload = vec![0; length];
    input.read_exact(&mut payload).ok()?;
    payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
    String::from_utf8(payload).ok()
}

fn take<const LENGTH: usize>(input: &mut impl Read) -> Option<[u8; LENGTH]> {
    let mut bytes = [0; LENGTH];
    input.read_exact(&mut bytes).ok()?;
    Some(bytes)
}

fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let length = payload.len();
    let head = match u8::try_from(length) {
        Ok(short @ ..=125) => vec![first, short],
        _ if length <= 0xffff => [&[first, 126][..], &(length as u16).to_be_bytes()].concat(),
        _ => [&[first, 127][..], &(length as u64).to_be_bytes()].concat(),
    };
    [&head, payload].concat()
}

fn deflated(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 64);
    let mut compress = Compress::new(Compression::default(), false);
    compress.compress_vec(text, &mut out, FlushCompress::Sync).expect("space");
    out.truncate(out.len() - 4);
    out
}
