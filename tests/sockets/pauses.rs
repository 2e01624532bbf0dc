//! The process is stopped for seconds, as when its machine sleeps: that time counts against no client.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use harness::{Client, FAILSAFE, Lines, Program, Stream, Transport, WELCOME, metrics, until};

/// Longer than a client may read nothing or be silent.
const PAUSE: Duration = Duration::from_secs(3);

/// With these settings, every outbox is beyond its bound of messages most of the time.
const IMPATIENT: [&str; 10] = [
    "--workers",
    "2",
    "--outbox-messages",
    "16",
    "--slow-after",
    "2s",
    "--ping-interval",
    "500ms",
    "--pong-timeout",
    "2s",
];

const READERS: usize = 20;

/// Messages at once: more than the kernel buffers for a reader. All members read them before there are more.
const BURST: usize = 1_000;

const LAST: &str = "the end";

fn text(number: usize) -> String {
    format!("{number} {}", "x".repeat(1_000))
}

fn publisher(program: &Program) -> Lines {
    let mut publisher = Lines::connect(program.tcp);
    publisher.send("NICK publisher\nJOIN a\n");
    [WELCOME, "You are publisher", "Joined a"].into_iter().for_each(|line| publisher.expect(line));
    publisher
}

/// Publishes burst after burst until `is_last`, each after all members have read the one before.
fn talk(mut output: Stream, heard: &Receiver<()>, is_last: &AtomicBool) {
    for burst in 0.. {
        let texts = (burst * BURST..).take(BURST).map(|number| text(number) + "\n");
        output.write_all(texts.collect::<String>().as_bytes()).expect("a server that reads");
        // The publisher reads it as well.
        for _ in 0..=READERS {
            heard.recv_timeout(FAILSAFE).expect("everybody hears it");
        }
        if is_last.load(Ordering::Acquire) {
            return output.write_all(format!("{LAST}\n").as_bytes()).expect("a server that reads");
        }
    }
}

/// Reads every message, each once and in order, up to the last. Returns the client, which stays.
fn listen(mut member: Client, heard: &Sender<()>) -> Client {
    let mut number = 0;
    loop {
        let line = member.line();
        if line == format!("[publisher] {LAST}") {
            return member;
        }
        assert_eq!(line, format!("[publisher] {}", text(number)));
        number += 1;
        if number % BURST == 0 {
            heard.send(()).expect("a publisher that waits for it");
        }
    }
}

fn published(program: &Program) -> f64 {
    metrics(program.http)["total_messages"]
}

fn closed(program: &Program) -> Vec<(String, f64)> {
    // The connections that read the metrics come and go too.
    let is_closed = |name: &str| name.starts_with("roomcast_connections_closed_total") && !name.contains("\"http\"");
    metrics(program.http).into_iter().filter(|(name, count)| is_closed(name) && *count > 0.0).collect()
}

#[test]
#[ignore = "slow: stands still for seconds"]
fn a_server_that_stood_still_for_seconds_goes_on_and_cuts_nobody_who_reads() {
    let program = Program::start(&IMPATIENT);
    let publisher = publisher(&program);
    let output = publisher.write_half();
    let transports = Transport::ALL.into_iter().cycle().take(READERS);
    let member = |transport| Client::member(&program, transport, "a", "reader");
    let members: Vec<Client> = transports.map(member).chain([publisher.into()]).collect();
    let (heard_sender, heard) = channel();
    let listening = members.into_iter().map(|member| {
        let heard = heard_sender.clone();
        thread::spawn(move || listen(member, &heard))
    });
    let listening: Vec<_> = listening.collect();
    let is_last = Arc::new(AtomicBool::new(false));
    let talking = thread::spawn({
        let is_last = Arc::clone(&is_last);
        move || talk(output, &heard, &is_last)
    });
    until(|| published(&program) > 2.5 * BURST as f64);
    program.while_stopped(|| thread::sleep(PAUSE));
    is_last.store(true, Ordering::Release);
    let members: Vec<Client> = listening.into_iter().map(|thread| thread.join().expect("all was heard")).collect();
    talking.join().expect("all was heard");
    assert_eq!(closed(&program), []);
    drop(members);
}
