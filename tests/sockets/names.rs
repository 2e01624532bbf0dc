//! Names over both transports at once: the same rule, the same rooms, and the same name in two forms. Refused names are in
//! `refusals`.

use harness::{Client, Transport};

use crate::server::{Shape, TestServer, contract};

/// The transport that is not this one.
fn other(transport: Transport) -> Transport {
    match transport {
        Transport::Tcp => Transport::WebSocket,
        Transport::WebSocket => Transport::Tcp,
    }
}

/// Valid names in two forms: as they are sent, and as everybody reads them.
const TWINS: [(&str, &str); 5] = [
    ("cafe\u{301}", "caf\u{e9}"),
    ("\u{212a}elvin", "Kelvin"),
    ("\u{1100}\u{1161}", "\u{ac00}"),
    ("A\u{30a}ngstro\u{308}m", "\u{c5}ngstr\u{f6}m"),
    ("q\u{323}\u{307}", "q\u{323}\u{307}"),
];

#[test]
fn a_room_joined_over_one_transport_is_the_same_over_the_other() {
    contract(|shape, transport| {
        let server = TestServer::plain(shape);
        let mut first = Client::connect(&server, transport);
        first.name("first");
        for name in ["..", "*", ">", "#rust", "שלום", "日本", "नमस्ते", "JOIN", r#"quo"te"#, r"back\slash", "%20"]
        {
            first.join(name);
            let mut second = Client::member(&server, other(transport), name, "second");
            for (question, answer) in [
                ("LIST", format!("Rooms: [\"{}\"]", name.replace('\\', r"\\").replace('"', r#"\""#))),
                ("WHO", format!(r#"Members of {name}: ["first", "second"]"#)),
            ] {
                assert_eq!(first.request(question), answer);
                assert_eq!(second.request(question), answer);
            }
            second.leave();
        }
    });
}

#[test]
fn twins_are_one_room_and_one_nick_whichever_transport_says_which() {
    contract(|shape, transport| {
        let server = TestServer::plain(shape);
        let [mut first, mut second] =
            [transport, other(transport)].map(|transport| Client::connect(&server, transport));
        for (twin, name) in TWINS {
            for (client, said) in [(&mut first, twin), (&mut second, name)] {
                assert_eq!(client.request(&format!("NICK {said}")), format!("You are {name}"));
                assert_eq!(client.request(&format!("JOIN {said}")), format!("Joined {name}"));
            }
            assert_eq!(first.request("WHO"), format!(r#"Members of {name}: ["{name}", "{name}"]"#));
            assert_eq!(second.request("LIST"), format!(r#"Rooms: ["{name}"]"#));
            assert_eq!(first.request("hello"), format!("[{name}] hello"));
            second.expect(&format!("[{name}] hello"));
            first.leave();
            second.leave();
        }
    });
}

#[test]
fn the_length_of_a_name_is_that_of_its_nfc_form_whatever_was_said() {
    let rule = "no spaces or control characters";
    for shape in [Shape::ONE, Shape::MANY] {
        for transport in Transport::ALL {
            let server = TestServer::plain(shape);
            let mut client = Client::connect(&server, transport);
            // Sent as 129, 192, 378 and 384 bytes.
            for (said, name) in [
                ("e\u{301}".repeat(43), "é".repeat(43)),
                ("e\u{301}".repeat(64), "é".repeat(64)),
                ("\u{1100}\u{1161}\u{11a8}".repeat(42), "각".repeat(42)),
                ("\u{212a}".repeat(128), "K".repeat(128)),
            ] {
                assert_eq!(client.request(&format!("JOIN {said}")), format!("Joined {name}"));
                let nick: String = name.chars().take(name.chars().count() / 2).collect();
                assert_eq!(client.request(&format!("NICK {said}")).starts_with("ERR nick "), name.len() > 64);
                assert_eq!(client.request(&format!("NICK {nick}")), format!("You are {nick}"));
            }
            // The last one is 126 bytes as it is sent and 252 bytes in NFC, which decomposes it.
            for said in ["e\u{301}".repeat(65), "\u{212a}".repeat(129), "\u{958}".repeat(42)] {
                let shown: String = said.chars().take(64).collect();
                let shown = format!("{shown:?}").replace('"', "");
                let more = if said.chars().count() > 64 { "…" } else { "" };
                let answer = format!("ERR room-name \"{shown}{more}\": 1 to 128 bytes, {rule}");
                assert_eq!(client.request(&format!("JOIN {said}")), answer);
            }
            assert_eq!(client.request("LIST"), format!("Rooms: [\"{}\"]", "K".repeat(128)));
        }
    }
}
