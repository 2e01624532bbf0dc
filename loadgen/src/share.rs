//! What one process does of a load: whole rooms where possible, a piece of a room that is too big for one process.

use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};

use crate::plan::{Manner, Pace, Plan, Publishers, TargetShare};

/// The part of one process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Share {
    /// Of which it is reported.
    pub group: Group,
    /// Where its clients connect.
    pub targets: Vec<TargetShare>,
    /// From where, by turns; of the system's choice if empty.
    pub sources: Vec<IpAddr>,
    /// The rooms with members here.
    pub rooms: Vec<RoomShare>,
    /// How many rooms the schedule of the group has, here and elsewhere.
    pub rooms_in_group: u32,
    /// How fast messages of the group come.
    pub pace: Pace,
    /// Its part of all clients, from 0 to 1.
    pub part: f64,
    /// What all do alike.
    pub manner: Manner,
    /// Which process.
    pub index: u32,
}

/// What is reported apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Group {
    /// The rooms of the load.
    Rooms,
    /// The giant.
    Giant,
}

/// A room, or a piece of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomShare {
    /// Its number in the whole load.
    pub number: u32,
    /// Its turn in the schedule of the group.
    pub turn: u32,
    /// The first of its members here, as the room counts them.
    pub first_member: u32,
    /// How many members are here.
    pub members: u32,
    /// Whether all of them are.
    pub is_whole: bool,
}

impl RoomShare {
    /// One process publishes for a room, if any does: the one that holds its first member.
    pub fn is_published_here(&self) -> bool {
        self.first_member == 0
    }
}

impl Plan {
    /// The parts of all processes, none with more than so many connections, and as few processes as that needs.
    pub fn shares(&self, connections_max: u32) -> Vec<Share> {
        let sizes = (0..self.rooms).map(|room| self.clients / self.rooms + u32::from(room < self.clients % self.rooms));
        let rooms: Vec<(u32, u32)> = (0..).zip(sizes).collect();
        let mut shares = self.pack(Group::Rooms, self.pace, &rooms, connections_max);
        if let Some(giant) = self.giant {
            let room = [(self.rooms, giant.members)];
            shares.append(&mut self.pack(Group::Giant, Pace::Rate(giant.rate), &room, connections_max));
        }
        self.number(shares)
    }

    /// Shares rooms, by number and members, among processes of about one size.
    fn pack(&self, group: Group, pace: Pace, rooms: &[(u32, u32)], connections_max: u32) -> Vec<Share> {
        let publishers = u32::from(self.manner.publishers == Publishers::Apart);
        let needed: u32 = rooms.iter().map(|(_, members)| members + publishers).sum();
        let largest = rooms.iter().map(|(_, members)| members + publishers).max().unwrap_or_default();
        let even = needed.div_ceil(needed.div_ceil(connections_max).max(1));
        // Room for one more than the even part, or the last room of each process would have to be cut.
        let each = connections_max.min(even + largest);
        let empty = || self.empty_share(group, pace, rooms.len() as u32);
        let mut shares = vec![empty()];
        for (turn, &(number, members)) in (0..).zip(rooms) {
            let mut first_member = 0;
            while first_member < members {
                let publishers = if first_member == 0 { publishers } else { 0 };
                let share = shares.last_mut().expect("there is one from the start");
                let space = (each - share.connections()).saturating_sub(publishers);
                let left = members - first_member;
                let is_full = share.connections() >= even || space < left.min(each - publishers);
                if is_full && !share.rooms.is_empty() {
                    shares.push(empty());
                    continue;
                }
                let here = space.min(left);
                let is_whole = here == members;
                share.rooms.push(RoomShare { number, turn, first_member, members: here, is_whole });
                first_member += here;
            }
        }
        shares
    }

    fn empty_share(&self, group: Group, pace: Pace, rooms_in_group: u32) -> Share {
        let (targets, manner) = (self.targets.clone(), self.manner.clone());
        Share {
            group,
            targets,
            sources: Vec::new(),
            rooms: Vec::new(),
            rooms_in_group,
            pace,
            part: 0.0,
            manner,
            index: 0,
        }
    }

    /// Which process each is, and from where it connects.
    fn number(&self, mut shares: Vec<Share>) -> Vec<Share> {
        let all: u32 = shares.iter().map(Share::members).sum();
        let needed = |share: &Share| share.connections().div_ceil(CONNECTIONS_PER_SOURCE) as usize;
        let several = shares.iter().map(needed).sum::<usize>() > 1;
        let mut sources: Box<dyn Iterator<Item = IpAddr>> = match &self.sources[..] {
            [] if several && self.is_local() => Box::new((0..).map(loopback)),
            [] => Box::new(std::iter::empty()),
            sources => Box::new(sources.iter().copied().cycle()),
        };
        for (index, share) in (0..).zip(&mut shares) {
            share.index = index;
            share.part = f64::from(share.members()) / f64::from(all.max(1));
            share.sources = sources.by_ref().take(needed(share)).collect();
        }
        shares
    }

