//! A publisher, which publishes one text after another, on the next node when it is cut, and notes what came of each.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use harness::{NodeAddress, Transport};
use serde_json::{Value, json};

use crate::checker::Outcome;
use crate::nodes::Backend;
use crate::wire::{Wire, cut};

/// The pause between two texts: the rate of the load.
const PACE: Duration = Duration::from_millis(20);

/// How it publishes.
#[derive(Clone, Copy, Debug)]
pub enum Way {
    /// As a member over TCP: its own text is the acknowledgement.
    Text,
    /// As a member over the Centrifuge protocol.
    Sdk,
    /// With the server API, and an idempotency key under which it repeats what was not acknowledged.
    Api,
}

impl Way {
    pub const ALL: [Self; 3] = [Self::Text, Self::Sdk, Self::Api];
}

/// The texts of one connection.
pub type Published = Vec<(String, Outcome)>;

/// One publisher.
pub struct Publisher {
    way: Way,
    name: String,
    room: String,
    nodes: Vec<NodeAddress>,
    /// The node that it is connected to.
    node: usize,
    key: String,
}

/// What one connection publishes, one text after another.
struct Texts<'a> {
    name: String,
    published: Published,
    /// Counts what is acknowledged.
    acknowledged: &'a AtomicUsize,
    /// Counts what is refused.
    refused: &'a AtomicUsize,
    /// Ends it.
    is_over: &'a AtomicBool,
}

impl Texts<'_> {
    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Acquire)
    }

    /// Calls `publish` with one text after another. A text is unknown until it returns.
    fn each(&mut self, mut publish: impl FnMut(&str) -> io::Result<Outcome>) -> io::Result<()> {
        for number in 0.. {
            if self.is_over() {
                break;
            }
            let text = format!("{} {number}", self.name);
            self.published.push((text.clone(), Outcome::Unknown));
            let outcome = publish(&text)?;
            match outcome {
                Outcome::Acknowledged(_) => _ = self.acknowledged.fetch_add(1, Ordering::Release),
                Outcome::Refused => _ = self.refused.fetch_add(1, Ordering::Release),
                Outcome::Unknown => {}
            }
            self.published.last_mut().expect("it was pushed").1 = outcome;
            thread::sleep(PACE);
        }
        Ok(())
    }
}

impl Publisher {
    pub fn new(way: Way, name: &str, room: &str, nodes: &[NodeAddress], node: usize, key: &str) -> Self {
        let (name, room, key) = (name.to_owned(), room.to_owned(), key.to_owned());
        Self { way, name, room, nodes: nodes.to_vec(), node, key }
    }

    /// Publishes until it is over. Returns what each connection has published.
    pub fn publish(
        mut self,
        acknowledged: &AtomicUsize,
        refused: &AtomicUsize,
        is_over: &AtomicBool,
    ) -> Vec<Published> {
        let mut connections = Vec::new();
        while !is_over.load(Ordering::Acquire) {
            let name = format!("{}.{}", self.name, connections.len());
            let mut texts = Texts { name, published: Vec::new(), acknowledged, refused, is_over };
            // Ends with the publisher, or where it is cut.
            let _ = match self.way {
                Way::Text => self.as_text_client(&mut texts),
                Way::Sdk => self.as_sdk(&mut texts),
                Way::Api => self.with_api(&mut texts),
            };
            connections.push(texts.published);
            self.node = (self.node + 1) % self.nodes.len();
            thread::sleep(PACE);
        }
        connections
    }

    fn as_text_client(&self, texts: &mut Texts<'_>) -> io::Result<()> {
        let name = texts.name.clone();
        let mut wire = Wire::text(self.nodes[self.node], Transport::Tcp)?;
        wire.send(&format!("NICK {name}\nJOIN {}", self.room))?;
        let joined = format!("Joined {}", self.room);
        while wire.receive()? != joined {}
        texts.each(|text| {
            wire.send(text)?;
            let own = format!("[{name}] {text}");
            loop {
                let line = wire.receive()?;
                if line == own {
                    return Ok(Outcome::Acknowledged(None));
                }
                if let Some(error) = line.strip_prefix("ERR ") {
                    return outcome_of_error(error);
                }
            }
        })
    }

    fn as_sdk(&self, texts: &mut Texts<'_>) -> io::Result<()> {
        let mut wire = Wire::centrifuge(self.nodes[self.node])?;
        let subscribe = json!({ "id": 2, "subscribe": { "channel": self.room } });
        wire.send(&format!("{}\n{subscribe}", json!({ "id": 1, "connect": {} })))?;
        reply(&mut wire, 2)?;
        let mut id = 2;
        texts.each(|text| {
            id += 1;
            let publish = json!({ "channel": self.room, "data": { "text": text } });
            wire.send(&json!({ "id": id, "publish": publish }).to_string())?;
            let reply = reply(&mut wire, id)?;
            match reply["error"]["message"].as_str() {
                None => Ok(Outcome::Acknowledged(None)),
                Some(_) => outcome_of_error(&reply["error"].to_string()),
            }
        })
    }

    /// Repeats each text under its key, on the next node where one cannot be reached, until it is acknowledged.
    fn with_api(&self, texts: &mut Texts<'_>) -> io::Result<()> {
        let is_over = texts.is_over;
        let mut nodes = self.nodes.iter().cycle().skip(self.node);
        let mut backend = Backend::new(*nodes.next().expect("a cycle"), &self.key);
        texts.each(|text| {
            let call = json!({ "channel": self.room, "data": { "text": text }, "idempotency_key": text });
            loop {
                match backend.try_call("publish", &call) {
                    Ok(answer) if answer["result"].is_object() => {
                        let epoch = answer["result"]["epoch"].as_str().expect("an epoch").to_owned();
                        let offset = answer["result"]["offset"].as_u64().expect("an offset");
                        return Ok(Outcome::Acknowledged(Some((epoch, offset))));
                    }
                    Ok(answer) => assert_eq!(answer["error"]["code"], 100, "{answer}"),
                    Err(_) => backend = Backend::new(*nodes.next().expect("a cycle"), &self.key),
                }
                if is_over.load(Ordering::Acquire) {
                    return Ok(Outcome::Unknown);
                }
                thread::sleep(PACE);
            }
        })
    }
}

/// The reply with this id. Other objects are passed over.
fn reply(wire: &mut Wire, id: u32) -> io::Result<Value> {
    loop {
        for object in wire.receive()?.lines() {
            let object: Value = serde_json::from_str(object).expect("JSON");
            if object == json!({}) {
                wire.send("{}")?;
            } else if object["id"] == id {
                return Ok(object);
            } else if object["push"]["disconnect"].is_object() {
                return Err(cut());
            }
        }
    }
}

/// What an error says about a text.
fn outcome_of_error(error: &str) -> io::Result<Outcome> {
    if error.starts_with("closed") {
        return Err(cut());
    }
    assert!(error.starts_with("unavailable") || error.contains("\"code\":100"), "{error}");
    Ok(if error.contains("may be published yet") { Outcome::Unknown } else { Outcome::Refused })
}
