//! A member that is cut again and again, comes back to the next node with its position, and notes what it hears.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use harness::{EventStream, NodeAddress, Random, Transport, WELCOME};
use serde_json::{Value, json};

use crate::checker::{Heard, Place};
use crate::wire::{Wire, cut};

/// The pause before a member that was cut comes back.
const PAUSE: Duration = Duration::from_millis(50);

/// A text client asks for its position after this many messages.
const POSITION_EVERY: usize = 16;

/// How a member is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The text dialect.
    Text(Transport),
    /// The Centrifuge protocol in JSON over WebSocket.
    Sdk,
    /// The room as server-sent events.
    Events,
}

impl Kind {
    pub const ALL: [Self; 4] = [Self::Text(Transport::Tcp), Self::Text(Transport::WebSocket), Self::Sdk, Self::Events];
}

/// What members do when nothing cuts them.
#[derive(Clone, Copy, Debug)]
pub enum Staying {
    /// They stay.
    Always,
    /// They cut their connection themselves, after fewer messages than this.
    Messages(usize),
}

/// One member.
pub struct Listener {
    kind: Kind,
    room: String,
    /// The text that ends it.
    last: String,
    nodes: Vec<NodeAddress>,
    /// The node that it is connected to.
    node: usize,
    staying: Staying,
    random: Random,
    /// The place from which it resumes.
    resume: Option<Place>,
    /// A text client: what it has heard behind that place.
    behind: Vec<String>,
    /// What of that comes once more in a replay.
    repeated: VecDeque<String>,
    /// It has joined, and whether it has recovered is not known yet.
    is_joining: bool,
    /// Messages until it cuts its connection.
    left: usize,
    heard: Vec<Heard>,
}

impl Listener {
    pub fn new(kind: Kind, room: &str, nodes: &[NodeAddress], node: usize, last: &str, staying: Staying) -> Self {
        Self {
            kind,
            room: room.to_owned(),
            last: last.to_owned(),
            nodes: nodes.to_vec(),
            node,
            staying,
            random: Random(node as u64 * 10 + Kind::ALL.iter().position(|&one| one == kind).unwrap_or(0) as u64),
            resume: None,
            behind: Vec::new(),
            repeated: VecDeque::new(),
            is_joining: false,
            left: 0,
            heard: Vec::new(),
        }
    }

    /// Listens until the last text. Counts what it hears.
    pub fn listen(mut self, count: &AtomicUsize) -> Vec<Heard> {
        while !self.has_heard_last() {
            self.left = match self.staying {
                Staying::Always => usize::MAX,
                Staying::Messages(most) => 1 + self.random.below(most),
            };
            // Ends with the last text, or where it is cut.
            let _ = match self.kind {
                Kind::Text(transport) => self.text(transport, count),
                Kind::Sdk => self.sdk(count),
                Kind::Events => self.events(count),
            };
            self.node = (self.node + 1) % self.nodes.len();
            thread::sleep(PAUSE);
        }
        self.heard
    }

    fn has_heard_last(&self) -> bool {
        matches!(self.heard.last(), Some(Heard::Said { text, .. }) if *text == self.last)
    }

    fn text(&mut self, transport: Transport, count: &AtomicUsize) -> io::Result<()> {
        let mut wire = Wire::text(self.nodes[self.node], transport)?;
        let since = self.resume.as_ref().map(|(epoch, offset)| format!(" since={epoch}-{offset:016}"));
        wire.send(&format!("JOIN {}{}", self.room, since.unwrap_or_default()))?;
        wire.send("POSITION")?;
        let joined = format!("Joined {}", self.room);
        while !self.has_heard_last() {
            let line = wire.receive()?;
            if line == WELCOME {
                continue;
            }
            if line == joined {
                self.is_joining = true;
                continue;
            }
            self.has_come(line != "GAP unknown");
            if let Some(position) = line.strip_prefix("Position ") {
                self.is_at(place(position));
            } else if let Some((label, text)) = line.split_once("] ") {
                assert!(label.starts_with('['), "{line}");
                self.hears_text(text, count)?;
                if !self.behind.is_empty() && self.behind.len().is_multiple_of(POSITION_EVERY) {
                    wire.send("POSITION")?;
                }
            } else if line != "GAP unknown" {
                // Why the server closes; that it cannot now; or, shortly before it closes, that a room whose stream has
                // begun anew knows no members of before.
                assert!(line.starts_with("ERR ") || line == "Join a room first", "{line}");
                return Err(cut());
            }
        }
        Ok(())
    }

    /// Notes a join, once it is known what comes of its position.
    fn has_come(&mut self, is_whole: bool) {
        if !std::mem::take(&mut self.is_joining) {
            assert!(is_whole, "a gap in the middle");
            return;
        }
        let is_recovered = self.resume.is_some() && is_whole;
        self.heard.push(Heard::Came { is_recovered });
        self.repeated = if is_recovered { self.behind.iter().cloned().collect() } else { VecDeque::new() };
        if !is_recovered {
            self.behind.clear();
            self.resume = None;
        }
    }

