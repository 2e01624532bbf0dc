//! `roomcast publish` and `roomcast rooms`, which ask a server that runs.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::thread;

use harness::{Ended, Program, Transport};
use roomcast::protocol::position::Position;
use tempfile::TempDir;

use super::Served;
use crate::server::{Shape, TestServer};

/// The arguments that name a server, and a file with this key.
fn asking(server: &TestServer, key: &str) -> (TempDir, Vec<String>) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("api.key");
    fs::write(&path, format!("{key}\n")).expect("a file");
    let url = format!("http://{}", server.http.address);
    let path = path.to_str().expect("a path in UTF-8").to_owned();
    (folder, vec!["--url".to_owned(), url, "--key-file".to_owned(), path])
}

fn run(arguments: &[&str], asking: &[String]) -> Ended {
    Program::run(&arguments.iter().copied().chain(asking.iter().map(String::as_str)).collect::<Vec<_>>())
}

#[track_caller]
fn expect_failure(ended: &Ended, parts: &[&str]) {
    let Ended { code, out, err } = ended;
    assert_eq!((*code, out.as_str(), err.lines().count()), (Some(1), "", 1), "{err}");
    assert!(parts.iter().all(|part| err.contains(part)), "{err}");
}

#[test]
fn a_text_is_published_and_rooms_are_listed() {
    let served = Served::plain(Shape::ONE);
    let mut member = served.member(Transport::Tcp, "a");
    let _other = served.member(Transport::WebSocket, "team:b");
    let (_folder, server) = asking(&served.server, &served.backend);
    let Ended { code, out, err } = run(&["publish", "a", "build \"43\" is live"], &server);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(Position::parse(out.trim_end()).is_some_and(|position| position.offset.0 == 1), "{out}");
    member.expect("[backend] build \"43\" is live");
    assert_eq!(run(&["publish", "a", "{\"n\": [1]}", "--json"], &server).code, Some(0));
    member.expect(r#"[backend] {"n":[1]}"#);
    assert_eq!(run(&["rooms"], &server).out, "a 1\nteam:b 1\n");
    assert_eq!(run(&["rooms", "team:*"], &server).out, "team:b 1\n");
}

#[test]
fn a_key_file_is_the_key_alone_or_what_gen_key_has_printed() {
    let served = Served::plain(Shape::ONE);
    let printed = Program::run(&["gen-key", "backend"]).out;
    let other_key = printed.lines().nth(1).expect("a key");
    let (_folder, server) = asking(&served.server, &printed.replace(other_key, &served.backend));
    assert_eq!(run(&["rooms"], &server).code, Some(0));
    let line = printed.lines().nth(3).expect("a line for api-keys-file");
    for (without_key, found) in [("two words", 0), (line, 0), ("", 0), ("rck_secret rck_other", 2)] {
        let (_folder, server) = asking(&served.server, without_key);
        let says =
            format!("{found} API keys instead of one: the key is the second line that `roomcast gen-key` prints");
        expect_failure(&run(&["rooms"], &server), &[&server[3], &says]);
    }
}

#[test]
fn what_cannot_be_done_is_said_in_one_line_without_the_key() {
    let served = Served::plain(Shape::ONE);
    let (_folder, server) = asking(&served.server, &served.reader);
    expect_failure(&run(&["publish", "a", "hello"], &server), &["permission denied", "\"reader\"", "publish"]);
    expect_failure(&run(&["rooms"], &server), &["permission denied"]);
    expect_failure(&run(&["publish", "two words", "hello"], &server), &["bad request", "no spaces"]);
    expect_failure(&run(&["publish", "a", "{", "--json"], &server), &["--json", "not JSON"]);
    let (_folder, unknown) = asking(&served.server, "rck_secret");
    let ended = run(&["rooms"], &unknown);
    expect_failure(&ended, &["knows no such API key", "api-keys-file"]);
    assert!(!ended.err.contains("rck_secret"));
    let closed = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("an address");
    let url = format!("http://{closed}");
    let elsewhere = |url: &str| [&["--url".to_owned(), url.to_owned()], &server[2..]].concat();
    expect_failure(&run(&["rooms"], &elsewhere(&url)), &["cannot connect to 127.0.0.1", "refused"]);
    expect_failure(&run(&["rooms"], &elsewhere("https://192.0.2.1")), &["https is spoken with this machine alone"]);
    expect_failure(&run(&["rooms"], &elsewhere("ftp://192.0.2.1")), &["as in http://127.0.0.1:3000"]);
    expect_failure(&run(&["rooms"], &elsewhere("nonsense")), &["--url"]);
    let lines = format!("http://{}", served.server.tcp.address);
    expect_failure(&run(&["rooms"], &elsewhere(&lines)), &["no answer from"]);
    expect_failure(&run(&["rooms"], &server[..2]), &["no API key", "ROOMCAST_API_KEY"]);
}

#[test]
fn an_answer_that_is_cut_is_called_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("api.key");
    fs::write(&path, "rck_key").expect("a file");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let server = ["--url".to_owned(), url, "--key-file".to_owned(), path.to_str().expect("UTF-8").to_owned()];
    for body in ["{\"result\":{\"chann", "", "\u{e4}"] {
        let ended = thread::scope(|scope| {
            scope.spawn(|| {
                let mut client = BufReader::new(listener.accept().expect("a client").0);
                // Closed with unread input, the socket would send a reset.
                let request = client.by_ref().lines().map(|line| line.expect("a head"));
                let length: Vec<String> = request.take_while(|line| !line.is_empty()).collect();
                let length = length.iter().find_map(|line| line.strip_prefix("Content-Length: ")).expect("a length");
                client.read_exact(&mut vec![0; length.parse().expect("a number")]).expect("a body");
                let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\n{body}");
                client.get_mut().write_all(answer.as_bytes()).expect("a client that reads");
            });
            run(&["rooms"], &server)
        });
        expect_failure(&ended, &["no answer from 127.0.0.1", "cut short"]);
    }
}
