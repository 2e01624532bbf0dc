//! API keys: the file, what is presented, and what each may do.

use roomcast::auth::api_keys::{ApiKeys, ApiRight, KEY_RANDOM_BYTES, new_key};
use roomcast::protocol::names::RoomName;

const RANDOM: [u8; KEY_RANDOM_BYTES] = [7; KEY_RANDOM_BYTES];

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

fn refused(text: &str) -> String {
    ApiKeys::parse(text).expect_err("a file that is wrong").to_string()
}

#[test]
fn a_new_key_is_accepted_from_the_line_that_is_printed_for_it() {
    let (key, line) = new_key(&RANDOM, "backend", &words(&["publish", "history-remove"]), None).unwrap();
    let (other, other_line) = new_key(&[8; KEY_RANDOM_BYTES], "other", &words(&["all"]), Some("team:*")).unwrap();
    assert!(key.starts_with("rck_") && key.len() == 4 + 43, "{key}");
    assert!(!line.contains(&key[4..]));
    let keys = ApiKeys::parse(&format!("# ours\n{line}\n\n{other_line}\n")).unwrap();
    assert_eq!(keys.len(), 2);
    assert_eq!(keys.authenticate(&key).unwrap().name(), "backend");
    assert_eq!(keys.authenticate(&other).unwrap().name(), "other");
    for wrong in ["", "rck_", &key[..key.len() - 1], &format!("{key}A"), &key.to_lowercase()] {
        assert!(keys.authenticate(wrong).is_none());
    }
    assert!(!format!("{keys:?}").contains(&line[line.find("sha256").unwrap() + 10..][..8]));
}

#[test]
fn a_key_may_do_what_its_line_says_in_the_rooms_that_it_names() {
    let (key, line) = new_key(&RANDOM, "a", &words(&["publish", "presence"]), Some("team:*")).unwrap();
    let (all, all_line) = new_key(&[8; KEY_RANDOM_BYTES], "b", &words(&["all"]), None).unwrap();
    let keys = ApiKeys::parse(&format!("{line}\n{all_line}")).unwrap();
    let (key, all) = (keys.authenticate(&key).unwrap(), keys.authenticate(&all).unwrap());
    let [inside, outside] = ["team:a", "desk"].map(|name| RoomName::parse(name).unwrap());
    assert!(key.may(ApiRight::Publish, Some(&inside)) && key.may(ApiRight::Presence, Some(&inside)));
    assert!(!key.may(ApiRight::Publish, Some(&outside)));
    assert!(!key.may(ApiRight::Publish, None));
    assert!(!key.may(ApiRight::History, Some(&inside)));
    assert!(all.may(ApiRight::Disconnect, None) && all.may(ApiRight::HistoryRemove, Some(&outside)));
}

#[test]
fn a_line_that_is_wrong_is_named_with_what_would_be_right() {
    let hash = "0".repeat(64);
    for (line, part) in [
        ("backend".to_owned(), "line 2: a name, =,"),
        ("backend = 'sesame'".to_owned(), "line 2: a name, =,"),
        ("backend = { sha256 = 'sesame', may = ['publish'] }".to_owned(), "line 2: sha256 is the 64 hexadecimal"),
        (format!("backend = {{ sha256 = '{hash}' }}"), "line 2: a name, =,"),
        (format!("backend = {{ sha256 = '{hash}', may = ['publish'], room = 'sesame' }}"), "line 2: a name, =,"),
        (format!("backend = {{ sha256 = '{hash}', may = [] }}"), "line 2: may is empty"),
        (format!("backend = {{ sha256 = '{hash}', may = ['read'] }}"), "line 2: may \"read\": one of publish, "),
        (format!("'two words' = {{ sha256 = '{hash}', may = ['all'] }}"), "line 2: the name of a key \"two words\""),
        (format!("a = {{ sha256 = '{hash}', may = ['all'], rooms = 'a b' }}"), "line 2: rooms \"a b\": 1 to 128 bytes"),
        (format!("a = {{ sha256 = '{hash}', may = ['info'], rooms = '*' }}"), "line 2: may info: is in no room"),
        (format!("a = {{ sha256 = '{hash}', may = ['all'] }}\na = {{}}"), "line 3: "),
    ] {
        let error = refused(&format!("# keys\n{line}\n"));
        assert!(error.contains(part), "{line}: {error}");
        assert!(!error.contains("sesame"), "{error}");
    }
}

#[test]
fn a_new_key_with_a_bad_name_or_right_or_pattern_is_refused() {
    let long = "x".repeat(65);
    for name in ["", "two words", "a.b", "a=b", "é", "a\n", &long] {
        assert!(new_key(&RANDOM, name, &words(&["all"]), None).is_err(), "{name:?}");
    }
    assert!(new_key(&RANDOM, "a", &words(&["read"]), None).is_err());
    assert!(new_key(&RANDOM, "a", &[], None).is_err());
    assert!(new_key(&RANDOM, "a", &words(&["all"]), Some("a b")).is_err());
    assert!(new_key(&RANDOM, "a", &words(&["channels"]), Some("a")).is_err());
}
