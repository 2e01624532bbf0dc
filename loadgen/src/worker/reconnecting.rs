//! Members that lose their connection during the load and come back with their position. Some are cut on purpose, once
//! and by a reset at any byte of their input. Those never publish, so no message is lost on its way to the server.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use super::client::{Client, Stage};
use super::connecting::reason_of;
use super::resumption::CutStage;
use super::{Phase, Worker};
use crate::assignment::{Assignment, RoomGroup};
use crate::clock::Nanos;
use crate::comebacks::Comebacks;
use crate::dialect::{Dialect, Position};
use crate::latency::Latencies;
use crate::messages::{ReconnectResult, WorkerEvent};
use crate::reasons::add_reason;
use crate::workload::{CutFrom, Reconnect};

/// Maximum cuts, and maximum reconnects, before sockets are polled again.
const AT_ONCE_MAX: usize = 64;

/// The cuts and reconnects of one process.
pub struct Reconnects {
    /// What to do; `None` if no client is to be cut.
    reconnect: Option<Reconnect>,
    /// Whether clients come back that the server has disconnected.
    has_failover: bool,
    /// The clients to cut, in order of time.
    cuts: VecDeque<(Nanos, u32)>,
    /// The clients to reconnect.
    pub returns: BTreeSet<(Nanos, u32)>,
    /// When the server must have let in each client that comes back, and when that began to connect, in order of time.
    pub attempts: VecDeque<(Nanos, u32, Nanos)>,
    /// Clients that have lost their connection and may still come back.
    pub expected: u32,
    /// When the first client is cut.
    cuts_begin: Nanos,
    /// When the first client is due to reconnect.
    returns_begin: Nanos,
    /// When the last client of this process was back.
    all_back: Option<Nanos>,
    /// Whether the coordinator knows of that.
    is_told: bool,
    /// When the last client of all processes was back.
    all_back_everywhere: Nanos,
    pub result: ReconnectResult,
    pub comebacks: Comebacks,
    times: Latencies,
    connects: Latencies,
    beside_before: Latencies,
    beside_during: Latencies,
}

impl Reconnects {
    /// The reconnects of this process. The giant room has none.
    pub fn new(assignment: &Assignment) -> Self {
        Self {
            reconnect: assignment.settings.reconnect.filter(|_| assignment.group == RoomGroup::Rooms),
            has_failover: assignment.settings.failover.is_some(),
            cuts: VecDeque::new(),
            returns: BTreeSet::new(),
            attempts: VecDeque::new(),
            expected: 0,
            cuts_begin: Nanos(u64::MAX),
            returns_begin: Nanos(u64::MAX),
            all_back: None,
            is_told: false,
            all_back_everywhere: Nanos(u64::MAX),
            result: ReconnectResult::default(),
            comebacks: Comebacks::default(),
            times: Latencies::default(),
            connects: Latencies::default(),
            beside_before: Latencies::default(),
            beside_during: Latencies::default(),
        }
    }

    /// Whether the member of a room is to be cut. Never the first member of a room in this process.
    pub fn cuts(&self, member: u32, turn: u32, random: &mut fastrand::Rng) -> bool {
        self.reconnect.is_some_and(|reconnect| match reconnect.from {
            _ if member == 0 => false,
            CutFrom::Rooms => reconnect.cuts_room(turn),
            CutFrom::Members => random.f64() < reconnect.share,
        })
    }

    /// Whether a room is beside those with cut clients, and its latencies are recorded apart.
    pub fn is_beside(&self, turn: u32) -> bool {
        self.reconnect.is_some_and(|reconnect| reconnect.from == CutFrom::Rooms && !reconnect.cuts_room(turn))
    }

    /// Plans the cuts of these clients, given the beginning of the measured time.
    fn plan(&mut self, measured_from: Nanos, mut clients: Vec<u32>, random: &mut fastrand::Rng) {
        let Some(reconnect) = self.reconnect else { return self.note_if_all_are_back(measured_from) };
        self.cuts_begin = measured_from + reconnect.at;
        self.returns_begin = self.cuts_begin + reconnect.away;
        random.shuffle(&mut clients);
        let moment = |client| (self.cuts_begin + reconnect.over.mul_f64(random.f64()), client);
        self.cuts = clients.into_iter().map(moment).collect();
        self.cuts.make_contiguous().sort_by_key(|(moment, _)| *moment);
        self.note_if_all_are_back(self.returns_begin);
    }

    /// Cancels all cuts that are still to come.
    pub fn stop(&mut self, now: Nanos) {
        self.cuts.clear();
        self.note_if_all_are_back(now);
    }

    /// When the next client is cut or reconnects.
    pub fn next(&self) -> Nanos {
        let (cut, attempt) = (self.cuts.front().map(|(due, _)| *due), self.attempts.front().map(|(due, ..)| *due));
        let firsts = [cut, attempt, self.returns.first().map(|(due, _)| *due)];
        firsts.into_iter().flatten().min().unwrap_or(Nanos(u64::MAX))
    }

