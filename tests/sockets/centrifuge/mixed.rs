//! Text and JSON clients in one room, as the protocol document says.

use harness::{Centrifuge, Client, Encoding, Transport};
use serde_json::json;

use super::{close, connect, contract, expect_members, member, over_all};
use crate::access::{Guarded, token, token_of};
use crate::server::{Shape, TestServer};

/// The label of the client that has published the line, and what it says.
#[track_caller]
fn labelled(line: &str) -> (&str, &str) {
    line.strip_prefix('[').and_then(|line| line.split_once("] ")).unwrap_or_else(|| panic!("{line} has no label"))
}

#[test]
fn what_a_text_client_says_is_an_object_with_its_text_and_its_name_is_in_conn_info() {
    contract(|shape, transport| {
        let server = TestServer::plain(shape);
        let mut client = member(&server, transport, "a");
        for text in Transport::ALL {
            let mut text = Client::member(&server, text, "a", "alice");
            for said in ["hello", "say \"it\" \\ \u{e4}\u{1f600} \u{2028}", "tab\there", "{\"text\":\"json\"}"] {
                text.send(&format!("SAY {said}"));
                assert_eq!(text.line(), format!("[alice] {said}"));
                let push = client.push();
                assert_eq!(push["pub"]["data"], json!({ "text": said }));
                assert_eq!(push["pub"]["info"]["conn_info"], json!({ "name": "alice" }));
                assert_eq!(push["pub"]["info"]["user"], "");
            }
            text.name("bob");
            text.send("renamed");
            assert_eq!(text.line(), "[bob] renamed");
            assert_eq!(client.push()["pub"]["info"]["conn_info"], json!({ "name": "bob" }));
            let presence = client.result("presence", json!({ "channel": "a" }));
            let members = presence["presence"].as_object().expect("an object");
            assert!(members.values().any(|info| info["conn_info"] == json!({ "name": "bob" })), "{presence}");
        }
    });
}

