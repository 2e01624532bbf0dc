//! How clients come in: so many at once, at a rate if one is asked for, until all are in their rooms or will not be.

use std::io;

use anyhow::bail;
use mio::{Interest, Token};

use super::client::{Client, Stage};
use super::room::Room;
use super::{Lobby, Phase, Worker};
use crate::clock::Nanos;
use crate::dialect;
use crate::latency::Latencies;
use crate::messages::{Connects, News, Reasons, add_reason};
use crate::plan::{Publishers, TargetShare};
use crate::share::Share;

/// Clients that may be on their way in at once.
const OPENING_MAX: usize = 1_000;

/// How clients come in.
pub struct Opening {
    /// Clients that have begun to connect.
    begun: usize,
    /// Of those, how many are in, or will not be.
    done: usize,
    /// Of all.
    total: usize,
    /// Clients a second, for this process.
    rate: Option<f64>,
    began: Nanos,
    /// When anything happened last.
    progressed: Nanos,
    connected: u32,
    failed: Reasons,
    latencies: Latencies,
}

impl Opening {
    /// Of so many clients.
    pub fn new(share: &Share, total: usize) -> Self {
        let now = Nanos::now();
        Self {
            begun: 0,
            done: 0,
            total,
            rate: share.manner.connect_rate.map(|rate| rate * share.part),
            began: now,
            progressed: now,
            connected: 0,
            failed: Reasons::new(),
            latencies: Latencies::default(),
        }
    }

    /// How many may begin to connect now.
    fn allowance(&self, now: Nanos) -> usize {
        let at_rate = self.rate.map_or(self.total, |rate| (now.since(self.began).as_secs_f64() * rate) as usize + 1);
        at_rate.min(self.done + OPENING_MAX).min(self.total).saturating_sub(self.begun)
    }

    /// When there is something to do even if no client is heard.
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

/// Rooms with their members, none of whom is connected.
pub fn seat(share: &Share) -> (Vec<Lobby>, Vec<Client>) {
    let pattern = pattern(&share.targets);
    let mut clients = Vec::new();
    let mut rooms = Vec::new();
    for (index, room) in (0..).zip(&share.rooms) {
        let target = |member: u32| pattern[(room.first_member + member) as usize % pattern.len()];
        let first = clients.len() as u32;
        clients.extend((0..room.members).map(|seat| Client::new(target(seat), index, Some(seat))));
        let apart = share.manner.publishers == Publishers::Apart && room.is_published_here();
        let mut seats = room.members;
        let publisher_apart = apart.then_some(clients.len() as u32);
        if apart {
            let is_member = dialect::of(share.targets[usize::from(target(0))].target.scheme).hears_members_only();
            clients.push(Client::new(target(0), index, is_member.then_some(room.members)));
            seats += u32::from(is_member);
        }
        rooms.push(Lobby {
            room: Room::new(seats as usize, room.is_published_here() && share.manner.publishers != Publishers::Target),
            name: format!("{}-{}", share.manner.room_prefix, room.number),
            number: room.number,
            is_whole: room.is_whole,
            is_published_here: room.is_published_here(),
            members: (first..first + seats).collect(),
            publisher_apart,
            witness: 0,
            owed: 0,
        });
    }
    (rooms, clients)
}

/// The targets by turns, each as often as it weighs, evenly mixed so that every room has all of them.
fn pattern(targets: &[TargetShare]) -> Vec<u8> {
    let total: u32 = targets.iter().map(|share| share.weight).sum();
    let mut credits = vec![0i64; targets.len()];
    let mut turn = |_| {
        for (credit, share) in credits.iter_mut().zip(targets) {
            *credit += i64::from(share.weight);
        }
        let richest = (0..credits.len()).rev().max_by_key(|&index| credits[index]).unwrap_or_default();
        credits[richest] -= i64::from(total);
        richest as u8
    };
    (0..total.max(1)).map(&mut turn).collect()
}

impl Worker {
    /// Lets some more begin to connect. Gives up those that wait for too long.
    pub(super) fn open_more(&mut self, now: Nanos) -> anyhow::Result<()> {
        for _ in 0..self.opening.allowance(now) {
            let index = self.opening.begun;
            self.opening.begun += 1;
            let target = &self.share.targets[usize::from(self.clients[index].target)].target;
            let connecting = self.clients[index].connect(target.address, self.share.source_of(index), now);
            let interest = Interest::READABLE | Interest::WRITABLE;
            let watched = connecting.and_then(|stream| self.poll.registry().register(stream, Token(index), interest));
            if let Err(error) = watched {
                self.fail_to_connect(index, &error)?;
            }
        }
        if now.since(self.opening.progressed) > self.share.manner.patience {
            self.give_up_waiting()?;
        }
        Ok(())
    }

