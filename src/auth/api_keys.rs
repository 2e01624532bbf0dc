//! API keys: their names, their hashes and what each may do. An application presents one with each request to the server
//! API.

use std::collections::BTreeMap;
use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Deserialize;
use strum::{Display, EnumString, IntoStaticStr, VariantNames};
use toml::Spanned;

use super::pattern::Pattern;
use super::token::KeyError;
use crate::protocol::names::{Label, RoomName, shortened};
use crate::protocol::publication::{Publisher, Tags};

/// The random bytes of a key.
pub const KEY_RANDOM_BYTES: usize = 32;

/// What a key begins with, so that people and scanners of repositories recognise one.
pub const KEY_PREFIX: &str = "rck_";

/// The longest name of a key, in bytes.
const NAME_BYTES_MAX: usize = 64;

/// A group of calls of the server API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Display, EnumString, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "kebab-case")]
pub enum ApiRight {
    /// Publish to one room or several (`publish`, `broadcast`).
    Publish,
    /// Make a client join or leave (`subscribe`, `unsubscribe`).
    Subscribe,
    /// End and renew connections of a user (`disconnect`, `refresh`, `revoke_token`, `invalidate_user_tokens`).
    Disconnect,
    /// Read who is in.
    Presence,
    /// Read what was published.
    History,
    /// Remove what was published.
    HistoryRemove,
    /// List rooms.
    Channels,
    /// Read the state of the server.
    Info,
    /// Every call, also those of later versions.
    All,
}

/// The keys of a file.
#[derive(Debug, Default)]
pub struct ApiKeys(Vec<Arc<ApiKey>>);

/// A key: who has it and what it may do.
#[derive(Debug)]
pub struct ApiKey {
    name: String,
    /// What members see as the publisher of what is published with the key.
    publisher: Arc<Publisher>,
    hash: KeyHash,
    rights: Vec<ApiRight>,
    /// The rooms in which it may act; `None` for all, and for what is in no room.
    rooms: Option<Pattern>,
}

/// The SHA-256 of a key. It has no `==`, which would end at the first byte that differs and so tell how many do not.
struct KeyHash([u8; SHA256_OUTPUT_LEN]);

/// The value of a line of the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    sha256: String,
    may: Vec<String>,
    rooms: Option<String>,
}

impl ApiKeys {
    /// Parses the text of a file: one line for each key, as `roomcast gen-key` prints it.
    ///
    /// # Errors
    /// A line is not as `gen-key` prints it. The text names the line, and never repeats a value that may be a key.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let located = |offset: usize, why: &str| {
            let line = text.get(..offset).unwrap_or_default().matches('\n').count() + 1;
            KeyError(format!("line {line}: {why}"))
        };
        let lines: BTreeMap<Spanned<String>, Spanned<Line>> = toml::from_str(text).map_err(|error| {
            let offset = error.span().map_or(0, |span| span.start);
            located(offset, "a name, =, and sha256, may and perhaps rooms in braces, as `roomcast gen-key` prints it")
        })?;
        let key = |(name, line): (Spanned<String>, Spanned<Line>)| {
            let offset = name.span().start;
            ApiKey::new(name.into_inner(), line.into_inner())
                .map(Arc::new)
                .map_err(|KeyError(why)| located(offset, &why))
        };
        lines.into_iter().map(key).collect::<Result<_, _>>().map(Self)
    }

    /// The key that is presented. Takes the same time for every text of one length: its hash is compared with that of
    /// each key, to the end.
    pub fn authenticate(&self, presented: &str) -> Option<&Arc<ApiKey>> {
        let presented = KeyHash::of(presented);
        self.0.iter().fold(None, |found, key| if key.hash.is(&presented) { Some(key) } else { found })
    }

    /// Keys of the file.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the file has no key.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl ApiKey {
    fn new(name: String, Line { sha256, may, rooms }: Line) -> Result<Self, KeyError> {
        check_name(&name)?;
        let hash = KeyHash::parse(&sha256)
            .ok_or_else(|| KeyError("sha256 is the 64 hexadecimal digits that `roomcast gen-key` prints".into()))?;
        Ok(Self {
            publisher: Publisher::backend(Label::generated(&name), Tags::default()).into(),
            name,
            hash,
            rights: rights(&may, rooms.is_some())?,
            rooms: rooms.map(|rooms| pattern(&rooms)).transpose()?,
        })
    }

    /// The name of the key, for the log.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What members see as the publisher of what is published with the key and has no tags.
    pub fn publisher(&self) -> &Arc<Publisher> {
        &self.publisher
    }

    /// Whether the key may do this in this room, or, without a room, in the whole server. A key that is bound to rooms
    /// may do nothing outside of them.
    pub fn may(&self, right: ApiRight, room: Option<&RoomName>) -> bool {
        let is_in_its_rooms = match (&self.rooms, room) {
            (None, _) => true,
            (Some(rooms), Some(room)) => rooms.matches(room),
            (Some(_), None) => false,
        };
        is_in_its_rooms && self.rights.iter().any(|&given| given == right || given == ApiRight::All)
    }
}