    /// Notes a place that it was told. A node that is behind the one before tells one ahead of what comes once more.
    fn is_at(&mut self, place: Place) {
        self.heard.push(match self.repeated.front() {
            None => Heard::Position(place.clone()),
            Some(next) => Heard::Behind { place: place.clone(), next: next.clone() },
        });
        self.resume = Some(place);
        self.behind = self.repeated.iter().cloned().collect();
    }

    fn hears_text(&mut self, text: &str, count: &AtomicUsize) -> io::Result<()> {
        if let Some(repeated) = self.repeated.pop_front() {
            assert_eq!(text, repeated, "what comes once more is what came before, and all of it");
            return Ok(());
        }
        self.behind.push(text.to_owned());
        self.hears(text, None, count)
    }

    fn hears(&mut self, text: &str, place: Option<Place>, count: &AtomicUsize) -> io::Result<()> {
        self.resume = place.clone().or(self.resume.take());
        self.heard.push(Heard::Said { text: text.to_owned(), place });
        count.fetch_add(1, Ordering::Release);
        self.left = self.left.saturating_sub(1);
        // Before it knows its place it could not resume.
        if self.left == 0 && self.resume.is_some() { Err(cut()) } else { Ok(()) }
    }

    fn sdk(&mut self, count: &AtomicUsize) -> io::Result<()> {
        let mut wire = Wire::centrifuge(self.nodes[self.node])?;
        let subscribe = match &self.resume {
            None => json!({ "channel": self.room }),
            Some((epoch, offset)) => {
                json!({ "channel": self.room, "recover": true, "epoch": epoch, "offset": offset })
            }
        };
        wire.send(&format!("{}\n{}", json!({ "id": 1, "connect": {} }), json!({ "id": 2, "subscribe": subscribe })))?;
        while !self.has_heard_last() {
            for object in wire.receive()?.lines() {
                let object: Value = serde_json::from_str(object).expect("JSON");
                if object == json!({}) {
                    wire.send("{}")?;
                } else if object["subscribe"].is_object() {
                    self.has_subscribed(&object["subscribe"], count)?;
                } else if object["push"]["pub"].is_object() {
                    self.hears_publication(&object["push"]["pub"], count)?;
                } else if object["connect"].is_null() {
                    // A refusal, or why the server closes.
                    assert!(object["error"].is_object() || object["push"].is_object(), "{object}");
                    return Err(cut());
                }
            }
        }
        Ok(())
    }

    fn has_subscribed(&mut self, result: &Value, count: &AtomicUsize) -> io::Result<()> {
        self.is_joining = true;
        self.has_come(self.resume.is_none() || result["recovered"] == true);
        let epoch = result["epoch"].as_str().expect("an epoch").to_owned();
        match &self.resume {
            Some((before, _)) => assert_eq!(*before, epoch, "it has recovered in another epoch"),
            None => self.is_at((epoch, result["offset"].as_u64().unwrap_or(0))),
        }
        let publications = result["publications"].as_array().map_or(&[][..], Vec::as_slice);
        publications.iter().try_for_each(|publication| self.hears_publication(publication, count))
    }

    fn hears_publication(&mut self, publication: &Value, count: &AtomicUsize) -> io::Result<()> {
        let (epoch, _) = self.resume.clone().expect("a place since it has joined");
        let place = (epoch, publication["offset"].as_u64().expect("an offset"));
        self.hears(text_of(&publication["data"]), Some(place), count)
    }

    fn events(&mut self, count: &AtomicUsize) -> io::Result<()> {
        let path = format!("/rooms/{}?live=sse", self.room);
        let last = self.resume.as_ref().map(|(epoch, offset)| format!("Last-Event-ID: {epoch}-{offset:016}\r\n"));
        let mut events = EventStream::try_open(self.nodes[self.node].http, &path, &last.unwrap_or_default())?;
        self.is_joining = true;
        while !self.has_heard_last() {
            let event = events.next_event().ok_or_else(cut)?;
            if event.event == "closed" {
                return Err(cut());
            }
            self.has_come(event.event != "gap");
            if event.event == "message" {
                let publication: Value = serde_json::from_str(&event.data).expect("JSON");
                assert_eq!(publication["position"], events.last_event_id.as_str());
                self.hears(text_of(&publication["data"]), Some(place(&events.last_event_id)), count)?;
            }
        }
        Ok(())
    }
}

/// The text of a publication.
fn text_of(data: &Value) -> &str {
    data["text"].as_str().expect("a text")
}

/// The place that a position names. Only a test may look into one.
pub fn place(position: &str) -> Place {
    let (epoch, offset) = position.split_once('-').expect("a position");
    (epoch.to_owned(), offset.parse().expect("an offset"))
}
