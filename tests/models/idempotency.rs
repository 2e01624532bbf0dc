//! Compares the idempotency keys of a shard with a list of them.

use std::time::{Duration, Instant};

use proptest::collection::vec;
use proptest::prelude::*;
use roomcast::broker::{FirstPublish, KEY_AGE_MAX, KEY_BYTES, KEYS_BYTES_MAX, SeenKeys};
use roomcast::protocol::idempotency_key::IdempotencyKey;
use roomcast::protocol::position::{Epoch, Offset, Position, UnixMillis};

use crate::common::room;

/// A publish with a key, some seconds after the one before: the room, the key, the seconds.
type Publish = (usize, usize, u64);

fn key(number: usize) -> IdempotencyKey {
    IdempotencyKey::parse(&format!("key {number}")).expect("a valid key")
}

fn publish(offset: u64) -> FirstPublish {
    let position = Position { epoch: Epoch::new(UnixMillis(0), 0), offset: Offset(offset) };
    FirstPublish { position, content: offset }
}

fn publishes() -> impl Strategy<Value = Vec<Publish>> {
    vec((0..3usize, 0..5usize, 0..60u64), 0..60)
}

proptest! {
    #[test]
    fn a_repeat_within_five_minutes_gets_the_first_position(publishes in publishes()) {
        let mut keys = SeenKeys::default();
        let mut model: Vec<(Instant, usize, usize, FirstPublish)> = Vec::new();
        let mut now = Instant::now();
        for ((room_number, key_number, seconds), offset) in publishes.into_iter().zip(1..) {
            now += Duration::from_secs(seconds);
            model.retain(|(at, ..)| now.saturating_duration_since(*at) < KEY_AGE_MAX);
            let (room, key) = (room(room_number), key(key_number));
            // Once a second, so in most cases.
            if offset % 4 > 0 {
                keys.expire(now);
            }
            let first = model.iter().find(|(_, room, key, _)| (*room, *key) == (room_number, key_number));
            let first = first.map(|(.., publish)| *publish);
            prop_assert_eq!(keys.first(now, &room, &key), first);
            // A key that is remembered stays as it is.
            keys.remember(now, &room, &key, publish(offset));
            if first.is_none() {
                model.push((now, room_number, key_number, publish(offset)));
            }
            prop_assert_eq!(keys.first(now, &room, &key), Some(first.unwrap_or(publish(offset))));
            prop_assert!(keys.len() >= model.len());
            keys.expire(now);
            prop_assert_eq!(keys.len(), model.len());
        }
        keys.expire(now + KEY_AGE_MAX);
        prop_assert!(keys.is_empty());
        prop_assert_eq!(keys.bytes(), 0);
    }
}

#[test]
fn the_oldest_keys_are_forgotten_where_they_take_too_much_memory() {
    const KEYS: usize = KEYS_BYTES_MAX / KEY_BYTES;
    let mut keys = SeenKeys::default();
    let now = Instant::now();
    for number in 0..KEYS {
        keys.remember(now, &room(0), &key(number), publish(number as u64));
        assert!(keys.bytes() <= KEYS_BYTES_MAX);
    }
    let oldest = KEYS - keys.len();
    assert!((1..KEYS / 2).contains(&oldest), "{oldest} were forgotten");
    assert_eq!(keys.first(now, &room(0), &key(oldest - 1)), None);
    assert_eq!(keys.first(now, &room(0), &key(oldest)), Some(publish(oldest as u64)));
    assert_eq!(keys.first(now, &room(0), &key(KEYS - 1)), Some(publish(KEYS as u64 - 1)));
}

#[test]
fn a_key_has_1_to_128_bytes() {
    for text in ["x", " ", "ключ", &"x".repeat(128)] {
        assert_eq!(IdempotencyKey::parse(text).expect("a valid key").as_str(), text);
    }
    for (text, told) in [(String::new(), 0), ("x".repeat(129), 129), ("é".repeat(65), 130)] {
        let error = IdempotencyKey::parse(&text).expect_err("an invalid key").to_string();
        assert_eq!(error, format!("idempotency key of {told} bytes: 1 to 128 bytes"));
    }
}
