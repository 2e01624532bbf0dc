//! Lists of names, encoded as JSON.

use std::sync::Arc;

use roomcast::protocol::listing::Listing;
use roomcast::protocol::names::RoomName;

fn room(name: &str) -> RoomName {
    RoomName::parse(name).expect("a valid name")
}

/// Rooms `r00000`, `r00001` and so on, in reverse order.
fn rooms(count: usize) -> Vec<RoomName> {
    (0..count).rev().map(|number| room(&format!("r{number:05}"))).collect()
}

fn listing(names: &[RoomName]) -> Arc<Listing<RoomName>> {
    Arc::new(Listing::new(names.to_vec()))
}

#[test]
fn a_list_is_sorted_json() {
    assert_eq!(listing(&["b", "a\"\\", "ä"].map(room)).json(), r#"["a\"\\", "b", "ä"]"#);
    assert_eq!(Listing::<RoomName>::default().json(), "[]");
}

#[test]
fn a_list_over_a_thousand_shows_the_first_thousand_and_counts_the_others() {
    let listing = Listing::new(rooms(1_002));
    assert!(listing.json().starts_with(r#"["r00000", "r00001""#), "{}", listing.json());
    assert!(listing.json().ends_with(r#""r00999", "… and 2 more"]"#), "{}", listing.json());
    assert!(Listing::new(rooms(1_000)).json().ends_with(r#""r00999"]"#));
}

#[test]
fn the_lists_of_two_shards_merge_into_the_list_of_both() {
    let all = rooms(2_500);
    let (left, right): (Vec<_>, Vec<_>) = all.iter().cloned().enumerate().partition(|(at, _)| at % 3 == 0);
    let parts = [left, right].map(|part| Arc::new(Listing::new(part.into_iter().map(|(_, name)| name).collect())));
    assert_eq!(Listing::merge(&parts), Listing::new(all));
}

#[test]
fn a_list_of_long_names_ends_where_its_line_would_be_too_long_and_merges_alike() {
    let long = |number: usize| room(&format!("{number:05}{}", "\"".repeat(123)));
    let all: Vec<_> = (0..900).map(long).collect();
    let whole = listing(&all);
    let bytes_max = 64 * 1024 - "Members of : ".len() - RoomName::BYTES_MAX;
    let shown = whole.json().matches(", \"0").count() + 1;
    assert!(whole.json().ends_with(&format!("\"… and {} more\"]", 900 - shown)), "{shown}");
    let (left, right) = all.split_at(450);
    assert_eq!(Listing::merge(&[listing(left), listing(right)]), *whole);
    for bytes_max in [bytes_max, 1_024, 4_096] {
        let short = Arc::clone(&whole).truncated_to(bytes_max);
        assert!((bytes_max - 300..=bytes_max).contains(&short.json().len()), "{}", short.json());
        let shown = short.json().matches(", \"0").count() + 1;
        assert!(short.json().ends_with(&format!("\"… and {} more\"]", 900 - shown)), "{shown}");
    }
}

#[test]
fn a_list_in_which_no_name_fits_says_how_many_there_are() {
    assert_eq!(listing(&rooms(2)).truncated_to(8).json(), r#"["… and 2 more"]"#);
}

#[test]
fn a_list_gains_a_missing_name_unless_the_name_sorts_behind_its_end() {
    let two = listing(&rooms(2));
    assert!(Arc::ptr_eq(&two, &Arc::clone(&two).including(&room("r00000"))));
    assert_eq!(*Arc::clone(&two).including(&room("r00002")), Listing::new(rooms(3)));
    let long = listing(&rooms(1_001));
    assert!(Arc::ptr_eq(&long, &Arc::clone(&long).including(&room("z"))));
    let with_a = long.including(&room("a"));
    assert!(with_a.json().starts_with(r#"["a", "r00000", "#), "{}", with_a.json());
    assert!(with_a.json().ends_with(r#""r00998", "… and 2 more"]"#), "{}", with_a.json());
}
