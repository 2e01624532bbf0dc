//! A stream that behaves as badly as NATS may: it is late, answers for what it has lost, is made anew and forgets. It keeps
//! all that it ever had for the checks.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant;

use roomcast::backplane::entry::{Entry, Proposal, ProposalError, Publish};
use roomcast::broker::KEY_AGE_MAX;
use roomcast::protocol::names::RoomName;
use roomcast::protocol::position::{Epoch, Offset, UnixMillis};
use roomcast::protocol::publication::Data;

/// The places of one envelope.
const PLACES: u64 = 4_096;

/// The most entries that are kept in runs in which the stream forgets.
const KEPT: usize = 12;

/// An entry of the stream.
pub struct Stored {
    pub offset: Offset,
    pub stored_at: UnixMillis,
    pub entry: Entry,
    /// The node, the shard and the number of the proposal.
    pub origin: (usize, usize, u64),
    /// The envelope ends with it.
    pub is_last: bool,
}

/// The stream from the time when it was made until it is made anew.
pub struct Life {
    pub epoch: Epoch,
    pub entries: Vec<Stored>,
    /// The first entry that can still be had.
    pub first_kept: usize,
    sequence: u64,
}

/// All lives of the stream, the newest last.
pub struct Stream {
    pub lives: Vec<Life>,
    pub forgets: bool,
    /// Texts whose publishers were told that they are not in the stream.
    pub refused: BTreeSet<String>,
    /// Texts whose publishers were told that they may be in the stream.
    pub unknown: BTreeSet<String>,
}

/// An envelope that is on its way.
struct InFlight {
    proposals: Vec<Proposal>,
    is_unknown: bool,
    stored_in: Option<usize>,
}

/// The proposals of one node on their way to the stream.
#[derive(Default)]
pub struct Outbound {
    collected: VecDeque<Proposal>,
    in_flight: Option<InFlight>,
    /// The node cannot reach NATS.
    pub is_down: bool,
}

/// The offset and the line of each publication, by room.
pub type Rooms = BTreeMap<RoomName, Vec<(Offset, String)>>;

/// A proposal that has no place, or has none yet.
pub type Failed = (usize, u64, ProposalError);

/// The text of a publication, with which it is named in the checks.
pub fn text(publish: &Publish) -> &str {
    let Data::Text(text) = &publish.data else { panic!("all clients speak text") };
    text
}

impl Life {
    fn new(number: u64) -> Self {
        let epoch = Epoch::new(UnixMillis(1_000 + number), number);
        Self { epoch, entries: Vec::new(), first_kept: 0, sequence: 1 }
    }

    /// The last offset of which nothing can be had any more.
    pub fn horizon(&self) -> Offset {
        let first = self.entries.get(self.first_kept).map_or(self.sequence * PLACES, |first| first.offset.0);
        Offset(first - 1)
    }

    /// Up to where everything is stored.
    pub fn end(&self) -> Offset {
        Offset(self.sequence * PLACES - 1)
    }

    /// What the rooms get: the offset and the line of each publication, in order, without the repeats of a key.
    pub fn rooms(&self) -> Rooms {
        let (mut rooms, mut keys) = (BTreeMap::<_, Vec<_>>::new(), BTreeMap::new());
        for Stored { offset, stored_at, entry, .. } in &self.entries {
            let Entry::Publish(publish) = entry else { continue };
            if let Some(key) = &publish.key {
                let first = *keys.entry((publish.room.clone(), key.as_str().to_owned())).or_insert(*stored_at);
                let is_first = first == *stored_at;
                assert!(is_first || u128::from(stored_at.0 - first.0) < KEY_AGE_MAX.as_millis(), "runs are short");
                if !is_first {
                    continue;
                }
            }
            let line = format!("[{}] {}", publish.publisher.label.as_str(), text(publish));
            rooms.entry(publish.room.clone()).or_default().push((*offset, line));
        }
        rooms
    }

    /// The last removal of what a room retains.
    pub fn removed(&self, room: &RoomName) -> Offset {
        let mut removals = self.entries.iter().filter(|stored| stored.entry == Entry::RemoveHistory(room.clone()));
        removals.next_back().map_or(Offset(0), |stored| stored.offset)
    }
}

impl Stream {
    pub fn new(forgets: bool) -> Self {
        Self { lives: vec![Life::new(0)], forgets, refused: BTreeSet::new(), unknown: BTreeSet::new() }
    }

    pub fn life(&self) -> &Life {
        self.lives.last().expect("there is always one")
    }

