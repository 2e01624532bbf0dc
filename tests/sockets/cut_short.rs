//! Members whose connections end in the middle of a line or a frame: each leaves once, and nothing is left of it,
//! neither in the kernel's figures for the process nor in the server's own.

use std::io::Write;
use std::net::Shutdown;
use std::time::Duration;

use harness::frame::{FINAL_TEXT, close_frame, frame};
use harness::{Client, Lines, Program, Stream, Transport, WELCOME, WebSocket, at_once, metrics, until};
use socket2::SockRef;

/// How a member's connection ends.
#[derive(Clone, Copy, Debug)]
enum End {
    Reset,
    HalfClose,
    /// A close frame, and the connection stays open.
    CloseFrame,
}

/// The transport of a member, whether it is in the middle of a message, and how its connection ends.
const CUT_SHORT: [(Transport, bool, End); 6] = [
    (Transport::Tcp, true, End::Reset),
    (Transport::Tcp, true, End::HalfClose),
    (Transport::WebSocket, true, End::Reset),
    (Transport::WebSocket, true, End::HalfClose),
    (Transport::WebSocket, false, End::CloseFrame),
    (Transport::WebSocket, false, End::HalfClose),
];

impl End {
    /// Ends the connection. A socket that is returned is still open.
    fn end(self, mut client: Stream) -> Option<Stream> {
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

/// A member of the room, which has sent half of a message if it is to be in the middle.
fn goner(program: &Program, transport: Transport, in_the_middle: bool) -> Stream {
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

/// The number of clients, and the number of clients that have ended.
fn clients(program: &Program) -> (f64, f64) {
    let found = metrics(program.http);
    // The connections that read the metrics come and go too.
    let is_closed = |name: &str| name.starts_with("roomcast_connections_closed_total{") && !name.contains("\"http\"");
    let closed = found.iter().filter(|(name, _)| is_closed(name));
    (found["active_connections"], closed.map(|(_, count)| count).sum())
}

#[test]
fn a_member_that_is_cut_short_leaves_once_and_nothing_is_left_of_it() {
    let cases = ["1", "2"]
        .into_iter()
        .flat_map(|workers| CUT_SHORT.map(|(transport, in_the_middle, end)| (workers, transport, in_the_middle, end)));
    at_once(cases, |(workers, transport, in_the_middle, end)| {
        let program = Program::start(&["--workers", workers]);
        let mut watcher = Client::member(&program, Transport::Tcp, "a", "watcher");
        let descriptors = program.descriptors().len();
        let goner = goner(&program, transport, in_the_middle);
        assert_eq!(watcher.request("WHO"), r#"Members of a: ["goner", "watcher"]"#);
        assert_eq!(clients(&program), (2.0, 0.0));
        let kept = end.end(goner);
        until(|| clients(&program) == (1.0, 1.0));
        until(|| program.descriptors().len() == descriptors);
        assert_eq!(watcher.request("WHO"), r#"Members of a: ["watcher"]"#);
        // Nothing of what it had begun is delivered, and the next client in its place stays when its socket closes.
        let mut next = Client::member(&program, transport, "a", "next");
        drop(kept);
        assert_eq!(next.request("still here?"), "[next] still here?");
        assert_eq!(watcher.fence(), ["[next] still here?"]);
        assert_eq!(watcher.request("WHO"), r#"Members of a: ["next", "watcher"]"#);
        assert_eq!(clients(&program), (2.0, 1.0));
        drop(next);
        until(|| clients(&program) == (1.0, 2.0));
        until(|| program.descriptors().len() == descriptors);
    });
}