    fn is_local(&self) -> bool {
        self.targets.iter().all(|share| share.target.address.ip().is_loopback() && share.target.address.is_ipv4())
    }
}

impl Share {
    /// From where a client connects.
    pub fn source_of(&self, client: usize) -> Option<IpAddr> {
        self.sources.get(client % self.sources.len().max(1)).copied()
    }

    /// How many members are here.
    pub fn members(&self) -> u32 {
        self.rooms.iter().map(|room| room.members).sum()
    }

    /// Members, and publishers apart.
    pub fn connections(&self) -> u32 {
        let apart = self.manner.publishers == Publishers::Apart;
        let publishers = self.rooms.iter().filter(|room| apart && room.is_published_here()).count();
        self.members() + publishers as u32
    }
}

/// From one address the kernel finds 14 000 ports at once, the even ones of its range; for any further one it tries those first,
/// one after the other (50 000 clients took 8 to 27 s from three addresses, and 1 s from six).
const CONNECTIONS_PER_SOURCE: u32 = 10_000;

/// An address of this host.
fn loopback(index: u32) -> IpAddr {
    let [_, second, third, fourth] = (index + 1).to_be_bytes();
    IpAddr::V4(Ipv4Addr::new(127, second, third, fourth))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Giant;

    fn plan(clients: u32, rooms: u32) -> Plan {
        Plan { clients, rooms, ..Plan::example() }
    }

    fn members(shares: &[Share]) -> Vec<u32> {
        shares.iter().map(Share::members).collect()
    }

    fn sources(share: &Share) -> Vec<String> {
        share.sources.iter().map(IpAddr::to_string).collect()
    }

    #[test]
    fn one_process_does_what_it_can() {
        let shares = plan(15_000, 150).shares(19_500);
        assert_eq!(members(&shares), [15_000]);
        assert!(shares[0].rooms.iter().all(|room| room.is_whole && room.members == 100));
        assert_eq!(sources(&shares[0]), ["127.0.0.1", "127.0.0.2"]);
        assert_eq!(plan(10_000, 100).shares(19_500)[0].sources, [] as [IpAddr; 0]);
    }

    #[test]
    fn rooms_stay_whole_and_every_process_has_addresses_of_its_own() {
        let shares = plan(50_000, 500).shares(19_500);
        assert_eq!(members(&shares), [16_700, 16_700, 16_600]);
        assert!(shares.iter().flat_map(|share| &share.rooms).all(|room| room.is_whole));
        assert_eq!(sources(&shares[1]), ["127.0.0.3", "127.0.0.4"]);
        let parts: f64 = shares.iter().map(|share| share.part).sum();
        assert!((parts - 1.0).abs() < 1e-9);
    }

    #[test]
    fn a_room_too_big_for_a_process_is_cut_and_published_by_one() {
        let shares = plan(25_000, 1).shares(10_000);
        assert_eq!(members(&shares), [10_000, 10_000, 5_000]);
        let rooms: Vec<_> = shares.iter().map(|share| share.rooms[0]).collect();
        assert_eq!(rooms.iter().map(|room| room.first_member).collect::<Vec<_>>(), [0, 10_000, 20_000]);
        assert_eq!(rooms.iter().filter(|room| room.is_published_here()).count(), 1);
        assert!(rooms.iter().all(|room| !room.is_whole));
    }

    #[test]
    fn clients_that_do_not_divide_are_shared_out_as_evenly_as_can_be() {
        let shares = plan(10, 4).shares(100);
        assert_eq!(shares[0].rooms.iter().map(|room| room.members).collect::<Vec<_>>(), [3, 3, 2, 2]);
    }

    #[test]
    fn the_giant_has_processes_and_a_schedule_of_its_own() {
        let giant = Some(Giant { members: 10_000, rate: 4.0 });
        let shares = Plan { giant, ..plan(1_000, 100) }.shares(19_500);
        assert_eq!(shares.iter().map(|share| share.group).collect::<Vec<_>>(), [Group::Rooms, Group::Giant]);
        assert_eq!((shares[1].rooms[0].number, shares[1].rooms[0].turn), (100, 0));
        assert_eq!((shares[1].pace, shares[1].rooms_in_group), (Pace::Rate(4.0), 1));
    }

    #[test]
    fn publishers_apart_need_connections_too() {
        let mut plan = plan(100, 10);
        plan.manner.publishers = Publishers::Apart;
        let shares = plan.shares(60);
        assert_eq!(shares.iter().map(Share::connections).collect::<Vec<_>>(), [55, 55]);
    }
}
