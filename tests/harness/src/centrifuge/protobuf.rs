//! Translates between JSON and the Protobuf encoding of the Centrifuge protocol, by the tables of `schema`. It fails on
//! anything that a server must not send: a field that no table has, a wrong wire type, an end in the middle.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::schema::{COMMAND, Field, Fields, Kind, REPLY};

/// Wire types.
const VARINT: u64 = 0;
const BYTES: u64 = 2;

/// A command in JSON as Protobuf, behind its length. `{}` is the single byte 0.
pub fn command(json: &str) -> Vec<u8> {
    behind_length(&message(COMMAND, json))
}

/// The objects of a message as JSON.
pub fn replies(mut bytes: &[u8]) -> Vec<String> {
    let mut objects = Vec::new();
    while !bytes.is_empty() {
        objects.push(object(REPLY, take_counted(&mut bytes)));
    }
    objects
}

/// The body of a request beside a stream: node 1, session 2, data 3.
pub fn emulation_request(node: &str, session: &str, data: &[u8]) -> Vec<u8> {
    let fields = [(1, node.as_bytes()), (2, session.as_bytes()), (3, data)];
    fields.into_iter().flat_map(|(tag, value)| counted_field(tag, value)).collect()
}

/// A number, seven bits in each byte, the lowest first.
pub fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// Reads a number.
pub fn read_varint(mut next: impl FnMut() -> u8) -> u64 {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = next();
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return value;
        }
    }
    panic!("a number of more than ten bytes");
}

fn behind_length(bytes: &[u8]) -> Vec<u8> {
    [&varint(bytes.len() as u64), bytes].concat()
}

fn counted_field(tag: u64, bytes: &[u8]) -> Vec<u8> {
    [varint(tag << 3 | BYTES), behind_length(bytes)].concat()
}

fn members(json: &str) -> BTreeMap<String, Box<RawValue>> {
    serde_json::from_str(json).unwrap_or_else(|error| panic!("{json} is no object: {error}"))
}

fn message(fields: Fields, json: &str) -> Vec<u8> {
    let member = |(name, value): (String, Box<RawValue>)| {
        let field = fields.iter().find(|field| field.name == name);
        encoded(field.unwrap_or_else(|| panic!("no field {name:?}")), value.get())
    };
    members(json).into_iter().flat_map(member).collect()
}

fn encoded(field: &Field, json: &str) -> Vec<u8> {
    let tag = field.tag;
    let counted = |bytes: &[u8]| counted_field(tag, bytes);
    match field.kind {
        Kind::Text => counted(text(json).as_bytes()),
        Kind::Json => counted(json.as_bytes()),
        Kind::Bool => [varint(tag << 3), varint(u64::from(json == "true"))].concat(),
        Kind::Unsigned => [varint(tag << 3), varint(json.parse().expect("a number"))].concat(),
        Kind::Signed => {
            let value: i64 = json.parse().expect("a number");
            [varint(tag << 3), varint(value.cast_unsigned())].concat()
        }
        Kind::Message(fields) => counted(&message(fields, json)),
        Kind::List(fields) => {
            let items: Vec<Box<RawValue>> = serde_json::from_str(json).expect("a list");
            items.iter().flat_map(|item| counted(&message(fields, item.get()))).collect()
        }
        Kind::Map(fields) => {
            let entry = |(key, value): (String, Box<RawValue>)| {
                counted(&[counted_field(1, key.as_bytes()), counted_field(2, &message(fields, value.get()))].concat())
            };
            members(json).into_iter().flat_map(entry).collect()
        }
        Kind::TextMap => {
            let entry = |(key, value): (String, Box<RawValue>)| {
                let value = text(value.get());
                counted(&[counted_field(1, key.as_bytes()), counted_field(2, value.as_bytes())].concat())
            };
            members(json).into_iter().flat_map(entry).collect()
        }
    }
}

fn text(json: &str) -> String {
    serde_json::from_str(json).expect("a string")
}

/// The fields of a message as JSON, with the value zero for fields that JSON always has.
fn object(fields: Fields, mut bytes: &[u8]) -> String {
    let mut found: BTreeMap<&str, (Kind, Vec<String>)> = BTreeMap::new();
    for field in fields.iter().filter(|field| field.is_always) {
        found.insert(field.name, (field.kind, Vec::new()));
    }
    while !bytes.is_empty() {
        let key = take_varint(&mut bytes);
        let field = fields.iter().find(|field| field.tag == key >> 3);
        let field = field.unwrap_or_else(|| panic!("no field has the tag {}", key >> 3));
        assert_eq!(key & 7, field.kind.wire_type(), "the wire type of {}", field.name);
        let value = decoded(field.kind, &mut bytes);
        found.entry(field.name).or_insert((field.kind, Vec::new())).1.push(value);
    }
    let members: Vec<_> =
        found.iter().map(|(name, (kind, values))| format!("\"{name}\":{}", kind.json(values))).collect();
    format!("{{{}}}", members.join(","))
}

/// The value of one field, or one entry of a list or map.
fn decoded(kind: Kind, bytes: &mut &[u8]) -> String {
    match kind {
        Kind::Text => quoted(take_counted(bytes)),
        Kind::Json => str::from_utf8(take_counted(bytes)).expect("UTF-8").to_owned(),
        Kind::Bool => (take_varint(bytes) != 0).to_string(),
        Kind::Unsigned => take_varint(bytes).to_string(),
        Kind::Signed => take_varint(bytes).cast_signed().to_string(),
        Kind::Message(fields) | Kind::List(fields) => object(fields, take_counted(bytes)),
        Kind::Map(fields) => entry(take_counted(bytes), |value| object(fields, value)),
        Kind::TextMap => entry(take_counted(bytes), quoted),
    }
}

fn entry(mut bytes: &[u8], value_of: impl Fn(&[u8]) -> String) -> String {
    let (mut key, mut value) = (&b""[..], &b""[..]);
    while !bytes.is_empty() {
        match take_varint(&mut bytes) {
            0x0a => key = take_counted(&mut bytes),
            0x12 => value = take_counted(&mut bytes),
            other => panic!("an entry of a map has no field {other:#x}"),
        }
    }
    format!("{}:{}", quoted(key), value_of(value))
}

fn quoted(bytes: &[u8]) -> String {
    serde_json::to_string(str::from_utf8(bytes).expect("UTF-8")).expect("a string")
}

fn take_varint(bytes: &mut &[u8]) -> u64 {
    read_varint(|| *bytes.split_off_first().expect("a whole number"))
}

fn take_counted<'a>(bytes: &mut &'a [u8]) -> &'a [u8] {
    let length = take_varint(bytes) as usize;
    bytes.split_off(..length).expect("as many bytes as its length says")
}

impl Kind {
    fn wire_type(self) -> u64 {
        match self {
            Self::Bool | Self::Unsigned | Self::Signed => VARINT,
            _ => BYTES,
        }
    }

    /// The value of a field from what came of it, the last one if it has only one.
    fn json(self, values: &[String]) -> String {
        let last = values.last().map(String::as_str);
        match self {
            Self::List(_) => format!("[{}]", values.join(",")),
            Self::Map(_) | Self::TextMap => format!("{{{}}}", values.join(",")),
            Self::Text => last.unwrap_or("\"\"").to_owned(),
            Self::Bool => last.unwrap_or("false").to_owned(),
            Self::Unsigned | Self::Signed => last.unwrap_or("0").to_owned(),
            Self::Json | Self::Message(_) => last.unwrap_or("null").to_owned(),
        }
    }
}
