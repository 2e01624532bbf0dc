//! The text dialect, row by row.

use harness::{Client, Lines, Transport, WELCOME};
use roomcast::config::Labels;

use crate::server::{TestServer, contract};

const HELP: [&str; 13] = [
    "JOIN <room>: enter a room, leaving the one you are in",
    "JOIN <room> since=<position>: enter it, and get what was said since",
    "LEAVE: leave the room",
    "LIST: rooms with members",
    "SAY <text>: say it, even when it begins with a command word; any other line is said as it is",
    "NICK <name>: the label in front of your messages",
    "WHO: who is in the room",
    "HISTORY [n]: the newest messages of the room, 20 without a number",
    "POSITION: the place in the room up to which you have everything, for since=",
    "AUTH <token>: say who you are; again before the token expires to stay",
    "PING [token]: answered behind everything on its way to you",
    "HELP: this list",
    "QUIT: end the connection",
];

#[test]
fn a_client_is_greeted_and_then_left_in_peace() {
    contract(|shape, transport| {
        let server = TestServer::plain(shape);
        let mut client = Client::open(&server, transport);
        client.expect(WELCOME);
        client.expect_nothing();
    });
}

#[test]
fn the_greeting_is_a_setting_and_an_empty_one_is_not_sent() {
    contract(|shape, transport| {
        let server = TestServer::start(shape, |settings| settings.greeting = "Grüß dich!".into());
        Client::open(&server, transport).expect("Grüß dich!");
        let server = TestServer::start(shape, |settings| settings.greeting = String::new());
        Client::open(&server, transport).expect_nothing();
    });
}

#[test]
fn what_is_said_in_a_room_reaches_every_member_and_the_sender_itself() {
    contract(|shape, transport| {
        let server = TestServer::plain(shape);
        let mut alice = Client::member(&server, transport, "a", "alice");
        let mut bob = Client::member(&server, transport, "a", "bob");
        alice.send("hällo 🦀");
        alice.expect("[alice] hällo 🦀");
        bob.expect("[alice] hällo 🦀");
        bob.send("tab\tand  blanks");
        alice.expect("[bob] tab\tand  blanks");
        bob.expect("[bob] tab\tand  blanks");
        alice.expect_nothing();
        bob.expect_nothing();
    });
}

