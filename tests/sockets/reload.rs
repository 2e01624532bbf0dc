//! Rules, keys and settings that are read again at SIGHUP.

use std::fs;
use std::path::Path;

use harness::{Centrifuge, Lines, Program, Signal, WELCOME, metrics, until};
use jsonwebtoken::Algorithm;
use rustix::fs::{CWD, Mode, mkfifoat};
use serde_json::json;

use crate::access::{SECRET, seconds_from_now, secret_file, signed, token_of};

const OTHER_SECRET: &[u8] = b"another secret of the tests, long enough too";

/// A client that has joined a room.
fn member(program: &Program, room: &str) -> Lines {
    let mut client = Lines::connect(program.tcp);
    client.expect(WELCOME);
    client.send(format!("JOIN {room}\n"));
    client.expect(&format!("Joined {room}"));
    client
}

#[track_caller]
fn reload(program: &Program, phrase: &str) -> String {
    program.signal(Signal::HUP);
    program.log.until(phrase).pop().expect("a line")
}

#[track_caller]
fn authenticate(program: &Program, token: &str) -> String {
    let mut client = Lines::connect(program.tcp);
    client.expect(WELCOME);
    client.send(format!("AUTH {token}\n"));
    client.line()
}

fn write_settings(path: &Path, text: &str) {
    fs::write(path, text).expect("a settings file");
}

#[test]
fn other_rules_end_the_memberships_that_they_forbid_and_no_other_client_notices() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("roomcast.toml");
    write_settings(&file, "backlog = 100\n");
    let program = Program::start(&["--config", file.to_str().expect("a path")]);
    let mut inside = member(&program, "team:a");
    let mut elsewhere = member(&program, "open");
    let rules = "[[rule]]\nname = 'teams'\nrooms = 'team:*'\njoin = 'token'\n[[rule]]\nrooms = '*'\njoin = 'anyone'\n";
    write_settings(&file, &format!("backlog = 200\n{rules}"));
    let line = reload(&program, "apply after a restart");
    assert!(line.contains("backlog") && !line.contains("rule"), "{line}");
    inside.expect(r#"ERR forbidden join "team:a": the rule "teams" lets only tokens that grant it"#);
    inside.expect("Left room");
    inside.send("JOIN open\n");
    inside.expect("Joined open");
    inside.send("hello\n");
    assert!(elsewhere.line().ends_with("] hello"));
}

#[test]
fn a_wrong_file_changes_nothing_and_the_log_says_what_is_wrong() {
    let (folder, secret) = secret_file();
    let file = folder.path().join("roomcast.toml");
    let settings = format!("token-secret-file = [{:?}]\n", secret.to_str().expect("a path"));
    write_settings(&file, &settings);
    let program = Program::start(&["--config", file.to_str().expect("a path")]);
    let mut inside = member(&program, "a");
    let valid = token_of("alice");
    for (wrong, what) in [
        ("anonymous = 'perhaps'\n", "anonymous"),
        ("[[rule]]\nrooms = 'a'\njoin = 'everybody'\n", "line 4: join \"everybody\": one of anyone, user, "),
        ("[[rule]]\nrooms = 'a b'\njoin = 'anyone'\n", "rule"),
        ("token-jwks-file = ['/nowhere']\n", "/nowhere"),
        ("rooms =", "line 2"),
    ] {
        write_settings(&file, &format!("{settings}{wrong}"));
        let line = reload(&program, "nothing has changed");
        assert!(line.contains(what), "{line}");
    }
    fs::remove_file(&file).expect("a file");
    mkfifoat(CWD, &file, Mode::RUSR).expect("a pipe");
    assert!(reload(&program, "nothing has changed").contains("it is no file"));
    fs::remove_file(&file).expect("a pipe");
    fs::write(&secret, "short").expect("a file");
    write_settings(&file, &settings);
    let line = reload(&program, "nothing has changed");
    assert!(line.contains("main.secret") && !line.contains("short\n"), "{line}");
    assert_eq!(authenticate(&program, &valid), "Authenticated as alice");
    inside.send("WHO\n");
    assert!(inside.line().starts_with("Members of a: "));
    let has_failed = || metrics(program.http)["roomcast_last_reload_failed"];
    assert_eq!(has_failed(), 1.0);
    fs::write(&secret, SECRET).expect("a file");
    reload(&program, "reloaded changed");
    until(|| has_failed() == 0.0);
}