impl KeyHash {
    fn of(key: &str) -> Self {
        let mut hash = [0; SHA256_OUTPUT_LEN];
        hash.copy_from_slice(digest(&SHA256, key.as_bytes()).as_ref());
        Self(hash)
    }

    /// Parses hexadecimal digits.
    fn parse(text: &str) -> Option<Self> {
        if text.len() != 2 * SHA256_OUTPUT_LEN || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let mut hash = [0; SHA256_OUTPUT_LEN];
        for (index, byte) in hash.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * index..2 * index + 2], 16).ok()?;
        }
        Some(Self(hash))
    }

    fn is(&self, other: &Self) -> bool {
        verify_slices_are_equal(&self.0, &other.0).is_ok()
    }
}

impl std::fmt::Debug for KeyHash {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("KeyHash(…)")
    }
}

/// A new key from random bytes, and the line of the file for it.
///
/// # Errors
/// The name, a right or the pattern breaks its rule.
pub fn new_key(
    random: &[u8; KEY_RANDOM_BYTES],
    name: &str,
    may: &[String],
    rooms: Option<&str>,
) -> Result<(String, String), KeyError> {
    check_name(name)?;
    rights(may, rooms.is_some())?;
    rooms.map(pattern).transpose()?;
    let key = format!("{KEY_PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(random));
    let sha256: String = KeyHash::of(&key).0.iter().map(|byte| format!("{byte:02x}")).collect();
    let may: Vec<String> = may.iter().map(|right| format!("{right:?}")).collect();
    let rooms = rooms.map(|rooms| format!(", rooms = {}", toml::Value::from(rooms))).unwrap_or_default();
    let line = format!("{name} = {{ sha256 = \"{sha256}\", may = [{}]{rooms} }}", may.join(", "));
    Ok((key, line))
}

fn check_name(name: &str) -> Result<(), KeyError> {
    let is_right = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(is_right) {
        return Ok(());
    }
    let rule = format!("1 to {NAME_BYTES_MAX} letters, digits, - and _ of ASCII");
    Err(KeyError(format!("the name of a key {:?}: {rule}", shortened(name))))
}

/// The rights of these words.
fn rights(may: &[String], is_bound_to_rooms: bool) -> Result<Vec<ApiRight>, KeyError> {
    if may.is_empty() {
        return Err(KeyError("may is empty: name what the key may do, as in publish".into()));
    }
    let right = |word: &String| {
        let right = word
            .parse()
            .map_err(|_| KeyError(format!("may {:?}: one of {}", shortened(word), ApiRight::VARIANTS.join(", "))))?;
        match right {
            ApiRight::Disconnect | ApiRight::Channels | ApiRight::Info if is_bound_to_rooms => {
                Err(KeyError(format!("may {right}: is in no room, so that a key with rooms cannot do it")))
            }
            right => Ok(right),
        }
    };
    may.iter().map(right).collect()
}

fn pattern(rooms: &str) -> Result<Pattern, KeyError> {
    Pattern::parse(rooms).map_err(|error| KeyError(format!("rooms {error}")))
}
