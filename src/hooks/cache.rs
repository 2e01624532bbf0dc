//! Decisions that the application allows the server to repeat for a while. Bounded in bytes; under pressure the decision
//! that would end first goes first. Synchronous; the caller passes the time.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Instant;

use super::{Allowed, Decision, Hook, Refusal};
use crate::protocol::names::RoomName;
use crate::protocol::publication::{ClientId, UserId};

/// Memory of all decisions of one worker, in bytes.
const BYTES_MAX: usize = 4 * 1024 * 1024;

/// More than the memory of a decision beside its texts, in bytes: both tables, and the key with its texts.
const ENTRY_BYTES: usize = 1024;

/// What a decision is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub hook: Hook,
    pub owner: Owner,
    pub room: RoomName,
}

/// The one who asked: a user with all of its connections, or a connection without a user.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Owner {
    User(UserId),
    Client(ClientId),
}

/// Decisions by what they are about.
#[derive(Debug, Default)]
pub(super) struct Cache {
    decisions: HashMap<Key, (Decision, End)>,
    /// The keys in the order in which the decisions end.
    ends: BTreeMap<End, Key>,
    bytes: usize,
    next_number: u64,
}

/// When a decision ends, and a number, so that no two are alike.
type End = (Instant, u64);

impl Cache {
    /// The decision, if it still holds.
    pub(super) fn get(&self, key: &Key, now: Instant) -> Option<&Decision> {
        self.decisions.get(key).filter(|(_, (ends_at, _))| now < *ends_at).map(|(decision, _)| decision)
    }

    /// Keeps a decision until `ends_at`, in place of the one before.
    pub(super) fn put(&mut self, key: Key, decision: Decision, ends_at: Instant, now: Instant) {
        if let Some((_, end)) = self.decisions.get(&key) {
            self.remove(*end);
        }
        while self.ends.first_key_value().is_some_and(|((ends_at, _), _)| *ends_at <= now) {
            self.remove_first();
        }
        let bytes = bytes_of(&decision);
        while self.bytes + bytes > BYTES_MAX && !self.ends.is_empty() {
            self.remove_first();
        }
        let end = (ends_at, self.next_number);
        self.next_number += 1;
        self.bytes += bytes;
        self.ends.insert(end, key.clone());
        self.decisions.insert(key, (decision, end));
    }

    fn remove_first(&mut self) {
        if let Some((end, _)) = self.ends.first_key_value() {
            self.remove(*end);
        }
    }

    fn remove(&mut self, end: End) {
        let removed = self.ends.remove(&end).and_then(|key| self.decisions.remove(&key));
        self.bytes -= removed.map_or(0, |(decision, _)| bytes_of(&decision));
    }
}

/// About the memory of a decision and its key.
fn bytes_of(decision: &Decision) -> usize {
    let length = |text: &Option<Arc<str>>| text.as_ref().map_or(0, |text| text.len());
    ENTRY_BYTES
        + match decision {
            Decision::Allowed(Allowed::Membership(token)) => {
                size_of_val(&**token) + length(&token.info) + length(&token.data) + length(&token.id)
            }
            Decision::Allowed(Allowed::Data(data)) => data.bytes(),
            Decision::Allowed(Allowed::AsAsked | Allowed::Identity(_)) => 0,
            Decision::Refused(Refusal::ByApplication(reason)) => reason.len(),
            Decision::Refused(Refusal::NoAnswer) => 0,
        }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn key(room: &str) -> Key {
        let (owner, room) = (Owner::User(UserId::new("alice")), RoomName::parse(room).unwrap());
        Key { hook: Hook::Join, owner, room }
    }

    fn refused(reason: &str) -> Decision {
        Decision::Refused(Refusal::ByApplication(reason.into()))
    }

    #[test]
    fn a_decision_holds_for_its_hook_owner_and_room_until_its_end() {
        let (mut cache, now) = (Cache::default(), Instant::now());
        let second = Duration::from_secs(1);
        cache.put(key("a"), refused("no"), now + second, now);
        assert_eq!(cache.get(&key("a"), now), Some(&refused("no")));
        assert_eq!(cache.get(&key("a"), now + second), None);
        assert_eq!(cache.get(&Key { hook: Hook::Publish, ..key("a") }, now), None);
        assert_eq!(cache.get(&Key { owner: Owner::Client(ClientId(1)), ..key("a") }, now), None);
        assert_eq!(cache.get(&key("b"), now), None);
        cache.put(key("a"), Decision::Allowed(Allowed::AsAsked), now + 2 * second, now);
        assert_eq!(cache.get(&key("a"), now + second), Some(&Decision::Allowed(Allowed::AsAsked)));
        assert_eq!((cache.decisions.len(), cache.bytes), (1, ENTRY_BYTES));
        cache.put(key("b"), refused("no"), now + 3 * second, now + 2 * second);
        assert_eq!(cache.decisions.len(), 1, "what has ended goes");
    }

    #[test]
    fn memory_is_bounded_and_what_would_end_first_goes_first() {
        let (mut cache, now) = (Cache::default(), Instant::now());
        let many = BYTES_MAX / ENTRY_BYTES + 10;
        for number in 0..many {
            let ends_at = now + Duration::from_secs(1_000_000 - number as u64);
            cache.put(key(&number.to_string()), Decision::Allowed(Allowed::AsAsked), ends_at, now);
            assert!(cache.bytes <= BYTES_MAX);
        }
        assert_eq!(cache.ends.len(), cache.decisions.len());
        assert!(cache.get(&key("0"), now).is_some(), "it would end last");
        assert!(cache.get(&key(&(many - 5).to_string()), now).is_none());
    }
}
