//! Names that strangers choose: rooms, nicks, users, patterns of rooms, keys of repeats and hosts. A name that is accepted
//! keeps to its rule and is itself when it is read again.

use roomcast::auth::pattern::Pattern;
use roomcast::config::HostName;
use roomcast::protocol::idempotency_key::IdempotencyKey;
use roomcast::protocol::json::{depth, on_one_line};
use roomcast::protocol::names::{Label, RoomName, shortened, unseen};
use roomcast::protocol::publication::ClientId;
use serde_json::Value;
use serde_json::value::RawValue;

/// Any text as each kind of name, and as a pattern for the room behind its first line.
pub fn names(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    if let Ok(room) = RoomName::parse(text) {
        check_name(room.as_str(), RoomName::BYTES_MAX, false);
        assert_eq!(RoomName::parse(room.as_str()), Ok(room));
    }
    if let Ok(nick) = Label::nick(text) {
        check_name(nick.as_str(), Label::NICK_BYTES_MAX, false);
        assert_eq!(Label::nick(nick.as_str()).as_ref(), Ok(&nick));
        assert!(Label::of_user(nick.of_guest().as_str()).is_err(), "no user is called as a guest is");
    }
    if let Ok(user) = Label::of_user(text) {
        check_name(user.as_str(), Label::NICK_BYTES_MAX, true);
        assert!(!user.as_str().starts_with('~') && !user.as_str().contains("] "));
        assert_eq!(Label::of_user(user.as_str()), Ok(user));
    }
    assert_eq!(IdempotencyKey::parse(text).is_ok(), (1..=128).contains(&text.len()));
    assert!(ClientId::parse(text).is_none_or(|client| client.to_string() == text));
    assert!(shortened(text).chars().count() <= 65);
    check_host(text);
    check_json(text);
    if let Some((pattern, room)) = text.split_once('\n') {
        check_pattern(pattern, room);
    }
}

/// A name is not empty, not too long, and shows all that it is.
fn check_name(name: &str, bytes_max: usize, may_have_spaces: bool) {
    assert!((1..=bytes_max).contains(&name.len()), "{name:?}");
    assert_eq!(unseen(name), None, "{name:?}");
    assert!(
        !name.chars().any(|character| character.is_whitespace() && !(may_have_spaces && character == ' ')),
        "{name:?}"
    );
    assert_eq!(name.trim(), name);
}

fn check_host(text: &str) {
    let Some(HostName { name, port }) = HostName::parse(text) else { return };
    assert!(name.is_ascii() && !name.contains(char::is_uppercase));
    let written = port.map_or_else(|| name.clone(), |port| format!("{name}:{port}"));
    assert_eq!(HostName::parse(&written), Some(HostName { name, port }));
}

/// JSON on one line is the same value, and its depth is that of the value.
fn check_json(text: &str) {
    let Ok(json) = serde_json::from_str::<&RawValue>(text) else { return };
    let line = on_one_line(json.get());
    assert!(!line.contains(['\n', '\r']));
    assert_eq!(on_one_line(&line), line);
    let parsed = serde_json::from_str::<Value>(text);
    if let Ok(value) = parsed {
        assert_eq!(serde_json::from_str::<Value>(&line).expect("it was JSON before"), value);
        assert!(depth(&line) >= depth_of(&value), "members that occur twice may be deeper than the last one");
    }
}

fn depth_of(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth_of).max().unwrap_or_default(),
        Value::Object(members) => 1 + members.values().map(depth_of).max().unwrap_or_default(),
        _ => 0,
    }
}

fn check_pattern(pattern: &str, room: &str) {
    let (Ok(parsed), Ok(room), Ok(name)) = (Pattern::parse(pattern), RoomName::parse(room), RoomName::parse(pattern))
    else {
        return;
    };
    let [pattern, characters] = [name.as_str(), room.as_str()].map(|text| text.chars().collect::<Vec<char>>());
    assert_eq!(parsed.matches(&room), is_match(&pattern, &characters), "{name:?} and {room:?}");
}

/// Whether a pattern names a room: row by row, what each beginning of it can have matched.
fn is_match(pattern: &[char], room: &[char]) -> bool {
    let mut matched = vec![false; room.len() + 1];
    matched[0] = true;
    for wanted in pattern {
        let mut next = vec![false; room.len() + 1];
        for at in 0..=room.len() {
            next[at] = match wanted {
                '*' => matched[..=at].contains(&true),
                wanted => at > 0 && matched[at - 1] && room[at - 1] == *wanted,
            };
        }
        matched = next;
    }
    matched[room.len()]
}