#[test]
fn keys_are_changed_without_a_break() {
    let (folder, secret) = secret_file();
    let program = Program::start(&["--token-secret-file", secret.to_str().expect("a path")]);
    let (old, new) = (token_of("alice"), signed(OTHER_SECRET, Algorithm::HS256, &json!({ "sub": "alice" })));
    let mut client = Lines::connect(program.tcp);
    client.expect(WELCOME);
    client.send(format!("AUTH {old}\nJOIN a\n"));
    client.expect("Authenticated as alice");
    client.expect("Joined a");
    assert!(authenticate(&program, &new).starts_with("ERR forbidden token: "));
    fs::write(&secret, OTHER_SECRET).expect("a file");
    reload(&program, "reloaded");
    assert!(authenticate(&program, &old).starts_with("ERR forbidden token: "));
    assert_eq!(authenticate(&program, &new), "Authenticated as alice");
    // Who is in stays in, and may go on with a new token.
    client.send(format!("AUTH {new}\nhello\n"));
    client.expect("Authenticated as alice");
    client.expect("[alice] hello");
    drop(folder);
}

#[test]
fn reloads_under_load_cut_nobody_and_lose_nothing() {
    const MEMBERS: usize = 100;
    const RELOADS: usize = 10;
    let (folder, secret) = secret_file();
    let file = folder.path().join("roomcast.toml");
    let settings = format!("token-secret-file = [{:?}]\n", secret.to_str().expect("a path"));
    let rules = "[[rule]]\nrooms = '*'\njoin = 'anyone'\n";
    write_settings(&file, &settings);
    let program = Program::start(&["--workers", "2", "--config", file.to_str().expect("a path")]);
    let mut members: Vec<Lines> = (0..MEMBERS).map(|_| member(&program, "a")).collect();
    let mut publisher = Lines::connect(program.tcp);
    publisher.expect(WELCOME);
    publisher.send(format!("AUTH {}\nJOIN a\n", token_of("alice")));
    publisher.expect("Authenticated as alice");
    publisher.expect("Joined a");
    for reload_number in 0..RELOADS {
        write_settings(&file, if reload_number % 2 == 0 { &settings } else { rules });
        program.signal(Signal::HUP);
        (0..20).for_each(|number| publisher.send(format!("{reload_number}.{number}\n")));
        program.log.until("reloaded");
    }
    for member in members.iter_mut().chain([&mut publisher]) {
        for (reload_number, number) in (0..RELOADS).flat_map(|one| (0..20).map(move |two| (one, two))) {
            member.expect(&format!("[alice] {reload_number}.{number}"));
        }
        member.send("PING\n");
        member.expect("PONG");
    }
}

#[test]
fn the_nick_of_a_guest_is_marked_once_there_are_users() {
    let (folder, secret) = secret_file();
    let file = folder.path().join("roomcast.toml");
    write_settings(&file, "");
    let program = Program::start(&["--config", file.to_str().expect("a path")]);
    let mut sdk = Centrifuge::member(program.http, "a");
    sdk.result("rpc", r#"{"method":"nick","data":{"nick":"bob"}}"#);
    let mut guest = member(&program, "a");
    guest.send("NICK alice\n");
    guest.expect("You are alice");
    write_settings(&file, &format!("token-secret-file = [{:?}]\n", secret.to_str().expect("a path")));
    reload(&program, "reloaded");
    guest.expect("You are ~alice");
    guest.send("hi\n");
    guest.expect("[~alice] hi");
    sdk.publish("a", r#""hi""#);
    guest.expect("[~bob] hi");
}

#[test]
fn a_guest_needs_no_token_any_more_once_guests_are_allowed_again() {
    let (folder, secret) = secret_file();
    let file = folder.path().join("roomcast.toml");
    let allow = format!("header-timeout = '5s'\ntoken-secret-file = [{:?}]\n", secret.to_str().expect("a path"));
    let deny = format!("{allow}anonymous = 'deny'\n");
    write_settings(&file, &allow);
    let program = Program::start(&["--config", file.to_str().expect("a path")]);
    let mut guest = member(&program, "a");
    write_settings(&file, &deny);
    reload(&program, "reloaded");
    guest.expect("ERR forbidden this server needs a token: AUTH <token>");
    guest.expect("Left room");
    write_settings(&file, &allow);
    reload(&program, "reloaded");
    guest.send("JOIN a\n");
    guest.expect("Joined a");
    // Who must present a token is closed no later than the client is told that its token of this time has expired.
    let soon = signed(SECRET, Algorithm::HS256, &json!({ "sub": "alice", "exp": seconds_from_now(7) }));
    let mut clock = member(&program, "b");
    clock.send(format!("AUTH {soon}\n"));
    clock.expect("Authenticated as alice");
    clock.expect("EXPIRED 25");
    guest.send("PING here\n");
    guest.expect("PONG here");
}