    /// A client is in.
    pub(super) fn opened(&mut self, index: usize, now: Nanos) -> anyhow::Result<()> {
        self.counted.clients += 1;
        self.opening.connected += 1;
        self.opening.latencies.record(now.since(self.clients[index].since));
        self.step(now)
    }

    /// A client will not come in.
    pub(super) fn fail_to_open(&mut self, index: usize, reason: String) -> anyhow::Result<()> {
        self.clients[index].close();
        add_reason(&mut self.opening.failed, reason);
        self.step(Nanos::now())
    }

    /// The first client finds nobody: neither will the others.
    pub(super) fn fail_to_connect(&mut self, index: usize, error: &io::Error) -> anyhow::Result<()> {
        let target = &self.share.targets[usize::from(self.clients[index].target)].target;
        match error.kind() {
            io::ErrorKind::ConnectionRefused if self.opening.connected == 0 => bail!("nothing listens at {target}"),
            io::ErrorKind::AddrNotAvailable => {
                let source = self.share.source_of(index);
                let source = source.map_or("the source address".to_owned(), |source| source.to_string());
                let reason = format!("{source} has no free port left for {}: name more with --source", target.host);
                self.fail_to_open(index, reason)
            }
            _ => self.fail_to_open(index, reason_of(error)),
        }
    }

    fn give_up_waiting(&mut self) -> anyhow::Result<()> {
        let waiting = |client: &Client| matches!(client.stage, Stage::Connecting | Stage::Opening | Stage::Joining);
        let reason = format!("no answer within {}", humantime::format_duration(self.share.manner.patience));
        for index in 0..self.opening.begun {
            if self.phase == Phase::Opening && waiting(&self.clients[index]) {
                self.fail_to_open(index, reason.clone())?;
            }
        }
        Ok(())
    }

    fn step(&mut self, now: Nanos) -> anyhow::Result<()> {
        self.opening.done += 1;
        self.opening.progressed = now;
        if !self.opening.is_done() {
            return if self.opening.done.is_multiple_of(OPENING_MAX / 10) { self.open_more(now) } else { Ok(()) };
        }
        self.phase = Phase::Waiting;
        self.link.tell(&News::Ready(Connects {
            connected: self.opening.connected,
            failed: self.opening.failed.clone(),
            began: self.opening.began,
            ended: now,
            latencies: self.opening.latencies.counts(),
        }))
    }
}

/// In a few words, the same for all to whom the same has happened.
pub fn reason_of(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "closed without a word".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Plan;

    fn share(weights: [u32; 2]) -> Share {
        let mut plan = Plan { clients: 10, rooms: 2, ..Plan::example() };
        let share = |weight| TargetShare { weight, ..plan.targets[0].clone() };
        plan.targets = weights.map(share).to_vec();
        plan.shares(100).remove(0)
    }

    #[test]
    fn every_room_has_all_targets_by_their_weight() {
        let targets = |weights, room| -> Vec<u8> {
            let (_, clients) = seat(&share(weights));
            clients.iter().filter(|client| client.room == room).map(|client| client.target).collect()
        };
        assert_eq!(targets([50, 50], 0), [0, 1, 0, 1, 0]);
        assert_eq!(targets([1, 4], 1), [1, 1, 0, 1, 1]);
    }

    #[test]
    fn a_publisher_apart_is_a_member_only_where_it_must_be() {
        let mut share = share([1, 1]);
        share.manner.publishers = Publishers::Apart;
        let (rooms, clients) = seat(&share);
        assert_eq!(rooms[1].publisher_apart, Some(11));
        assert_eq!((clients[11].seat, rooms[1].members.len()), (Some(5), 6));
        share.targets.iter_mut().for_each(|share| share.target = "nats://127.0.0.1:4222".parse().unwrap());
        let (rooms, clients) = seat(&share);
        assert_eq!((clients[11].seat, rooms[1].members.len()), (None, 5));
    }

    #[test]
    fn clients_come_in_at_the_rate_and_never_too_many_at_once() {
        let mut opening = Opening::new(&share([1, 1]), 5_000);
        assert_eq!(opening.allowance(opening.began), OPENING_MAX);
        opening.rate = Some(100.0);
        assert_eq!(opening.allowance(opening.began + std::time::Duration::from_secs(1)), 101);
        opening.begun = 101;
        assert_eq!(opening.next(), opening.began + std::time::Duration::from_millis(1_010));
    }
}
