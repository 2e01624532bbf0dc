//! Compares what all members of a room have heard, and what all publishers were told, with one order. The order is made
//! of the places that members were told; who is told none is compared by the texts, which are all different.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Bound::{Excluded, Included, Unbounded};

/// An epoch and an offset.
pub type Place = (String, u64);

/// Something that a member has heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// It has joined. Either it resumed and misses nothing, or it was told that it does, or it was there for the first time.
    Came { is_recovered: bool },
    /// Everything up to this place is ahead.
    Position(Place),
    /// The same, from a node that is behind the one before: this text, which was heard there, comes once more.
    Behind { place: Place, next: String },
    /// A publication, with its place where the transport tells it.
    Said { text: String, place: Option<Place> },
}

/// What came of a publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The publisher was told that it is published, perhaps with its place.
    Acknowledged(Option<Place>),
    /// The publisher was told that it is not published and will not be.
    Refused,
    /// It may be published.
    Unknown,
}

/// Everything that is known of a room.
#[derive(Default)]
pub struct Record {
    /// The members by name.
    pub members: Vec<(String, Vec<Heard>)>,
    /// The texts of each connection of each publisher, in the order in which it has published them.
    pub published: Vec<Vec<(String, Outcome)>>,
}

/// Text by place.
type Order = BTreeMap<Place, String>;

impl Record {
    /// Fails unless there is one order, in which nothing acknowledged is missing, nothing refused stands, nothing stands
    /// twice, and which all members have heard without a hole up to `last`.
    #[track_caller]
    pub fn check(&self, last: &str) {
        let order = self.order();
        let mut places: HashMap<&str, Vec<&Place>> = HashMap::new();
        for (place, text) in &order {
            places.entry(text).or_default().push(place);
        }
        for (text, places) in &places {
            let epochs: HashSet<&str> = places.iter().map(|(epoch, _)| epoch.as_str()).collect();
            assert_eq!(epochs.len(), places.len(), "{text:?} stands twice in an epoch: {places:?}");
        }
        for (name, heard) in &self.members {
            Walk { name, order: &order, places: &places, last: None }.walk(heard);
            let end = heard.iter().rev().find_map(|heard| match heard {
                Heard::Said { text, .. } => Some(text.as_str()),
                _ => None,
            });
            assert_eq!(end, Some(last), "the last that {name} has heard");
        }
        self.published.iter().for_each(|published| check_publisher(published, &places));
    }

    fn order(&self) -> Order {
        let mut order: BTreeMap<Place, (&str, &str)> = BTreeMap::new();
        for (name, heard) in &self.members {
            for heard in heard {
                let Heard::Said { text, place: Some(place) } = heard else { continue };
                let (first, before) = order.entry(place.clone()).or_insert((name, text));
                assert_eq!(*before, text, "{name} hears another text at {place:?} than {first}");
            }
        }
        order.into_iter().map(|(place, (_, text))| (place, text.to_owned())).collect()
    }
}

/// One member on its way through the order.
struct Walk<'a> {
    name: &'a str,
    order: &'a Order,
    places: &'a HashMap<&'a str, Vec<&'a Place>>,
    /// Everything up to here was heard, or is no business of the member's. `None` where that is not known.
    last: Option<Place>,
}

impl Walk<'_> {
    fn walk(&mut self, heard: &[Heard]) {
        // The latest place before a hole that the member was told of. It never goes back behind it.
        let mut before: Option<Place> = None;
        for (number, heard) in heard.iter().enumerate() {
            match heard {
                Heard::Came { is_recovered: true } => {}
                Heard::Came { is_recovered: false } => before = self.last.take().or(before),
                Heard::Position(place) => {
                    self.expect_nothing_missed(number, place);
                    self.last = Some(place.clone());
                }
                Heard::Behind { place, next } => self.expect_behind(number, place, next),
                Heard::Said { text, place } => {
                    let place = place.clone().unwrap_or_else(|| self.place_of(number, text));
                    self.expect_next(number, &place, text);
                    let is_later = before.as_ref().is_none_or(|before| before.0 != place.0 || *before < place);
                    assert!(is_later, "{} hears {text:?} at {place:?} behind {before:?}", self.name);
                    self.last = Some(place);
                }
            }
        }
    }

    /// The place of a text that came without one: the next, if it stands there.
    fn place_of(&self, number: usize, text: &str) -> Place {
        let name = self.name;
        let places = self.places.get(text).unwrap_or_else(|| panic!("{name} alone hears {text:?}, as {number}"));
        let next = self.next().filter(|next| places.contains(next));
        next.unwrap_or_else(|| places[places.len() - 1]).clone()
    }

    fn next(&self) -> Option<&Place> {
        let last = self.last.as_ref()?;
        self.order.range((Excluded(last), Unbounded)).next().map(|(place, _)| place)
    }

    fn expect_next(&self, number: usize, place: &Place, text: &str) {
        if self.last.is_some() {
            let (name, last) = (self.name, &self.last);
            assert_eq!(self.next(), Some(place), "{name} hears {text:?} behind {last:?}, as {number}");
        }
    }

    fn expect_nothing_missed(&self, number: usize, place: &Place) {
        let Some(last) = &self.last else { return };
        assert!(last <= place, "{} is at {last:?} and told {place:?}, as {number}", self.name);
        let missed: Vec<_> = self.order.range((Excluded(last), Included(place))).collect();
        assert!(missed.is_empty(), "{} has missed {missed:?}, as {number}", self.name);
    }

    fn expect_behind(&self, number: usize, place: &Place, next: &str) {
        let is_behind = |next: &&Place| next.0 == place.0 && *next > place;
        let places = self.places.get(next).map_or(&[][..], Vec::as_slice);
        assert!(places.iter().any(is_behind), "{} is told {place:?} ahead of {next:?}, as {number}", self.name);
    }
}

