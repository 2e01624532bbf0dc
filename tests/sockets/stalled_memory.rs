//! The memory that members cost which do not read, by the kernel's figures for the server's process.

use std::net::SocketAddr;

use harness::frame::{FINAL_TEXT, frame};
use harness::{Blast, Lines, Program, Turn, WELCOME, WebSocket, metrics, until, until_at_most};

const MIB: u64 = 1 << 20;

const MESSAGES: usize = 2_000;
const MESSAGE_BYTES: usize = 8 * 1024;

/// All messages in memory, as lines and as frames.
const DISTINCT_BYTES: u64 = 2 * (MESSAGES * MESSAGE_BYTES) as u64;

/// What the members cost beside that: eight bytes for each pending message, in a queue that doubles when it grows;
/// and what the allocator keeps. Copies for a thousand members would take 16 GB.
const fn bookkeeping_bytes(members: usize) -> u64 {
    (members * MESSAGES * 2 * 8) as u64 + 8 * MIB
}

/// Messages per round trip: fewer than the kernel buffers for a member that reads.
const ROUND: usize = 16;

const MEMBERS: usize = 1_000;

/// With these settings, no member exceeds a bound of its own.
const UNBOUNDED: [&str; 8] =
    ["--workers", "2", "--outbox-bytes", "256MiB", "--outbox-messages", "100000", "--slow-after", "10min"];

/// Members that read nothing once they have joined, over lines and WebSocket in turn.
struct Stalled {
    lines: Vec<Lines>,
    websockets: Vec<WebSocket>,
}

impl Stalled {
    fn join(program: &Program, room: &str, count: usize) -> Self {
        let lines = (0..count.div_ceil(2)).map(|_| stalled_line_client(program.tcp, room)).collect();
        let websockets = (0..count / 2).map(|_| stalled_websocket_client(program.http, room)).collect();
        Self { lines, websockets }
    }

    /// Closes all connections with resets, which leave no port in TIME_WAIT.
    fn reset(self) {
        self.lines.into_iter().for_each(Lines::reset);
        self.websockets.into_iter().for_each(WebSocket::reset);
    }
}

fn stalled_line_client(server: SocketAddr, room: &str) -> Lines {
    Lines::member_short_of_buffer(server, room)
}

fn stalled_websocket_client(server: SocketAddr, room: &str) -> WebSocket {
    let mut client = WebSocket::connect_short_of_buffer(server);
    client.send(frame(FINAL_TEXT, format!("JOIN {room}")));
    client.expect(WELCOME);
    client.expect(format!("Joined {room}"));
    client
}

/// Publishes this many messages and reads each.
fn say_and_hear(publisher: &mut Lines, messages: usize) {
    let text = "x".repeat(MESSAGE_BYTES - 1);
    let heard = format!("[publisher] {text}");
    for _ in 0..messages / ROUND {
        publisher.send(format!("{text}\n").repeat(ROUND));
        (0..ROUND).for_each(|_| publisher.expect(&heard));
    }
}

fn publisher(program: &Program, room: &str) -> Lines {
    let mut publisher = Lines::connect(program.tcp);
    publisher.send(format!("NICK publisher\nJOIN {room}\n"));
    for line in [WELCOME, "You are publisher", &format!("Joined {room}")] {
        publisher.expect(line);
    }
    publisher
}

fn held(program: &Program) -> u64 {
    metrics(program.http)["roomcast_outbox_held_bytes"] as u64
}

fn cut_as_slow(program: &Program) -> usize {
    let found = metrics(program.http);
    let closed =
        |transport| format!("roomcast_connections_closed_total{{transport=\"{transport}\",reason=\"slow-consumer\"}}");
    ["tcp", "websocket"].map(|transport| found[&closed(transport)]).iter().sum::<f64>() as usize
}

