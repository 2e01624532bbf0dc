//! Rooms for clients of the Centrifuge protocol, over real sockets: the contract of rooms, recovery, access, endings
//! and hostile input, over all transports and both encodings. What text clients say and hear is compared with it.

// The contract of rooms: order, isolation, joining and leaving.
mod contract;
// Many commands in one frame, and limits.
mod pipelined;
// Text and JSON clients in one room.
mod mixed;
// Presence, its events, and history.
mod reading;
// Nicks of guests.
mod nick;
// Recovery, case by case.
mod recovery;
// Clients that are cut while others publish, compared with the order of their rooms.
mod cut;
// Rooms that the server has clients join.
mod server_side;
// Connecting, tokens and rules.
mod access;
// Tokens that expire, and tokens of subscriptions.
mod expiry;
// Orders of the application.
mod orders;
// Ends of connections.
mod endings;
// Data that could break other members, and input that is no command.
mod hostile;

use harness::{Centrifuge, CentrifugeTransport, Client, Encoding, Transport, at_once};
use roomcast::config::{RuleSettings, Settings, Who};
use serde_json::{Value, json};

use crate::server::{Shape, TestServer};

/// Both encodings over WebSocket.
const ENCODINGS: [Encoding; 2] = [Encoding::Json, Encoding::Protobuf];

/// Every transport in every encoding.
const TRANSPORTS: [CentrifugeTransport; 5] = CentrifugeTransport::ALL;

/// Runs a behaviour over every transport, with one shard and worker and with several, and over TLS.
fn contract(behaviour: impl Fn(Shape, CentrifugeTransport) + Sync) {
    let cases = [Shape::ONE, Shape::MANY].into_iter().flat_map(|shape| TRANSPORTS.map(|transport| (shape, transport)));
    let over_tls =
        [CentrifugeTransport::WebSocket(Encoding::Json), CentrifugeTransport::HttpStream(Encoding::Protobuf)];
    let cases = cases.chain(over_tls.map(|transport| (Shape::OVER_TLS, transport)));
    at_once(cases, |(shape, transport)| behaviour(shape, transport));
}

/// Runs a behaviour that is no other with more shards over every transport.
fn over_all(behaviour: impl Fn(CentrifugeTransport) + Sync) {
    at_once(TRANSPORTS, behaviour);
}

/// Connects without a token.
#[track_caller]
fn connect(server: &TestServer, transport: CentrifugeTransport) -> Centrifuge {
    Centrifuge::connect_over(transport, server.http, None)
}

/// Connects and subscribes.
#[track_caller]
fn member(server: &TestServer, transport: CentrifugeTransport, room: &str) -> Centrifuge {
    let mut client = connect(server, transport);
    client.subscribe(room);
    client
}

/// Closes a connection. That of a WebSocket has left its rooms when this returns; a stream just breaks.
fn close(client: Centrifuge, transport: CentrifugeTransport) {
    match transport {
        CentrifugeTransport::WebSocket(_) => client.close(),
        _ => drop(client),
    }
}

/// A room has this many members, at once or, where a stream has just broken, soon.
#[track_caller]
fn expect_members(server: &TestServer, transport: CentrifugeTransport, room: &str, members: usize) {
    let mut watcher = Centrifuge::connect(server.http, None);
    match transport {
        CentrifugeTransport::WebSocket(_) => {
            assert_eq!(watcher.result("presence_stats", json!({ "channel": room }))["num_clients"], members);
        }
        _ => watcher.until_members(room, members),
    }
}

/// Rooms that begin with `quiet` retain nothing.
fn quiet_rooms(settings: &mut Settings) {
    settings.rules = vec![
        RuleSettings { history_messages: Some(0), ..RuleSettings::new("quiet*", Who::Anyone) },
        RuleSettings::new("*", Who::Anyone),
    ];
}

/// The text of a publication, however it was said.
#[track_caller]
fn text_of(data: &Value) -> &str {
    data.as_str().or(data["text"].as_str()).unwrap_or_else(|| panic!("{data} has no text"))
}

/// The code of an error.
#[track_caller]
fn code(error: &Value) -> u64 {
    error["code"].as_u64().unwrap_or_else(|| panic!("{error} has no code"))
}

/// A member of any kind, which says and hears texts.
enum Member {
    Text(Client),
    Sdk(Centrifuge),
}

impl Member {
    /// A member of every kind that there is.
    fn of_every_kind(server: &TestServer, room: &str) -> Vec<Self> {
        let text = Transport::ALL.map(|transport| Self::Text(Client::member(server, transport, room, "text")));
        text.into_iter().chain(TRANSPORTS.map(|transport| Self::Sdk(member(server, transport, room)))).collect()
    }

    fn say(&mut self, room: &str, text: &str) {
        match self {
            Self::Text(client) => client.send(text),
            Self::Sdk(client) => {
                client.send_command(json!({ "publish": { "channel": room, "data": { "text": text } } }));
            }
        }
    }

    /// The next text that is said in the room. A text client gets it with a label.
    #[track_caller]
    fn hear(&mut self, room: &str) -> String {
        match self {
            Self::Text(client) => {
                let line = client.line();
                let (label, text) = line.split_once("] ").unwrap_or_else(|| panic!("{line} has no label"));
                assert!(label.starts_with('['), "{line}");
                text.to_owned()
            }
            Self::Sdk(client) => loop {
                let object: Value = serde_json::from_str(&client.object()).expect("JSON");
                let push = &object["push"];
                if push["pub"].is_object() {
                    assert_eq!(push["channel"], room);
                    return text_of(&push["pub"]["data"]).to_owned();
                }
                assert_eq!(object["publish"], json!({}), "{object}");
            },
        }
    }
}
