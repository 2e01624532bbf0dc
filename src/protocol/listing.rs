//! A sorted list of names, such as all rooms or the members of one, written as JSON once for every client that asks.

use std::sync::Arc;

use super::names::RoomName;

/// A list shows this many names before `… and N more`.
const NAMES_MAX: usize = 1_000;

/// The longest list, in bytes: a whole line then has at most 64 KiB, the longest that many line clients read.
const BYTES_MAX: usize = 64 * 1024 - "Members of : ".len() - RoomName::BYTES_MAX;

/// Space for the end of a list: the bracket and the longest `… and N more`.
const END_BYTES: usize = 48;

/// The first names of a sorted list, and the number of the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing<T> {
    names: Vec<T>,
    more: usize,
    json: Box<str>,
}

impl<T> Listing<T> {
    /// The names as a JSON array of strings. The last one is `… and N more` if some are left out.
    pub fn json(&self) -> &str {
        &self.json
    }

    /// The names that are shown.
    pub fn names(&self) -> &[T] {
        &self.names
    }

    /// The number of the names that are left out.
    pub fn more(&self) -> usize {
        self.more
    }
}

impl<T: Ord + AsRef<str>> Default for Listing<T> {
    fn default() -> Self {
        Self::new(Vec::new())
    }
}

impl<T: Ord + AsRef<str>> Listing<T> {
    /// Sorts and caps `names`. Linear in all of them; sorts and writes only those that are shown.
    pub fn new(names: Vec<T>) -> Self {
        Self::capped(names, 0, BYTES_MAX)
    }

    /// Shows the first of `names` that fit, and counts the others together with `more` that are not among them.
    fn capped(mut names: Vec<T>, mut more: usize, bytes_max: usize) -> Self {
        more += names.len();
        if names.len() > NAMES_MAX {
            names.select_nth_unstable(NAMES_MAX);
            names.truncate(NAMES_MAX);
        }
        names.sort_unstable();
        let mut json = vec![b'['];
        let mut shown = 0;
        for name in &names {
            let before = json.len();
            push_string(name.as_ref(), &mut json);
            if json.len() + END_BYTES >= bytes_max {
                json.truncate(before);
                break;
            }
            shown += 1;
        }
        names.truncate(shown);
        more -= shown;
        if more > 0 {
            push_string(&format!("… and {more} more"), &mut json);
        }
        json.push(b']');
        Self { names, more, json: String::from_utf8(json).expect("JSON is UTF-8").into() }
    }
}

impl<T: Ord + AsRef<str> + Clone> Listing<T> {
    /// Merges listings that share no name, such as the rooms of all shards.
    pub fn merge<'a>(parts: impl IntoIterator<Item = &'a Arc<Self>>) -> Self
    where
        T: 'a,
    {
        let (mut names, mut more) = (Vec::new(), 0);
        for part in parts {
            names.extend_from_slice(&part.names);
            more += part.more;
        }
        Self::capped(names, more, BYTES_MAX)
    }

    /// The listing together with names from elsewhere, of which `more` are not known. Each name is shown as often as it is
    /// given.
    pub fn with(&self, others: impl IntoIterator<Item = T>, more: usize) -> Self {
        let names = self.names.iter().cloned().chain(others).collect();
        Self::capped(names, self.more + more, BYTES_MAX)
    }

    /// The listing itself, or a shorter one if it has more bytes than that.
    pub fn truncated_to(self: Arc<Self>, bytes_max: usize) -> Arc<Self> {
        if self.json.len() <= bytes_max {
            return self;
        }
        Arc::new(Self::capped(self.names.clone(), self.more, bytes_max))
    }

    /// The listing itself, or one with `name` if that is missing where it would be shown.
    pub fn including(self: Arc<Self>, name: &T) -> Arc<Self> {
        let is_behind_the_end = self.more > 0 && self.names.last() < Some(name);
        if is_behind_the_end || self.names.binary_search(name).is_ok() {
            return self;
        }
        let mut names = self.names.clone();
        names.push(name.clone());
        Arc::new(Self::capped(names, self.more, BYTES_MAX))
    }
}

/// Appends an element to a JSON array, with a blank behind the comma.
fn push_string(text: &str, array: &mut Vec<u8>) {
    if array.len() > "[".len() {
        array.extend_from_slice(b", ");
    }
    serde_json::to_writer(array, text).expect("a vector accepts every byte");
}