#[test]
#[ignore = "slow: hundreds of thousands of messages"]
fn a_member_that_never_reads_in_a_hot_room_is_cut_and_its_memory_comes_back() {
    for policy in ["disconnect", "drop-oldest"] {
        let small = ["--workers", "2", "--slow-after", "2s", "--message-bytes", "1KiB", "--outbox-bytes", "64KiB"];
        let program = Program::start(&[&small[..], &["--slow", policy]].concat());
        let blast = Blast::start(program.tcp, "a");
        until(|| metrics(program.http)["total_messages"] > 200_000.0);
        let before = program.private_bytes();
        let stalled = Stalled::join(&program, "a", 2);
        let mut most = 0;
        until(|| {
            most = most.max(program.private_bytes());
            cut_as_slow(&program) == 2
        });
        assert!(most <= before + 16 * MIB, "{policy}: from {before} to {most}");
        drop(blast);
        until(|| held(&program) == 0);
        until_at_most(before + 4 * MIB, || program.private_bytes());
        stalled.reset();
    }
}

#[test]
fn members_that_never_read_hold_each_message_once_and_give_it_back() {
    expect_each_message_to_be_held_once(100);
}

#[test]
#[ignore = "slow: two million deliveries"]
fn a_thousand_members_that_never_read_hold_each_message_once_and_give_it_back() {
    expect_each_message_to_be_held_once(MEMBERS);
}

fn expect_each_message_to_be_held_once(members: usize) {
    let _turn = Turn::take();
    let program = Program::start(&[&UNBOUNDED[..], &["--outbox-budget", "1GiB"]].concat());
    let mut publisher = publisher(&program, "a");
    say_and_hear(&mut publisher, ROUND);
    let stalled = Stalled::join(&program, "a", members);
    let before = program.private_bytes();
    say_and_hear(&mut publisher, MESSAGES);
    let most = program.private_bytes();
    assert!(most <= before + DISTINCT_BYTES + bookkeeping_bytes(members), "from {before} to {most}");
    // Each worker counts the bytes that it holds, though both hold the same memory.
    let held = held(&program);
    assert!(held > DISTINCT_BYTES && held < 2 * DISTINCT_BYTES + 8 * MIB, "{held}");
    assert_eq!(cut_as_slow(&program), 0);
    stalled.reset();
    until_at_most(before + 8 * MIB, || program.private_bytes());
    publisher.send("PING x\n");
    publisher.expect("PONG x");
}

#[test]
#[ignore = "slow: a million deliveries under each policy"]
fn a_thousand_members_that_never_read_stay_within_the_budget() {
    const BUDGET: u64 = 16 * MIB;
    for policy in ["disconnect", "drop-oldest"] {
        let _turn = Turn::take();
        let program = Program::start(&[&UNBOUNDED[..], &["--slow", policy, "--outbox-budget", "16MiB"]].concat());
        let mut publisher = publisher(&program, "a");
        say_and_hear(&mut publisher, ROUND);
        let mut stalled = Stalled::join(&program, "a", MEMBERS);
        let before = program.private_bytes();
        for _ in 0..MESSAGES / ROUND {
            say_and_hear(&mut publisher, ROUND);
            let held = held(&program);
            assert!(held <= BUDGET + 2 * (ROUND * MESSAGE_BYTES) as u64, "{policy}: {held}");
        }
        let most = program.private_bytes();
        assert!(most <= before + BUDGET + bookkeeping_bytes(MEMBERS), "{policy}: from {before} to {most}");
        let cut = cut_as_slow(&program);
        assert_eq!(cut > 0, policy == "disconnect", "{cut} were cut");
        if policy == "drop-oldest" {
            stalled.lines[..10].iter_mut().for_each(expect_most_to_be_missing);
        }
        stalled.reset();
        until(|| held(&program) == 0);
        until_at_most(before + 8 * MIB, || program.private_bytes());
    }
}

/// The member gets what was on its way, a notice of the missing messages, and the newest ones.
#[track_caller]
fn expect_most_to_be_missing(member: &mut Lines) {
    member.send("PING x\n");
    let lines = std::iter::from_fn(|| Some(member.line()).filter(|line| line != "PONG x"));
    let (notices, messages): (Vec<String>, Vec<String>) = lines.partition(|line| line.starts_with("GAP "));
    let missing = notices.iter().map(|line| line["GAP ".len()..].parse::<usize>().expect("a number"));
    let missing: usize = missing.sum();
    assert_eq!(missing + messages.len(), MESSAGES);
    assert!(missing > MESSAGES / 2 && messages.len() > ROUND, "{missing} of {MESSAGES}");
}
