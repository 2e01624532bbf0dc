//! The connect phase: starts a bounded number of connects, at a rate if one is set, until every client has joined or
//! failed.

use std::io;

use anyhow::bail;
use mio::Token;

use super::client::{Client, Stage};
use super::delivery_checker::DeliveryChecker;
use super::reconnecting::Reconnects;
use super::resumption::Resumption;
use super::{Phase, Room, Worker};
use crate::assignment::Assignment;
use crate::clock::Nanos;
use crate::dialect;
use crate::latency::Latencies;
use crate::messages::{ConnectResult, WorkerEvent};
use crate::reasons::{Reasons, add_reason};
use crate::target::Target;
use crate::tls::{TlsConnector, TlsSettings};
use crate::workload::{Publishers, WeightedTarget};

/// Maximum clients that are connecting at a time.
const CONNECTING_MAX: usize = 1_000;

/// Progress of the connect phase.
pub struct ConnectPhase {
    /// Connections so far, also those of clients that come back.
    connections: u32,
    /// Clients that have started to connect.
    begun: usize,
    /// Clients that have joined or failed.
    done: usize,
    /// All clients.
    total: usize,
    /// Connects per second of this process.
    rate: Option<f64>,
    began: Nanos,
    /// When a client last joined or failed.
    progressed: Nanos,
    connected: u32,
    failed: Reasons,
    latencies: Latencies,
}

impl ConnectPhase {
    /// A connect phase for this many clients.
    pub fn new(assignment: &Assignment, total: usize) -> Self {
        let now = Nanos::now();
        Self {
            connections: 0,
            begun: 0,
            done: 0,
            total,
            rate: assignment.settings.connect_rate.map(|rate| rate * assignment.fraction),
            began: now,
            progressed: now,
            connected: 0,
            failed: Reasons::new(),
            latencies: Latencies::default(),
        }
    }

    /// Number of clients that may start to connect now.
    fn allowance(&self, now: Nanos) -> usize {
        let at_rate = self.rate.map_or(self.total, |rate| (now.since(self.began).as_secs_f64() * rate) as usize + 1);
        at_rate.min(self.done + CONNECTING_MAX).min(self.total).saturating_sub(self.begun)
    }

    /// When the next client may start to connect.
    pub fn next(&self) -> Nanos {
        match self.rate {
            Some(rate) if self.begun < self.total => {
                self.began + std::time::Duration::from_secs_f64(self.begun as f64 / rate)
            }
            _ => Nanos(u64::MAX),
        }
    }

    fn is_done(&self) -> bool {
        self.done == self.total
    }
}

/// Creates the rooms and their clients, none of them connected.
pub fn rooms_and_clients(assignment: &Assignment, reconnects: &Reconnects) -> (Vec<Room>, Vec<Client>) {
    let pattern = pattern(&assignment.targets);
    let mut random = assignment.random();
    let mut clients = Vec::new();
    let mut rooms = Vec::new();
    for (index, room) in (0..).zip(&assignment.rooms) {
        // Each room begins at another target, so that the targets have as many clients where the rooms are small.
        let shift = room.number + room.first_member;
        let target = |member: u32| pattern[(shift + member) as usize % pattern.len()];
        let first = clients.len() as u32;
        let client = |target: u8, member: Option<u32>, is_to_be_cut: bool| {
            let mut client = Client::new(target, index, member);
            let returns = member.filter(|_| is_to_be_cut || assignment.settings.failover.is_some());
            client.resumption = returns.map(|member| Box::new(Resumption::new(member, is_to_be_cut)));
            client
        };
        clients.extend(
            (0..room.members)
                .map(|member| client(target(member), Some(member), reconnects.cuts(member, room.turn, &mut random))),
        );
        let apart = assignment.settings.publishers == Publishers::Apart && room.is_published_here();
        let mut members = room.members;
        let separate_publisher = apart.then_some(clients.len() as u32);
        if apart {
            let target = publishing_target(&assignment.targets, room.number).unwrap_or(target(0));
            let is_member = dialect::of(assignment.targets[usize::from(target)].target.scheme).publishing_needs_join();
            clients.push(client(target, is_member.then_some(room.members), false));
            members += u32::from(is_member);
        }
        rooms.push(Room {
            checker: DeliveryChecker::new(
                members as usize,
                room.is_published_here() && assignment.settings.publishers != Publishers::Target,
            ),
            name: format!("{}-{}", assignment.settings.room_prefix, room.number),
            number: room.number,
            is_whole: room.is_whole,
            is_beside: reconnects.is_beside(room.turn),
            is_published_here: room.is_published_here(),
            members: (first..first + members).collect(),
            separate_publisher,
            pacing_member: 0,
            to_publish: 0,
        });
    }
    (rooms, clients)
}

