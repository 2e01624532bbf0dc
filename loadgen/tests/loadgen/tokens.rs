//! Clients that present tokens before they join.

use harness::Process;

use crate::fake::{Fake, Fault, Seen};
use crate::load::{loadgen, measure};

const LOAD: [&str; 6] = ["--clients", "4", "--rooms", "2", "--rate", "20"];

/// A file with these tokens.
fn file_of(tokens: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("tokens");
    std::fs::write(&path, tokens).expect("a folder");
    let path = path.to_str().expect("a path in Unicode").to_owned();
    (folder, path)
}

/// The tokens that were presented, sorted.
fn presented(fake: &Fake, count: usize) -> Vec<Seen> {
    let mut seen = fake.wait_for(count, |seen| matches!(seen, Seen::Presented(_)));
    seen.sort_by_key(|seen| format!("{seen:?}"));
    seen
}

#[test]
fn clients_present_the_tokens_by_turns_and_then_join() {
    let fake = Fake::start(&[]);
    let (_folder, path) = file_of("one\ntwo\nthree\n");
    let measured = measure(&fake.target(), &[&LOAD[..], &["--token-file", &path]].concat());
    measured.expect_clean();
    measured.expect_all(2);
    let token = |text: &str| Seen::Presented(text.to_owned());
    assert_eq!(presented(&fake, 4), ["one", "one", "three", "two"].map(token));
    assert!(!measured.report.to_string().contains("three"), "a report has no tokens: {measured:?}");
}

#[test]
fn a_client_that_comes_back_presents_its_token_again() {
    let fake = Fake::start(&[]);
    let (_folder, path) = file_of("one\n");
    let reconnect = ["--duration", "1s", "--reconnect", "0.5@300ms", "--away", "100ms", "--token-file", &path];
    let measured = measure(&fake.target(), &[&LOAD[..], &reconnect].concat());
    measured.expect_clean();
    presented(&fake, 5);
}

#[test]
fn a_token_that_is_refused_is_the_end_of_its_client() {
    let fake = Fake::start(&[Fault::RefuseTokens]);
    let (_folder, path) = file_of("secret\n");
    let ended = Process::run(&mut loadgen(&[&[&fake.target()[..], "--token-file", &path], &LOAD[..]].concat()));
    assert_eq!(ended.err, "loadgen: no client got in: unauthorized (4)\n", "{ended:?}");
}
