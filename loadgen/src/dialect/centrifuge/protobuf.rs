//! Protobuf objects, each behind its length. Fields are walked in place; nothing is copied.

use super::{
    Beginning, CONNECT, Closing, Encoding, Incoming, NAME, PUBLISH, Position, ProtocolError, SUBSCRIBE, UNSUBSCRIBE,
    pong, publication, split_behind_text, subscribed,
};

/// The Protobuf encoding.
pub struct Protobuf;

impl Encoding for Protobuf {
    const FIRST: u8 = 0x82;
    const SUBPROTOCOL: Option<&str> = Some("centrifuge-protobuf");
    const PONG: &[u8] = b"\0";

    fn connect(token: Option<&str>, out: &mut Vec<u8>) {
        let mut request = Vec::new();
        bytes_field(1, token.unwrap_or_default().as_bytes(), &mut request);
        bytes_field(4, NAME.as_bytes(), &mut request);
        command(CONNECT, 4, &request, out);
    }

    fn subscribe(room: &str, beginning: Beginning<'_>, out: &mut Vec<u8>) {
        let mut request = Vec::new();
        bytes_field(1, room.as_bytes(), &mut request);
        if let Beginning::Behind(Position { text, offset }) = beginning {
            number_field(3, 1, &mut request);
            bytes_field(6, text, &mut request);
            number_field(7, offset.unwrap_or_default(), &mut request);
        }
        number_field(10, u64::from(!matches!(beginning, Beginning::Now)), &mut request);
        command(SUBSCRIBE, 5, &request, out);
    }

    fn unsubscribe(room: &str, out: &mut Vec<u8>) {
        let mut request = Vec::new();
        bytes_field(1, room.as_bytes(), &mut request);
        command(UNSUBSCRIBE, 6, &request, out);
    }

    fn publish(room: &str, text: &[u8], out: &mut Vec<u8>) {
        let mut request = Vec::with_capacity(room.len() + text.len() + 16);
        bytes_field(1, room.as_bytes(), &mut request);
        bytes_field(2, &[b"\"", text, b"\""].concat(), &mut request);
        command(PUBLISH, 7, &request, out);
    }

    #[inline]
    fn decode(message: &[u8]) -> Result<Incoming<'_>, ProtocolError> {
        let flaw = || ProtocolError::new(message);
        let mut rest = message;
        let first = take_bytes(&mut rest).ok_or_else(flaw)?;
        if rest.is_empty() {
            return object(first).ok_or_else(flaw);
        }
        let mut all = vec![object(first).ok_or_else(flaw)?];
        while !rest.is_empty() {
            all.push(take_bytes(&mut rest).and_then(object).ok_or_else(flaw)?);
        }
        Ok(Incoming::Several(all))
    }
}

fn command(id: u8, method: u8, request: &[u8], out: &mut Vec<u8>) {
    let mut object = Vec::with_capacity(request.len() + 8);
    number_field(1, id.into(), &mut object);
    // The field of the method is written even if the request is empty.
    object.push(method << 3 | BYTES);
    varint(request.len() as u64, &mut object);
    object.extend_from_slice(request);
    varint(object.len() as u64, out);
    out.extend_from_slice(&object);
}

/// Wire types.
const NUMBER: u8 = 0;
const BYTES: u8 = 2;

/// A field; none if it is empty, as Protobuf has it.
fn bytes_field(tag: u8, bytes: &[u8], out: &mut Vec<u8>) {
    if !bytes.is_empty() {
        out.push(tag << 3 | BYTES);
        varint(bytes.len() as u64, out);
        out.extend_from_slice(bytes);
    }
}

/// A field; none if it is zero.
fn number_field(tag: u8, number: u64, out: &mut Vec<u8>) {
    if number > 0 {
        out.push(tag << 3 | NUMBER);
        varint(number, out);
    }
}

fn varint(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

#[inline]
fn take_varint(input: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let byte = input.split_off_first()?;
        number |= u64::from(byte & 0x7f) << shift;
        if *byte < 0x80 {
            return Some(number);
        }
    }
    None
}

#[inline]
fn take_bytes<'a>(input: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(take_varint(input)?).ok()?;
    input.split_off(..length)
}