/// The target of a room's separate publisher, by turns; `None` if no target is only for publishers.
fn publishing_target(targets: &[WeightedTarget], room: u32) -> Option<u8> {
    let only_publish: Vec<u8> =
        (0..).zip(targets).filter(|(_, weighted)| weighted.weight == 0).map(|(index, _)| index).collect();
    only_publish.get(room as usize % only_publish.len().max(1)).copied()
}

/// What opens the connections over TLS, for each target that needs it.
pub fn tls_connectors(assignment: &Assignment) -> anyhow::Result<Vec<Option<TlsConnector>>> {
    assignment.targets.iter().map(|weighted| tls_connector(&weighted.target, &assignment.settings.tls)).collect()
}

/// What opens connections over TLS to a target; `None` for a target without TLS.
pub fn tls_connector(target: &Target, settings: &TlsSettings) -> anyhow::Result<Option<TlsConnector>> {
    let connector = || settings.connector(target.host_name(), target.scheme.is_http());
    target.is_tls.then(connector).transpose()
}

/// The order in which clients use the targets: each as often as its weight, evenly mixed so that every room has all of
/// them.
fn pattern(targets: &[WeightedTarget]) -> Vec<u8> {
    let total: u32 = targets.iter().map(|weighted| weighted.weight).sum();
    let mut credits = vec![0i64; targets.len()];
    let mut turn = |_| {
        for (credit, weighted) in credits.iter_mut().zip(targets) {
            *credit += i64::from(weighted.weight);
        }
        let richest = (0..credits.len()).rev().max_by_key(|&index| credits[index]).unwrap_or_default();
        credits[richest] -= i64::from(total);
        richest as u8
    };
    (0..total.max(1)).map(&mut turn).collect()
}

impl Worker {
    /// Starts further connects and gives up clients that wait for too long.
    pub(super) fn connect_more(&mut self, now: Nanos) -> anyhow::Result<()> {
        for _ in 0..self.connecting.allowance(now) {
            let index = self.connecting.begun;
            self.connecting.begun += 1;
            if let Err(error) = self.connect(index, now) {
                self.fail_to_connect(index, &error)?;
            }
        }
        if now.since(self.connecting.progressed) > self.assignment.settings.patience {
            self.give_up_waiting()?;
        }
        Ok(())
    }

    /// Starts to connect a client to its target.
    pub(super) fn connect(&mut self, index: usize, now: Nanos) -> io::Result<()> {
        let client = &mut self.clients[index];
        let address = self.assignment.targets[usize::from(client.target)].target.address;
        client.connection = self.connecting.connections;
        self.connecting.connections += 1;
        client.connect(address, self.assignment.source_of(index), now, (self.poll.registry(), Token(index)))
    }

    /// Records that a client has joined.
    pub(super) fn client_joined(&mut self, index: usize, now: Nanos) -> anyhow::Result<()> {
        self.counters.clients += 1;
        self.connecting.connected += 1;
        self.connecting.latencies.record(now.since(self.clients[index].since));
        self.finish_connecting(now)
    }

    /// Records that a client has failed.
    pub(super) fn fail_client(&mut self, index: usize, reason: String) -> anyhow::Result<()> {
        self.clients[index].close();
        add_reason(&mut self.connecting.failed, reason);
        self.finish_connecting(Nanos::now())
    }

    /// Fails a client. If nothing listens for the first one, the whole load fails.
    pub(super) fn fail_to_connect(&mut self, index: usize, error: &io::Error) -> anyhow::Result<()> {
        let target = &self.assignment.targets[usize::from(self.clients[index].target)].target;
        match error.kind() {
            _ if self.phase != Phase::Connecting => self.end(index, reason_of(error), Nanos::now()),
            io::ErrorKind::ConnectionRefused if self.connecting.connected == 0 => bail!("nothing listens at {target}"),
            io::ErrorKind::AddrNotAvailable => {
                let source = self.assignment.source_of(index);
                let source = source.map_or("the source address".to_owned(), |source| source.to_string());
                let reason = format!("{source} has no free port left for {}: name more with --source", target.host);
                self.fail_client(index, reason)
            }
            _ => self.fail_client(index, reason_of(error)),
        }
    }

