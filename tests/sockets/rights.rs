//! Rules of rooms: who may join, publish, read history and see who is in; and rights that are lost.

use harness::{Client, Transport};
use roomcast::config::{RuleSettings, Settings, Who};
use serde_json::json;

use crate::access::{Guarded, token, token_of};
use crate::server::{Shape, contract};

fn team_rules(settings: &mut Settings) {
    settings.rules = vec![
        RuleSettings { publish: Some(Who::Token), ..RuleSettings::new("team:*", Who::Token) },
        RuleSettings {
            name: Some("news".into()),
            publish: Some(Who::Nobody),
            ..RuleSettings::new("news", Who::Anyone)
        },
        RuleSettings {
            history: Some(Who::User),
            presence: Some(Who::Nobody),
            ..RuleSettings::new("open", Who::Anyone)
        },
        RuleSettings::new("members", Who::User),
    ];
}

#[test]
fn what_a_rule_does_not_give_is_refused_with_its_name_and_the_client_stays_where_it_is() {
    contract(|shape, transport| {
        let Guarded { server, folder: _folder } = Guarded::start(shape, team_rules);
        let mut client = Client::connect(&server, transport);
        client.join("news");
        assert_eq!(client.request("hello"), r#"ERR forbidden publish "news": the rule "news" lets nobody"#);
        for room in ["team:a", "members", "elsewhere"] {
            let answer = client.request(&format!("JOIN {room}"));
            assert!(answer.starts_with(&format!(r#"ERR forbidden join "{room}": "#)), "{answer}");
        }
        // It is where it was.
        client.send("WHO");
        assert!(client.line().starts_with("Members of news: "));
        client.join("open");
        for command in ["WHO", "HISTORY"] {
            let answer = client.request(command);
            assert!(answer.starts_with("ERR forbidden "), "{answer}");
        }
        client.send("said");
        assert!(client.line().ends_with("] said"));
        client.send(&format!("AUTH {}", token_of("alice")));
        client.expect("Authenticated as alice");
        client.send("HISTORY 1");
        assert!(client.line().ends_with("] said"));
        assert!(client.line().starts_with("END HISTORY "));
    });
}

#[test]
fn a_client_resumes_only_where_it_may_read_history_and_stays_where_it_is_otherwise() {
    for transport in Transport::ALL {
        let Guarded { server, folder: _folder } = Guarded::start(Shape::ONE, team_rules);
        let mut client = Client::connect(&server, transport);
        client.join("open");
        let position = client.request("POSITION").replace("Position ", "");
        client.join("news");
        let answer = client.request(&format!("JOIN open since={position}"));
        assert!(answer.starts_with(r#"ERR forbidden history "open": "#), "{answer}");
        client.send("WHO");
        assert!(client.line().starts_with("Members of news: "));
    }
}

#[test]
fn a_token_gives_rights_in_the_rooms_that_it_names_and_no_others() {
    for transport in Transport::ALL {
        let Guarded { server, folder: _folder } = Guarded::start(Shape::MANY, team_rules);
        let mut client = Client::connect(&server, transport);
        let claims = json!({ "sub": "alice", "rooms": { "team:a*": ["join", "publish"], "team:b": ["join"] } });
        assert_eq!(client.request(&format!("AUTH {}", token(&claims))), "Authenticated as alice");
        client.join("team:a1");
        client.send("hello");
        client.expect("[alice] hello");
        client.join("team:b");
        assert!(client.request("hello").starts_with(r#"ERR forbidden publish "team:b": "#));
        assert!(client.request("JOIN team:c").starts_with(r#"ERR forbidden join "team:c": "#));
    }
}

#[test]
fn a_right_that_the_next_token_does_not_give_ends_the_membership() {
    contract(|shape, transport| {
        let Guarded { server, folder: _folder } = Guarded::start(shape, team_rules);
        let token_with = |rights: &[&str]| token(&json!({ "sub": "alice", "rooms": { "team:a": rights } }));
        let mut client = Client::connect(&server, transport);
        assert_eq!(client.request(&format!("AUTH {}", token_with(&["join", "publish"]))), "Authenticated as alice");
        client.join("team:a");
        // Only the right to publish is lost.
        client.send(&format!("AUTH {}", token_with(&["join"])));
        client.send("not heard");
        client.expect("Authenticated as alice");
        assert!(client.line().starts_with(r#"ERR forbidden publish "team:a": "#));
        // Everything is lost, with a message right behind.
        client.send(&format!("AUTH {}", token_with(&[])));
        client.send("not heard");
        client.expect("Authenticated as alice");
        assert!(client.line().starts_with(r#"ERR forbidden join "team:a": "#));
        client.expect("Left room");
        client.expect("Join a room first");
    });
}

#[test]
fn a_client_does_nothing_more_in_a_room_that_its_next_token_takes_away() {
    for shape in [Shape::ONE, Shape::MANY] {
        // By default, members may publish.
        let Guarded { server, folder: _folder } = Guarded::start(shape, |settings| {
            settings.rules = vec![RuleSettings::new("team:*", Who::Token)];
        });
        let member = token(&json!({ "sub": "alice", "rooms": { "team:a": ["join"] } }));
        let mut client = Client::connect(&server, Transport::Tcp);
        assert_eq!(client.request(&format!("AUTH {member}")), "Authenticated as alice");
        client.join("team:a");
        client.send(&format!("AUTH {}\nnot heard", token_of("alice")));
        client.expect("Authenticated as alice");
        assert!(client.line().starts_with(r#"ERR forbidden join "team:a": "#));
        client.expect("Left room");
        client.expect("Join a room first");
    }
}

#[test]
fn a_list_shows_the_rooms_that_the_client_may_know_of() {
    let Guarded { server, folder: _folder } = Guarded::start(Shape::MANY, |settings| {
        settings.rules = vec![
            RuleSettings::new("open*", Who::Anyone),
            RuleSettings::new("members*", Who::User),
            RuleSettings::new("team*", Who::Token),
        ];
    });
    let claims = json!({ "sub": "alice", "rooms": { "team*": ["join"] } });
    let mut members = Vec::new();
    for room in ["open-1", "members-1", "team-1"] {
        let mut member = Client::connect(&server, Transport::Tcp);
        assert_eq!(member.request(&format!("AUTH {}", token(&claims))), "Authenticated as alice");
        member.join(room);
        members.push(member);
    }
    let mut guest = Client::connect(&server, Transport::WebSocket);
    assert_eq!(guest.request("LIST"), r#"Rooms: ["open-1"]"#);
    assert_eq!(members[0].request("LIST"), r#"Rooms: ["members-1", "open-1"]"#);
    assert_eq!(members[2].request("LIST"), r#"Rooms: ["members-1", "open-1", "team-1"]"#);
}

#[test]
fn without_rules_a_room_that_begins_with_a_dollar_needs_a_token_and_is_in_nobody_elses_list() {
    contract(|shape, transport| {
        let Guarded { server, folder: _folder } = Guarded::start(shape, |_| {});
        let mut guest = Client::connect(&server, transport);
        let refusal = r#"ERR forbidden join "$a": the rule "rooms that begin with $" lets only tokens that grant it"#;
        assert_eq!(guest.request("JOIN $a"), refusal);
        guest.join("a");
        let mut member = Client::connect(&server, transport);
        let channels = token(&json!({ "sub": "alice", "channels": ["$a"] }));
        assert_eq!(member.request(&format!("AUTH {channels}")), "Authenticated as alice");
        member.join("$a");
        member.send("hello");
        member.expect("[alice] hello");
        assert_eq!(guest.request("LIST"), r#"Rooms: ["a"]"#);
        assert_eq!(member.request("LIST"), r#"Rooms: ["$a", "a"]"#);
    });
}