/// The value of a field.
#[derive(Clone, Copy)]
enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// Passes each field with its tag. Returns `None` if the object does not follow the encoding.
#[inline]
fn for_each_field<'a>(mut object: &'a [u8], mut visit: impl FnMut(u64, Value<'a>)) -> Option<()> {
    while !object.is_empty() {
        let key = take_varint(&mut object)?;
        let value = match (key & 7) as u8 {
            NUMBER => Value::Number(take_varint(&mut object)?),
            BYTES => Value::Bytes(take_bytes(&mut object)?),
            _ => return None,
        };
        visit(key >> 3, value);
    }
    Some(())
}

/// The last field of a reply, which is its method or its push.
#[inline]
fn object(object: &[u8]) -> Option<Incoming<'_>> {
    if object.is_empty() {
        return Some(pong::<Protobuf>());
    }
    let mut last = (0, &b""[..]);
    for_each_field(object, |tag, value| {
        if let Value::Bytes(bytes) = value {
            last = (tag, bytes);
        }
    })?;
    let (tag, bytes) = last;
    match tag {
        2 => error(bytes),
        4 => push(bytes),
        5 => Some(Incoming::Authenticated),
        6 => subscribe_result(bytes),
        7 => Some(Incoming::Acknowledged),
        _ => Some(Incoming::Other),
    }
}

#[inline]
fn push(push: &[u8]) -> Option<Incoming<'_>> {
    let mut heard = Some(Incoming::Other);
    for_each_field(push, |tag, value| match (tag, value) {
        (4, Value::Bytes(bytes)) => heard = published(bytes),
        (7, Value::Bytes(bytes)) => heard = ended("unsubscribe", 2, bytes),
        (11, Value::Bytes(bytes)) => heard = ended("disconnect", 1, bytes),
        _ => {}
    })?;
    heard
}

#[inline]
fn published(bytes: &[u8]) -> Option<Incoming<'_>> {
    let (mut text, mut offset) = (None, None);
    for_each_field(bytes, |tag, value| match (tag, value) {
        (4, Value::Bytes(data)) => text = split_behind_text(data).map(|(text, _)| text),
        (6, Value::Number(number)) => offset = Some(number),
        _ => {}
    })?;
    Some(text.map_or(Incoming::Other, |text| publication(text, offset)))
}

/// The code, in the field with this tag, and the reason, in the next one.
fn ended<'a>(what: &str, code_tag: u64, bytes: &[u8]) -> Option<Incoming<'a>> {
    let (code, reason) = code_and_words(code_tag, bytes)?;
    Some(Incoming::Closed(Closing::in_words(format!("{what}: {reason}, code {code}").as_bytes())))
}

fn error<'a>(bytes: &[u8]) -> Option<Incoming<'a>> {
    let (code, message) = code_and_words(1, bytes)?;
    Some(Incoming::Refused(format!("{message}, error {code}")))
}

fn code_and_words(code_tag: u64, bytes: &[u8]) -> Option<(u64, String)> {
    let (mut code, mut words) = (0, String::new());
    for_each_field(bytes, |tag, value| match value {
        Value::Number(number) if tag == code_tag => code = number,
        Value::Bytes(bytes) if tag == code_tag + 1 => words = String::from_utf8_lossy(bytes).into_owned(),
        _ => {}
    })?;
    Some((code, words))
}

fn subscribe_result(bytes: &[u8]) -> Option<Incoming<'_>> {
    let (mut epoch, mut offset, mut was_recovering, mut is_recovered) = (None, 0, false, false);
    let mut publications = Vec::new();
    for_each_field(bytes, |tag, value| match (tag, value) {
        (6, Value::Bytes(bytes)) => epoch = Some(bytes),
        (7, Value::Bytes(bytes)) => publications.push(published(bytes)),
        (8, Value::Number(number)) => is_recovered = number > 0,
        (9, Value::Number(number)) => offset = number,
        (12, Value::Number(number)) => was_recovering = number > 0,
        _ => {}
    })?;
    let publications = publications.into_iter().collect::<Option<_>>()?;
    Some(subscribed(was_recovering && !is_recovered, publications, epoch, offset))
}