    /// The stream is lost, and another one takes its place.
    pub fn make_anew(&mut self) {
        self.lives.push(Life::new(self.lives.len() as u64));
    }

    fn store(&mut self, node: usize, stored_at: UnixMillis, proposals: &[Proposal]) {
        let forgets = self.forgets;
        let life = self.lives.last_mut().expect("there is always one");
        for (place, proposal) in (0..).zip(proposals) {
            life.entries.push(Stored {
                offset: Offset(life.sequence * PLACES + place),
                // No two entries have the same time.
                stored_at: UnixMillis(stored_at.0.max(life.entries.last().map_or(0, |last| last.stored_at.0 + 1))),
                entry: proposal.entry.clone(),
                origin: (node, proposal.shard, proposal.number),
                is_last: place as usize + 1 == proposals.len(),
            });
        }
        life.sequence += 1;
        if forgets {
            life.first_kept = life.entries.len().saturating_sub(KEPT).max(life.first_kept);
            // Whole envelopes are forgotten.
            while life.first_kept > 0 && !life.entries[life.first_kept - 1].is_last {
                life.first_kept += 1;
            }
        }
    }

    fn note_failed(&mut self, proposal: &Proposal, error: ProposalError) -> Failed {
        if let Entry::Publish(publish) = &proposal.entry {
            let texts = if error == ProposalError::Unavailable { &mut self.refused } else { &mut self.unknown };
            texts.insert(text(publish).to_owned());
        }
        (proposal.shard, proposal.number, error)
    }
}

impl Outbound {
    pub fn collect(&mut self, proposal: Proposal) {
        self.collected.push_back(proposal);
    }

    /// Takes the next envelope on its way.
    pub fn send(&mut self, entries_max: usize) {
        if self.in_flight.is_none() && !self.collected.is_empty() && !self.is_down {
            let proposals = self.collected.drain(..entries_max.min(self.collected.len())).collect();
            self.in_flight = Some(InFlight { proposals, is_unknown: false, stored_in: None });
        }
    }

    /// The envelope that is on its way is stored, once in each life of the stream.
    pub fn store(&mut self, node: usize, now: UnixMillis, stream: &mut Stream) {
        let life = stream.lives.len() - 1;
        if let Some(in_flight) = self.in_flight.as_mut().filter(|in_flight| in_flight.stored_in != Some(life)) {
            stream.store(node, now, &in_flight.proposals);
            in_flight.stored_in = Some(life);
        }
    }

    /// The node has seen an envelope of its own, which has these entries. Returns whether it knows them as proposals: it
    /// may know them no more if their publishers were told something already.
    pub fn seen(&mut self, entries: &[Stored], knows_unknown: bool) -> bool {
        let first = &entries[0];
        let is_this = |sent: &Proposal| (sent.shard, sent.number) == (first.origin.1, first.origin.2);
        let seen = self.in_flight.take_if(|in_flight| is_this(&in_flight.proposals[0]));
        seen.is_some_and(|seen| !seen.is_unknown || knows_unknown)
    }

    /// The node cannot reach NATS: nothing of what waits is sent, and of what was sent nothing is known.
    pub fn fail(&mut self, stream: &mut Stream) -> Vec<Failed> {
        let mut failed = Vec::new();
        if let Some(in_flight) = self.in_flight.as_mut().filter(|in_flight| !in_flight.is_unknown) {
            in_flight.is_unknown = true;
            failed.extend(in_flight.proposals.iter().map(|sent| stream.note_failed(sent, ProposalError::Unknown)));
        }
        failed.extend(self.collected.drain(..).map(|kept| stream.note_failed(&kept, ProposalError::Unavailable)));
        failed
    }

    /// The node can never see its envelope any more, since the stream has forgotten it.
    pub fn lose(&mut self, stream: &mut Stream) -> Vec<Failed> {
        let life = stream.lives.len() - 1;
        let Some(lost) = self.in_flight.take_if(|in_flight| in_flight.stored_in == Some(life)) else {
            return Vec::new();
        };
        let told = lost.proposals.iter().filter(|_| !lost.is_unknown);
        told.map(|sent| stream.note_failed(sent, ProposalError::Unknown)).collect()
    }

    pub fn is_idle(&self) -> bool {
        self.collected.is_empty() && self.in_flight.is_none()
    }
}

/// A time as the stream has it.
pub fn stored_at(started: (Instant, UnixMillis), now: Instant) -> UnixMillis {
    UnixMillis(started.1.0 + now.saturating_duration_since(started.0).as_millis() as u64)
}