/// What a connection has published stands in its order, nothing acknowledged is missing, and nothing refused is there.
fn check_publisher(published: &[(String, Outcome)], places: &HashMap<&str, Vec<&Place>>) {
    let mut before: Option<&Place> = None;
    for (text, outcome) in published {
        let found = places.get(text.as_str());
        match outcome {
            Outcome::Acknowledged(told) => {
                let found = found.unwrap_or_else(|| panic!("{text:?} was acknowledged and nobody has heard it"));
                let is_there = told.as_ref().is_none_or(|told| found.contains(&told));
                assert!(is_there, "{text:?} was acknowledged at {told:?} and stands at {found:?}");
            }
            Outcome::Refused => assert!(found.is_none(), "{text:?} was refused and stands at {found:?}"),
            Outcome::Unknown => {}
        }
        if let Some(&[place]) = found.map(Vec::as_slice) {
            let is_later = before.is_none_or(|before| before.0 != place.0 || before < place);
            assert!(is_later, "{text:?} stands at {place:?}, ahead of what was published before it, at {before:?}");
            before = Some(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(offset: u64) -> Place {
        ("e".to_owned(), offset)
    }

    fn said(text: &str, offset: u64) -> Heard {
        Heard::Said { text: text.to_owned(), place: Some(place(offset)) }
    }

    fn text(text: &str) -> Heard {
        Heard::Said { text: text.to_owned(), place: None }
    }

    const CAME: Heard = Heard::Came { is_recovered: false };

    /// A room in which `a`, `b` and `over` were said, with a further member.
    fn room(further: Vec<Heard>) -> Record {
        let told = vec![CAME, Heard::Position(place(0)), said("a", 4), said("b", 7), said("over", 9)];
        Record { members: vec![("told".to_owned(), told), ("further".to_owned(), further)], published: Vec::new() }
    }

    fn published(texts: &[(&str, Outcome)]) -> Record {
        let texts = texts.iter().map(|(text, outcome)| ((*text).to_owned(), outcome.clone())).collect();
        Record { published: vec![texts], ..room(vec![CAME, text("over")]) }
    }

    #[test]
    fn a_room_that_all_have_heard_passes() {
        room(vec![CAME, text("a"), text("b"), text("over")]).check("over");
        room(vec![CAME, text("b"), CAME, text("over")]).check("over");
        room(vec![CAME, said("a", 4), Heard::Came { is_recovered: true }, said("b", 7), text("over")]).check("over");
        let acknowledged = Outcome::Acknowledged(None);
        published(&[
            ("a", acknowledged.clone()),
            ("c", Outcome::Refused),
            ("d", Outcome::Unknown),
            ("b", Outcome::Acknowledged(Some(place(7)))),
        ])
        .check("over");
    }

    #[test]
    #[should_panic(expected = "further hears \"over\" behind")]
    fn a_text_that_a_member_has_missed_is_found() {
        room(vec![CAME, text("a"), text("over")]).check("over");
    }

    #[test]
    #[should_panic(expected = "further has missed")]
    fn a_position_ahead_of_what_a_member_has_heard_is_found() {
        room(vec![CAME, text("a"), Heard::Position(place(7)), text("over")]).check("over");
    }

    #[test]
    fn a_position_behind_what_a_member_has_heard_elsewhere_passes() {
        let behind = Heard::Behind { place: place(5), next: "b".to_owned() };
        room(vec![CAME, text("a"), text("b"), behind, text("over")]).check("over");
    }

    #[test]
    #[should_panic(expected = "further is told (\"e\", 7) ahead of \"b\"")]
    fn a_position_ahead_of_what_a_member_has_still_to_hear_again_is_found() {
        let ahead = Heard::Behind { place: place(7), next: "b".to_owned() };
        room(vec![CAME, text("a"), text("b"), ahead, text("over")]).check("over");
    }

    #[test]
    #[should_panic(expected = "further hears \"b\" behind")]
    fn a_text_that_a_member_has_heard_twice_is_found() {
        room(vec![CAME, text("a"), text("b"), text("b"), text("over")]).check("over");
    }

    #[test]
    #[should_panic(expected = "further hears \"a\" behind")]
    fn another_order_is_found() {
        room(vec![CAME, text("b"), text("a"), text("over")]).check("over");
    }

    #[test]
    #[should_panic(expected = "further hears another text at (\"e\", 7) than told")]
    fn two_texts_in_one_place_are_found() {
        room(vec![CAME, said("c", 7), text("over")]).check("over");
    }

    #[test]
    #[should_panic(expected = "stands twice in an epoch")]
    fn a_text_in_two_places_is_found() {
        room(vec![CAME, said("b", 8), text("over")]).check("over");
    }

    #[test]
    #[should_panic(expected = "the last that further has heard")]
    fn a_member_that_does_not_hear_the_end_is_found() {
        room(vec![CAME, text("a"), text("b")]).check("over");
    }

    #[test]
    #[should_panic(expected = "\"c\" was acknowledged and nobody has heard it")]
    fn a_lost_acknowledged_text_is_found() {
        published(&[("c", Outcome::Acknowledged(None))]).check("over");
    }

    #[test]
    #[should_panic(expected = "\"a\" was refused and stands at")]
    fn a_refused_text_that_is_there_is_found() {
        published(&[("a", Outcome::Refused)]).check("over");
    }

    #[test]
    #[should_panic(expected = "ahead of what was published before it")]
    fn a_publisher_whose_texts_changed_places_is_found() {
        published(&[("b", Outcome::Unknown), ("a", Outcome::Unknown)]).check("over");
    }
}