#[test]
fn a_text_client_sees_the_text_of_json_or_the_string_that_it_is_or_else_json_on_one_line() {
    contract(|shape, transport| {
        let server = TestServer::plain(shape);
        let mut texts = Transport::ALL.map(|text| Client::member(&server, text, "a", "text"));
        let mut client = member(&server, transport, "a");
        for (published, shown) in [
            (r#"{"text":"hello"}"#, "hello"),
            (r#"{ "n": 1, "text": "with more" }"#, "with more"),
            (r#""a string""#, "a string"),
            (r#""\u0041\u00e4 \ud83d\ude00""#, "A\u{e4} \u{1f600}"),
            (r#"{"n": 1}"#, r#"{"n":1}"#),
            ("{\n  \"list\" : [1,\t2, { }],\r\n \"s\": \"a b\" }", r#"{"list":[1,2,{}],"s":"a b"}"#),
            (r#"{"text":5}"#, r#"{"text":5}"#),
            (r#"{"text":null}"#, r#"{"text":null}"#),
            (r#"["text"]"#, r#"["text"]"#),
            ("1.50", "1.50"),
            ("true", "true"),
            ("null", "null"),
            (r#""""#, ""),
        ] {
            // The harness ends a command in Protobuf with its line.
            let published = match transport.encoding() {
                Encoding::Json => published.to_owned(),
                Encoding::Protobuf => published.replace(['\n', '\r'], " "),
            };
            client.publish("a", published);
            client.push();
            for text in &mut texts {
                let line = text.line();
                let (label, said) = labelled(&line);
                assert!(label.starts_with("client-"), "{line}");
                assert_eq!(said, shown);
            }
        }
    });
}

#[test]
fn line_breaks_and_control_characters_in_a_string_forge_no_lines() {
    contract(|shape, transport| {
        let server = TestServer::plain(shape);
        let mut texts = Transport::ALL.map(|text| Client::member(&server, text, "a", "text"));
        let mut client = member(&server, transport, "a");
        client.publish("a", r#""x""#);
        client.push();
        let [line, same] = texts.each_mut().map(|text| text.line());
        assert_eq!(line, same);
        let label = labelled(&line).0;
        let many_lines = format!("\"{}\"", "\\n[x] forged".repeat(64));
        for (published, lines) in [
            (r#""one\ntwo""#, vec!["one", "two"]),
            (r#"{"text":"one\n\n[root] forged"}"#, vec!["one", "", "[root] forged"]),
            // What a terminal would obey is shown with its escapes.
            (r#""one\rtwo""#, vec![r#""one\rtwo""#]),
            (r#"{"text":"\u001b[2J"}"#, vec![r#"{"text":"\u001b[2J"}"#]),
            (r#""\u0000""#, vec![r#""\u0000""#]),
            ("\"\u{9b}2J\u{7f}\"", vec![r#""\u009b2J\u007f""#]),
            ("{\"\u{85}\":\"\u{9b}2J\"}", vec![r#"{"\u0085":"\u009b2J"}"#]),
            (&many_lines, vec![&many_lines]),
        ] {
            client.publish("a", published);
            client.object();
            let shown: Vec<String> = lines.iter().map(|line| format!("[{label}] {line}")).collect();
            texts[0].expect(&shown[0]);
            shown[1..].iter().for_each(|line| texts[0].expect(line));
            texts[1].expect(&shown.join("\n"));
        }
        texts.iter_mut().for_each(Client::expect_nothing);
    });
}

#[test]
fn a_publication_that_is_too_long_for_clients_that_read_lines_is_refused() {
    contract(|shape, transport| {
        let server = TestServer::plain(shape);
        let mut text = Client::member(&server, Transport::Tcp, "a", "text");
        let mut client = member(&server, transport, "a");
        client.publish("a", r#""x""#);
        client.push();
        let label = labelled(&text.line()).0.to_owned();
        let label_bytes = format!("[{label}] ").len();
        let lines = |bytes: usize| format!("\"{}\"", ["x".repeat(bytes).as_str(); 64].join("\\n"));
        // With the label in front of each line; with the escapes of what a terminal obeys.
        for (data, bytes) in [
            (lines(1_015), 64 * (1_015 + label_bytes) + 63),
            (format!("{{\"a\":\"{}\"}}", "\u{7f}".repeat(20_000)), 120_008 + label_bytes),
        ] {
            let error = client.error("publish", format!("{{\"channel\":\"a\",\"data\":{data}}}"));
            let said = format!("limit exceeded: message of {bytes} bytes with its label exceeds 65536");
            assert_eq!((&error["code"], error["message"].as_str()), (&json!(106), Some(&*said)));
        }
        client.publish("a", lines(1_000));
        client.push();
        (0..64).for_each(|_| text.expect(&format!("[{label}] {}", "x".repeat(1_000))));
        text.expect_nothing();
    });
}

#[test]
fn the_label_of_a_client_is_its_tokens_name_or_its_user_or_its_number() {
    over_all(|transport| {
        let Guarded { server, folder: _folder } = Guarded::start(Shape::MANY, |_| {});
        let mut text = Client::connect(&server, Transport::Tcp);
        text.join("a");
        let named = token(&json!({ "sub": "user-7", "name": "alice", "info": { "team": 1 } }));
        for (token, label) in [(Some(named), "alice"), (Some(token_of("bob")), "bob"), (None, "client-")] {
            let mut client = Centrifuge::connect_over(transport, server.http, token.as_deref());
            client.subscribe("a");
            client.publish("a", r#""hello""#);
            let line = text.line();
            let (found, _) = labelled(&line);
            match token {
                Some(_) => assert_eq!(found, label),
                None => assert!(found.starts_with(label), "{line}"),
            }
            let push = client.push();
            match label {
                "alice" => {
                    assert_eq!(push["pub"]["info"]["user"], "user-7");
                    assert_eq!(push["pub"]["info"]["conn_info"], json!({ "team": 1 }));
                }
                "bob" => assert_eq!(push["pub"]["info"]["user"], "bob"),
                _ => assert_eq!(push["pub"]["info"]["user"], ""),
            }
            assert_eq!(push["pub"]["info"]["client"], client.connected["client"]);
            close(client, transport);
        }
    });
}

#[test]
fn who_and_list_see_clients_of_json_and_presence_sees_those_of_text() {
    contract(|shape, transport| {
        let Guarded { server, folder: _folder } = Guarded::start(shape, |_| {});
        let mut text = Client::connect(&server, Transport::WebSocket);
        assert_eq!(text.request(&format!("AUTH {}", token_of("alice"))), "Authenticated as alice");
        text.join("a");
        let mut client = Centrifuge::connect_over(transport, server.http, Some(&token_of("bob")));
        client.subscribe("a");
        client.subscribe("b");
        let mut guest = connect(&server, transport);
        guest.subscribe("c");
        assert_eq!(text.request("WHO"), r#"Members of a: ["alice", "bob"]"#);
        assert_eq!(text.request("LIST"), r#"Rooms: ["a", "b", "c"]"#);
        let presence = client.result("presence", json!({ "channel": "a" }));
        let mut users: Vec<&str> = presence["presence"]
            .as_object()
            .expect("an object")
            .iter()
            .map(|(name, info)| {
                assert_eq!(info["client"], name.as_str());
                info["user"].as_str().expect("a user")
            })
            .collect();
        users.sort_unstable();
        assert_eq!(users, ["alice", "bob"]);
        close(client, transport);
        close(guest, transport);
        expect_members(&server, transport, "a", 1);
        expect_members(&server, transport, "b", 0);
        expect_members(&server, transport, "c", 0);
        assert_eq!(text.request("WHO"), r#"Members of a: ["alice"]"#);
        assert_eq!(text.request("LIST"), r#"Rooms: ["a"]"#);
    });
}

#[test]
fn a_text_client_gets_the_history_that_clients_of_json_have_made_and_they_get_its() {
    contract(|shape, transport| {
        let server = TestServer::plain(shape);
        let mut text = Client::member(&server, Transport::Tcp, "a", "alice");
        let mut client = member(&server, transport, "a");
        text.send("one");
        text.expect("[alice] one");
        client.push();
        client.publish("a", r#"{"text":"two"}"#);
        client.publish("a", r#"{"n":3}"#);
        let [two, three] = [(); 2].map(|()| text.line());
        text.send("HISTORY");
        text.expect("[alice] one");
        text.expect(&two);
        text.expect(&three);
        assert!(text.line().starts_with("END HISTORY "));
        let position = text.request("POSITION").replace("Position ", "");
        let history = client.result("history", json!({ "channel": "a", "limit": -1 }));
        let data: Vec<_> = history["publications"].as_array().expect("a list").iter().map(|one| &one["data"]).collect();
        assert_eq!(data, [&json!({ "text": "one" }), &json!({ "text": "two" }), &json!({ "n": 3 })]);
        // One position, in both forms.
        let (epoch, offset) = position.split_once('-').expect("a position");
        assert_eq!((history["epoch"].as_str(), history["offset"].as_u64()), (Some(epoch), offset.parse().ok()));
    });
}