    fn give_up_waiting(&mut self) -> anyhow::Result<()> {
        let patience = humantime::format_duration(self.assignment.settings.patience);
        for index in 0..self.connecting.begun {
            let client = &self.clients[index];
            let question = match client.stage {
                Stage::Connecting | Stage::Handshake => "",
                Stage::TlsHandshake => " to the TLS handshake",
                Stage::Authenticating => " to AUTH",
                Stage::Joining if client.resumption.is_some() => " to JOIN and POSITION",
                Stage::Joining => "",
                Stage::Ready | Stage::Leaving(_) | Stage::Stalled | Stage::Ended => continue,
            };
            if self.phase == Phase::Connecting {
                self.fail_client(index, format!("no answer{question} within {patience}"))?;
            }
        }
        Ok(())
    }

    fn finish_connecting(&mut self, now: Nanos) -> anyhow::Result<()> {
        self.connecting.done += 1;
        self.connecting.progressed = now;
        if !self.connecting.is_done() {
            return if self.connecting.done.is_multiple_of(CONNECTING_MAX / 10) {
                self.connect_more(now)
            } else {
                Ok(())
            };
        }
        self.phase = Phase::Waiting;
        self.coordinator.send(&WorkerEvent::Ready(ConnectResult {
            connected: self.connecting.connected,
            failed: self.connecting.failed.clone(),
            began: self.connecting.began,
            ended: now,
            latencies: self.connecting.latencies.counts(),
        }))
    }
}

/// A short reason, equal for equal errors.
pub fn reason_of(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "closed without a word".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::Workload;

    fn assignment(weights: [u32; 2]) -> Assignment {
        let mut workload = Workload { clients: 10, rooms: 2, ..Workload::example() };
        let assignment = |weight| WeightedTarget { weight, ..workload.targets[0].clone() };
        workload.targets = weights.map(assignment).to_vec();
        workload.assignments(100).remove(0)
    }

    fn none() -> Reconnects {
        Reconnects::new(&assignment([1, 1]))
    }

    #[test]
    fn every_room_has_all_targets_by_their_weight() {
        let targets = |weights, room| -> Vec<u8> {
            let (_, clients) = rooms_and_clients(&assignment(weights), &none());
            clients.iter().filter(|client| client.room == room).map(|client| client.target).collect()
        };
        assert_eq!(targets([50, 50], 0), [0, 1, 0, 1, 0]);
        assert_eq!(targets([50, 50], 1), [1, 0, 1, 0, 1], "rooms begin by turns");
        assert_eq!(targets([1, 4], 1), [1, 0, 1, 1, 1]);
    }

    #[test]
    fn a_publisher_apart_is_a_member_only_where_it_must_be() {
        let mut assignment = assignment([1, 1]);
        assignment.settings.publishers = Publishers::Apart;
        let (rooms, clients) = rooms_and_clients(&assignment, &none());
        assert_eq!(rooms[1].separate_publisher, Some(11));
        assert_eq!((clients[11].member, rooms[1].members.len()), (Some(5), 6));
        assignment.targets.iter_mut().for_each(|weighted| weighted.target = "nats://127.0.0.1:4222".parse().unwrap());
        let (rooms, clients) = rooms_and_clients(&assignment, &none());
        assert_eq!((clients[11].member, rooms[1].members.len()), (None, 5));
    }

    #[test]
    fn clients_come_in_at_the_rate_and_never_too_many_at_once() {
        let mut connecting = ConnectPhase::new(&assignment([1, 1]), 5_000);
        assert_eq!(connecting.allowance(connecting.began), CONNECTING_MAX);
        connecting.rate = Some(100.0);
        assert_eq!(connecting.allowance(connecting.began + std::time::Duration::from_secs(1)), 101);
        connecting.begun = 101;
        assert_eq!(connecting.next(), connecting.began + std::time::Duration::from_millis(1_010));
    }
}