    /// Whether no client is still to be cut or to come back.
    pub fn are_over(&self) -> bool {
        self.cuts.is_empty() && self.expected == 0
    }

    /// Whether a client waits for a later time to come back.
    pub fn has_return_behind(&self, now: Nanos) -> bool {
        self.returns.last().is_some_and(|(due, _)| *due > now)
    }

    /// Records that a client is back that was due to reconnect at one time and began to connect at another.
    fn record_back(&mut self, due: Nanos, began: Nanos, now: Nanos) {
        self.times.record(now.since(due));
        self.connects.record(now.since(began));
        self.comebacks.record_back(now);
        self.expect_one_less(now);
    }

    /// Records a latency in a room without cut clients.
    pub fn record_beside(&mut self, intended: Nanos, now: Nanos) {
        if intended < self.cuts_begin {
            self.beside_before.record(now.since(intended));
        } else if (self.returns_begin..self.all_back_everywhere).contains(&intended) {
            self.beside_during.record(now.since(intended));
        }
    }

    /// Notes that a client is back or does not come back.
    fn expect_one_less(&mut self, now: Nanos) {
        self.expected -= 1;
        self.note_if_all_are_back(now);
    }

    fn note_if_all_are_back(&mut self, now: Nanos) {
        if self.are_over() && self.all_back.is_none() {
            self.all_back = Some(now);
        }
    }

    /// The result, given the number of untold messages of each client that is back.
    fn take_result(&mut self, untold: impl Iterator<Item = u64>) -> Option<ReconnectResult> {
        if self.reconnect.is_none() && !self.has_failover {
            return None;
        }
        let mut result = std::mem::take(&mut self.result);
        let counts = &mut result.counts;
        untold.for_each(|messages| counts.add_untold(messages));
        counts.away = counts.cut + counts.disconnected - counts.recovered - counts.told;
        counts.recovered -= counts.deceived;
        result.returned = self.all_back.filter(|_| counts.cut > 0).map(|all_back| (self.returns_begin, all_back));
        result.times = self.times.counts();
        result.connects = self.connects.counts();
        result.comebacks = std::mem::take(&mut self.comebacks);
        result.beside_before = self.beside_before.counts();
        result.beside_during = self.beside_during.counts();
        Some(result)
    }
}

impl Worker {
    /// Plans the cuts when the load starts.
    pub(super) fn plan_reconnects(&mut self) {
        let chosen = (0..).zip(&self.clients).filter(|(_, client)| client.is_to_be_cut());
        let chosen = chosen.map(|(index, _)| index).collect();
        self.reconnects.plan(self.measured.start, chosen, &mut self.random);
    }

    /// Cuts and reconnects the clients that are due. Messages that become due meanwhile are published in between.
    pub(super) fn reconnect_due(&mut self, now: Nanos) -> anyhow::Result<()> {
        for _ in 0..AT_ONCE_MAX {
            let Some((due, index)) = self.reconnects.cuts.pop_front_if(|(due, _)| *due <= now) else { break };
            self.cut(index as usize, due, now);
            self.publish_if_due();
        }
        for _ in 0..AT_ONCE_MAX {
            let Some(&next) = self.reconnects.returns.first().filter(|(due, _)| *due <= now) else { break };
            self.reconnects.returns.remove(&next);
            self.reconnect(next.1 as usize, now)?;
            self.publish_if_due();
        }
        self.end_late_attempts(now)?;
        match self.reconnects.all_back {
            Some(at) if !std::mem::replace(&mut self.reconnects.is_told, true) => {
                self.coordinator.send(&WorkerEvent::AllBack(at))
            }
            _ => Ok(()),
        }
    }

    /// Notes that the clients of all processes are back.
    pub(super) fn all_are_back(&mut self, at: Nanos) {
        self.reconnects.all_back_everywhere = at;
    }

    /// Cuts a client, unless it has ended already.
    fn cut(&mut self, index: usize, due: Nanos, now: Nanos) {
        let Self { clients, rooms, reconnects, counters, .. } = self;
        let client = &mut clients[index];
        let away = reconnects.reconnect.map_or(Duration::ZERO, |reconnect| reconnect.away);
        if let (Some(resumption), Some(member), Stage::Ready) = (&mut client.resumption, client.member, client.stage) {
            resumption.lose(client.target, due + away);
            client.close();
            reconnects.result.counts.add_untold(rooms[client.room as usize].checker.cut(member));
            counters.clients -= 1;
            reconnects.comebacks.record_end(now);
            reconnects.result.counts.cut += 1;
            reconnects.expected += 1;
            reconnects.returns.insert((due + away, index as u32));
        }
        reconnects.note_if_all_are_back(now);
    }