#[test]
fn joining_leaving_and_listing_are_answered() {
    contract(|shape, transport| {
        let server = TestServer::plain(shape);
        let mut client = Client::connect(&server, transport);
        assert_eq!(client.request("LIST"), "Rooms: []");
        assert_eq!(client.request("JOIN a"), "Joined a");
        assert_eq!(client.request("LIST"), r#"Rooms: ["a"]"#);
        assert_eq!(client.request("LEAVE"), "Left room");
        assert_eq!(client.request("LIST"), "Rooms: []");
        client.expect_nothing();
    });
}

#[test]
fn outside_a_room_there_is_nothing_to_leave_to_say_or_to_ask() {
    contract(|shape, transport| {
        let server = TestServer::plain(shape);
        let mut client = Client::connect(&server, transport);
        for line in ["LEAVE", "hello", "SAY hello", "WHO", "join a", "LIST of things"] {
            assert_eq!(client.request(line), "Join a room first", "{line}");
        }
        client.join("a");
        client.leave();
        assert_eq!(client.request("hello"), "Join a room first");
        client.expect_nothing();
    });
}

#[test]
fn say_is_verbatim_even_when_it_starts_with_a_command_word() {
    contract(|shape, transport| {
        let server = TestServer::plain(shape);
        let mut alice = Client::member(&server, transport, "a", "alice");
        assert_eq!(alice.request("SAY LEAVE"), "[alice] LEAVE");
        assert_eq!(alice.request("SAY JOIN b"), "[alice] JOIN b");
        assert_eq!(alice.request("SAY   indented"), "[alice]   indented");
        assert_eq!(alice.request("LIST"), r#"Rooms: ["a"]"#);
    });
}

#[test]
fn a_line_that_does_not_fit_a_command_is_chat() {
    contract(|shape, transport| {
        let server = TestServer::plain(shape);
        let mut alice = Client::member(&server, transport, "a", "alice");
        for line in [
            "LIST of things",
            "LEAVE me alone",
            "WHO is there",
            "HELP me",
            "QUIT it",
            "PING a b",
            "join b",
            "JOINED b",
            " JOIN b",
            "Leave",
        ] {
            assert_eq!(alice.request(line), format!("[alice] {line}"));
        }
        alice.expect_nothing();
    });
}

#[test]
fn trailing_blanks_do_not_count_in_a_command_and_stay_in_what_is_said() {
    contract(|shape, transport| {
        let server = TestServer::plain(shape);
        let mut alice = Client::connect(&server, transport);
        assert_eq!(alice.request(" "), "Join a room first");
        assert_eq!(alice.request("NICK alice\t "), "You are alice");
        assert_eq!(alice.request("JOIN a "), "Joined a");
        assert_eq!(alice.request("LIST  "), r#"Rooms: ["a"]"#);
        assert_eq!(alice.request("PING x\t"), "PONG x");
        for said in ["hello \t ", "col1\tcol2\t", " ", "\t", " \t ", "LIST of things  ", "LEAVE me "] {
            assert_eq!(alice.request(said), format!("[alice] {said}"));
        }
        assert_eq!(alice.request("SAY LIST  "), "[alice] LIST  ");
        assert_eq!(alice.request("SAY  "), "ERR unknown SAY needs a text: SAY <text>");
        alice.send("");
        alice.expect_nothing();
    });
}

#[test]
fn a_nick_is_the_label_from_then_on_and_need_not_be_unique() {
    contract(|shape, transport| {
        let server = TestServer::plain(shape);
        let mut first = Client::member(&server, transport, "a", "bob");
        let mut second = Client::member(&server, transport, "a", "bob");
        assert_eq!(first.request("WHO"), r#"Members of a: ["bob", "bob"]"#);
        assert_eq!(second.request("one"), "[bob] one");
        second.name("bobby");
        assert_eq!(second.request("two"), "[bobby] two");
        assert_eq!(first.fence(), ["[bob] one", "[bobby] two"]);
        assert_eq!(first.request("WHO"), r#"Members of a: ["bob", "bobby"]"#);
        second.join("b");
        assert_eq!(second.request("WHO"), r#"Members of b: ["bobby"]"#);
    });
}

#[test]
fn who_is_sorted_and_its_names_are_json() {
    contract(|shape, transport| {
        let server = TestServer::plain(shape);
        let nicks = ["zoë", r#"quo"te"#, "alice", r"back\slash"];
        let mut members = nicks.map(|nick| Client::member(&server, transport, "a", nick));
        let who = members[0].request("WHO");
        assert_eq!(who, r#"Members of a: ["alice", "back\\slash", "quo\"te", "zoë"]"#);
    });
}

#[test]
fn a_ping_is_answered_with_its_token() {
    contract(|shape, transport| {
        let server = TestServer::plain(shape);
        let mut client = Client::connect(&server, transport);
        for room in [None, Some("a")] {
            room.into_iter().for_each(|room| client.join(room));
            assert_eq!(client.request("PING"), "PONG");
            assert_eq!(client.request("PING täg"), "PONG täg");
        }
    });
}

#[test]
fn help_has_one_line_per_command() {
    contract(|shape, transport| {
        let server = TestServer::plain(shape);
        let mut client = Client::connect(&server, transport);
        client.send("HELP");
        // Several lines on one transport, one message on the other.
        assert_eq!(client.fence().join("\n"), HELP.join("\n"));
    });
}

#[test]
fn quit_says_bye_and_ends_the_connection() {
    contract(|shape, transport| {
        let server = TestServer::plain(shape);
        let mut client = Client::member(&server, transport, "a", "alice");
        assert_eq!(client.request("QUIT"), "Bye");
        client.expect_end();
    });
}

#[test]
fn a_line_client_is_labelled_with_its_address() {
    contract(|shape, _| {
        let server = TestServer::plain(shape);
        let mut client = Lines::connect(server.tcp);
        client.expect(WELCOME);
        client.send("JOIN a\nhello\n");
        client.expect("Joined a");
        client.expect(&format!("[{}] hello", client.label()));
    });
}

#[test]
fn a_websocket_client_is_labelled_with_a_number() {
    contract(|shape, _| {
        let server = TestServer::plain(shape);
        let mut client = Client::connect(&server, Transport::WebSocket);
        client.join("a");
        let said = client.request("hello");
        let number = said.strip_prefix("[WS-").and_then(|rest| rest.strip_suffix("] hello"));
        assert!(number.is_some_and(|number| number.parse::<u64>().is_ok()), "{said}");
    });
}

#[test]
fn labels_can_hide_addresses_behind_numbers_that_are_never_shared() {
    contract(|shape, transport| {
        let server = TestServer::start(shape, |settings| settings.labels = Labels::Id);
        let label = |_| {
            let mut client = Client::connect(&server, transport);
            client.join("a");
            let said = client.request("hello");
            client.leave();
            said
        };
        let mut said: Vec<String> = (0..8).map(label).collect();
        let prefix = match transport {
            Transport::Tcp => "[TCP-",
            Transport::WebSocket => "[WS-",
        };
        for line in &said {
            let number = line.strip_prefix(prefix).and_then(|rest| rest.strip_suffix("] hello"));
            assert!(number.is_some_and(|number| number.parse::<u64>().is_ok()), "{line}");
        }
        said.sort_unstable();
        said.dedup();
        assert_eq!(said.len(), 8);
    });
}
