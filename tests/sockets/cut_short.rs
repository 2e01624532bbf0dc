//! Members that are cut short in mid-line or in mid-frame: each leaves once, and within two seconds nothing is left of it, by
//! the kernel's figures for the process and by its own.

use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use harness::frame::{FINAL_TEXT, close_frame, frame};
use harness::{Client, Lines, Program, Transport, WELCOME, WebSocket, metrics, until};
use socket2::SockRef;

/// What is promised. It takes half of that where the server lingers a second on a client that does not close.
const REAPED_WITHIN: Duration = Duration::from_secs(2);

/// How a member ends behind what it has half said, if anything.
#[derive(Clone, Copy, Debug)]
enum End {
    Reset,
    HalfClose,
    /// A close frame, and the connection stays open.
    CloseFrame,
}

/// What carries a member, what it says last, and how it ends.
const CUT_SHORT: [(Transport, bool, End); 6] = [
    (Transport::Tcp, true, End::Reset),
    (Transport::Tcp, true, End::HalfClose),
    (Transport::WebSocket, true, End::Reset),
    (Transport::WebSocket, true, End::HalfClose),
    (Transport::WebSocket, false, End::CloseFrame),
    (Transport::WebSocket, false, End::HalfClose),
];

impl End {
    /// What is returned stays open.
    fn end(self, mut client: TcpStream) -> Option<TcpStream> {
        match self {
            Self::Reset => {
                SockRef::from(&client).set_linger(Some(Duration::ZERO)).expect("an option");
                return None;
            }
            Self::HalfClose => client.shutdown(Shutdown::Write).expect("an open socket"),
            Self::CloseFrame => {
                let behind = frame(FINAL_TEXT, "never said");
                client.write_all(&[close_frame(1000, ""), behind].concat()).expect("a server that reads");
            }
        }
        Some(client)
    }
}

/// A member of the room, which has said half of something if it is to be in the middle.
fn goner(program: &Program, transport: Transport, in_the_middle: bool) -> TcpStream {
    let entry = [WELCOME, "You are goner", "Joined a"];
    match transport {
        Transport::Tcp => {
            let mut client = Lines::connect(program.tcp);
            client.send("NICK goner\nJOIN a\n");
            entry.iter().for_each(|line| client.expect(line));
            client.send(if in_the_middle { "never sa" } else { "" });
            client.write_half()
        }
        Transport::WebSocket => {
            let mut client = WebSocket::connect(program.http);
            client.send([frame(FINAL_TEXT, "NICK goner"), frame(FINAL_TEXT, "JOIN a")].concat());
            entry.iter().for_each(|text| client.expect(text));
            let said = frame(FINAL_TEXT, "never said");
            client.send(if in_the_middle { &said[..said.len() / 2] } else { &[] });
            client.write_half()
        }
    }
}

/// How many clients there are, and how many have ended.
fn clients(program: &Program) -> (f64, f64) {
    let found = metrics(program.http);
    // Those that ask for the metrics come and go too.
    let is_closed = |name: &str| name.starts_with("roomcast_connections_closed_total{") && !name.contains("\"http\"");
    let closed = found.iter().filter(|(name, _)| is_closed(name));
    (found["active_connections"], closed.map(|(_, count)| count).sum())
}

#[test]
fn a_member_that_is_cut_short_leaves_once_and_is_reaped_within_two_seconds() {
    for workers in ["1", "2"] {
        let program = Program::start(&["--workers", workers]);
        let mut watcher = Client::member(&program, Transport::Tcp, "a", "watcher");
        let descriptors = program.descriptors().len();
        let mut ended = 0.0;
        for (transport, in_the_middle, end) in CUT_SHORT {
            println!("{workers} workers, {transport:?}, {in_the_middle}, {end:?}");
            let goner = goner(&program, transport, in_the_middle);
            assert_eq!(watcher.request("WHO"), r#"Members of a: ["goner", "watcher"]"#);
            assert_eq!(clients(&program), (2.0, ended));
            let begun = Instant::now();
            let kept = end.end(goner);
            until(|| program.descriptors().len() == descriptors);
            let taken = begun.elapsed();
            until(|| clients(&program) == (1.0, ended + 1.0) && program.descriptors().len() == descriptors);
            println!("{taken:?}");
            assert!(taken < REAPED_WITHIN, "{taken:?}");
            assert_eq!(watcher.request("WHO"), r#"Members of a: ["watcher"]"#);
            // It has said nothing, and who comes in its place stays when it is gone altogether.
            let mut next = Client::member(&program, transport, "a", "next");
            drop(kept);
            assert_eq!(next.request("still here?"), "[next] still here?");
            assert_eq!(watcher.fence(), ["[next] still here?"]);
            assert_eq!(watcher.request("WHO"), r#"Members of a: ["next", "watcher"]"#);
            assert_eq!(clients(&program), (2.0, ended + 1.0));
            drop(next);
            ended += 2.0;
            until(|| clients(&program) == (1.0, ended) && program.descriptors().len() == descriptors);
        }
    }
}
