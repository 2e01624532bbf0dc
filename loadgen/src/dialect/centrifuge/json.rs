//! JSON objects, one on each line. Deliveries are searched for bytes and never parsed. The order of members is that of
//! the protocol's own server: `id` first, then the method; `channel` before the kind of a push; `offset` last, or last
//! but for `time`.

use memchr::memmem;
use serde_json::Value;

use super::{
    Beginning, CONNECT, Closing, Encoding, Incoming, NAME, PUBLISH, Position, ProtocolError, SUBSCRIBE, UNSUBSCRIBE,
    pong, publication, split_behind_text, subscribed,
};

/// The JSON encoding.
pub struct Json;

impl Encoding for Json {
    const FIRST: u8 = 0x81;
    const SUBPROTOCOL: Option<&str> = None;
    const PONG: &[u8] = b"{}";

    fn connect(token: Option<&str>, out: &mut Vec<u8>) {
        let token = token.map_or(String::new(), |token| format!("\"token\":{},", Value::from(token)));
        command(CONNECT, &format!("\"connect\":{{{token}\"name\":\"{NAME}\"}}"), out);
    }

    fn subscribe(room: &str, beginning: Beginning<'_>, out: &mut Vec<u8>) {
        let beginning = match beginning {
            Beginning::Now => String::new(),
            Beginning::NowWithPosition => ",\"recoverable\":true".to_owned(),
            Beginning::Behind(Position { text, offset }) => {
                let (epoch, offset) = (String::from_utf8_lossy(text), offset.unwrap_or_default());
                format!(",\"recoverable\":true,\"recover\":true,\"epoch\":\"{epoch}\",\"offset\":{offset}")
            }
        };
        command(SUBSCRIBE, &format!("\"subscribe\":{{\"channel\":\"{room}\"{beginning}}}"), out);
    }

    fn unsubscribe(room: &str, out: &mut Vec<u8>) {
        command(UNSUBSCRIBE, &format!("\"unsubscribe\":{{\"channel\":\"{room}\"}}"), out);
    }

    fn publish(room: &str, text: &[u8], out: &mut Vec<u8>) {
        let head = format!("{{\"id\":{PUBLISH},\"publish\":{{\"channel\":\"{room}\",\"data\":\"");
        out.extend_from_slice(head.as_bytes());
        out.extend_from_slice(text);
        out.extend_from_slice(b"\"}}");
    }

    #[inline]
    fn decode(message: &[u8]) -> Result<Incoming<'_>, ProtocolError> {
        let message = message.strip_suffix(b"\n").unwrap_or(message);
        if memchr::memchr(b'\n', message).is_none() {
            return object(message);
        }
        let objects = message.split(|&byte| byte == b'\n').map(object);
        Ok(Incoming::Several(objects.collect::<Result<_, _>>()?))
    }
}

fn command(id: u8, method: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(format!("{{\"id\":{id},{method}}}").as_bytes());
}

#[inline]
fn object(object: &[u8]) -> Result<Incoming<'_>, ProtocolError> {
    if let Some(push) = object.strip_prefix(b"{\"push\":") {
        return Ok(split_behind_text(object)
            .map_or_else(|| other_push(push), |(text, _)| publication(text, last_offset(object))));
    }
    if object == Json::PONG {
        return Ok(pong::<Json>());
    }
    reply(object).ok_or_else(|| ProtocolError::new(object))
}

/// The offset in the last place of an object, or in front of a time there.
#[inline]
fn last_offset(object: &[u8]) -> Option<u64> {
    let end = object.iter().rposition(|&byte| byte != b'}')? + 1;
    let (before, digits) = split_last_number(&object[..end]);
    let (before, digits) = before.strip_suffix(b",\"time\":").map_or((before, digits), split_last_number);
    before.ends_with(b"\"offset\":").then(|| number(digits))
}

/// What is before the digits at the end, and the digits.
fn split_last_number(json: &[u8]) -> (&[u8], &[u8]) {
    json.split_at(json.iter().rposition(|byte| !byte.is_ascii_digit()).map_or(0, |last| last + 1))
}

/// The number of these digits. More than a server counts to wraps, which its next offset shows.
fn number(digits: &[u8]) -> u64 {
    digits.iter().fold(0, |number: u64, digit| number.wrapping_mul(10).wrapping_add(u64::from(digit & 0xf)))
}

/// A push that is no publication of ours.
fn other_push(push: &[u8]) -> Incoming<'_> {
    let braces = push.iter().rev().take_while(|&&byte| byte == b'}').count();
    let ends = [&b"\"unsubscribe\":{"[..], b"\"disconnect\":{"].map(|end| memmem::find(push, end));
    match ends.into_iter().flatten().next() {
        Some(at) => Incoming::Closed(Closing::in_words(&push[at..push.len() - braces])),
        None => Incoming::Other,
    }
}

/// `{"id":<number>,"<method>":{…}}`.
fn reply(object: &[u8]) -> Option<Incoming<'_>> {
    let rest = object.strip_prefix(b"{\"id\":")?;
    let digits = rest.iter().position(|byte| !byte.is_ascii_digit())?;
    let rest = rest[digits..].strip_prefix(b",\"")?;
    let (method, result) = rest.split_at(memchr::memchr(b'"', rest)?);
    Some(match method {
        b"error" => Incoming::Refused(error(object)),
        b"connect" => Incoming::Authenticated,
        b"subscribe" => subscribe_result(result),
        b"unsubscribe" => Incoming::Acknowledged,
        _ => Incoming::Other,
    })
}

fn error(object: &[u8]) -> String {
    let reply: Value = serde_json::from_slice(object).unwrap_or_default();
    let (code, message) = (&reply["error"]["code"], reply["error"]["message"].as_str().unwrap_or_default());
    format!("{message}, error {code}")
}

fn subscribe_result(result: &[u8]) -> Incoming<'_> {
    let has = |member: &[u8]| memmem::find(result, member).is_some();
    let is_gap = has(b"\"was_recovering\":true") && !has(b"\"recovered\":true");
    let (mut publications, mut rest) = (Vec::new(), result);
    while let Some((text, behind)) = split_behind_text(rest) {
        publications.push(publication(text, behind_name(behind, b"\"offset\":").map(number_before_other)));
        rest = behind;
    }
    let epoch = behind_name(result, b"\"epoch\":\"").and_then(|epoch| Some(&epoch[..memchr::memchr(b'"', epoch)?]));
    let offset = behind_name(result, b"\"offset\":").map_or(0, number_before_other);
    subscribed(is_gap, publications, epoch, offset)
}

fn behind_name<'a>(json: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    memmem::find(json, name).map(|at| &json[at + name.len()..])
}

fn number_before_other(json: &[u8]) -> u64 {
    number(&json[..json.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(json.len())])
}