    fn reconnect(&mut self, index: usize, now: Nanos) -> anyhow::Result<()> {
        self.choose_target(index, now);
        match self.connect(index, now) {
            Ok(()) => Ok(()),
            Err(error) => self.end(index, reason_of(&error), now),
        }
    }

    /// Joins the room of a client that comes back, with its position if it was there already, and requests a position
    /// behind that. Returns false for any other client.
    pub(super) fn join_and_request_position(&mut self, index: usize, now: Nanos) -> anyhow::Result<bool> {
        let Some(resumption) = self.clients[index].resumption.clone() else { return Ok(false) };
        let join = |dialect: &dyn Dialect, room: &str, out: &mut Vec<u8>| {
            dialect.join_to_resume(room, resumption.position(), out);
        };
        self.request(index, Stage::Joining, join, now).map(|()| true)
    }

    /// Handles the answer to the join of a client that comes back. It is ready only once it has its position. Returns
    /// false for any other client.
    pub(super) fn join_answered(&mut self, index: usize, now: Nanos) -> bool {
        let client = &mut self.clients[index];
        let has_resumed_tls = client.has_resumed_tls();
        let (Some(resumption), Some(member)) = (&mut client.resumption, client.member) else { return false };
        if resumption.stage == CutStage::Away {
            let has_position = resumption.position().is_some();
            resumption.resume();
            self.reconnects.result.counts.tls_resumed += u64::from(has_resumed_tls);
            self.rooms[client.room as usize].checker.resume(member, now);
            self.counters.clients += 1;
            if !has_position {
                self.handle_gap(index);
            }
        }
        true
    }

    /// Requests a position if it is the client's turn.
    pub(super) fn request_position(&mut self, index: usize) -> anyhow::Result<()> {
        let client = &mut self.clients[index];
        let is_ready = client.stage == Stage::Ready;
        if !client.resumption.as_mut().is_some_and(|resumption| is_ready && resumption.requests_position()) {
            return Ok(());
        }
        self.request(index, Stage::Ready, |dialect, room, out| dialect.request_position(room, out), Nanos::now())
    }

    /// Handles a position. The one behind a join says that everything missed was sent.
    pub(super) fn handle_position(&mut self, index: usize, position: Position<'_>, now: Nanos) -> anyhow::Result<()> {
        let client = &mut self.clients[index];
        let (Some(resumption), Some(member)) = (&mut client.resumption, client.member) else { return Ok(()) };
        resumption.remember(position);
        if client.stage != Stage::Joining {
            return Ok(());
        }
        client.stage = Stage::Ready;
        let reconnects = &mut self.reconnects;
        match resumption.stage {
            CutStage::Before => {
                self.rooms[client.room as usize].checker.join(member, now);
                return self.client_joined(index, now);
            }
            CutStage::Replaying => reconnects.result.counts.recovered += 1,
            CutStage::Told => reconnects.result.counts.told += 1,
            CutStage::Away | CutStage::Back => return Ok(()),
        }
        reconnects.result.counts.moved += u64::from(client.target != resumption.left);
        resumption.stage = CutStage::Back;
        reconnects.record_back(resumption.due, client.since, now);
        Ok(())
    }

    /// Handles the line that tells of a gap. It excuses what a client missed while it was away, and nothing else.
    pub(super) fn handle_gap(&mut self, index: usize) {
        let client = &mut self.clients[index];
        let (Some(resumption), Some(member)) = (&mut client.resumption, client.member) else { return };
        if resumption.stage == CutStage::Replaying {
            resumption.tell_of_gap();
            self.rooms[client.room as usize].checker.excuse_missed(member);
        }
    }

    /// The result of all returns, when nothing is on its way any more; `None` if no client was to come back.
    pub(super) fn take_reconnects(&mut self) -> Option<ReconnectResult> {
        let Self { clients, rooms, reconnects, .. } = self;
        let is_back = |client: &&Client| client.resumption.as_ref().is_some_and(|own| own.stage == CutStage::Back);
        let untold = clients.iter().filter(is_back).filter_map(|client| {
            let checker = &rooms[client.room as usize].checker;
            Some(checker.untold(client.member?))
        });
        reconnects.take_result(untold)
    }

    /// Records that the connection of a client ended before it had everything that it missed. Returns whether it had
    /// not even joined again, in which case the room knows nothing of the connection.
    pub(super) fn fail_to_return(&mut self, index: usize, reason: &str, now: Nanos) -> bool {
        let Some(resumption) = self.clients[index].resumption.as_ref() else { return false };
        let is_away = resumption.stage == CutStage::Away;
        if self.phase == Phase::Over || !resumption.is_returning() {
            return is_away;
        }
        add_reason(&mut self.reconnects.result.failed, reason.to_owned());
        self.reconnects.expect_one_less(now);
        is_away
    }
}
