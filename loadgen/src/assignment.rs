//! The assignment of one worker process: whole rooms where possible, and a part of a room that is too large for one
//! process.

use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};

use crate::workload::{Pace, Publishers, WeightedTarget, Workload, WorkloadSettings};

/// What one worker process has to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Assignment {
    /// The group of rooms in the report.
    pub group: RoomGroup,
    pub targets: Vec<WeightedTarget>,
    /// Source addresses, by turns. Empty means that the system chooses.
    pub sources: Vec<IpAddr>,
    /// The rooms with members in this process.
    pub rooms: Vec<RoomAssignment>,
    /// Rooms in the schedule of the group, over all processes.
    pub rooms_in_group: u32,
    /// How fast messages of the group are published, over all processes.
    pub pace: Pace,
    /// Fraction of all clients in this process, from 0 to 1.
    pub fraction: f64,
    pub settings: WorkloadSettings,
    /// Index of the process.
    pub index: u32,
}

/// The groups of rooms that are reported separately.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RoomGroup {
    /// The ordinary rooms.
    Rooms,
    /// The giant room.
    Giant,
}

/// A room or the part of it in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomAssignment {
    /// Number of the room within the load.
    pub number: u32,
    /// Position of the room in the schedule of its group.
    pub turn: u32,
    /// Index of its first member in this process.
    pub first_member: u32,
    /// Members in this process.
    pub members: u32,
    /// Whether all members are in this process.
    pub is_whole: bool,
}

impl RoomAssignment {
    /// Whether this process publishes to the room. Exactly one process does: that of the first member.
    pub fn is_published_here(&self) -> bool {
        self.first_member == 0
    }
}

/// A room that is to be assigned.
#[derive(Clone, Copy, Debug)]
struct Room {
    number: u32,
    turn: u32,
    members: u32,
}

impl Workload {
    /// Splits the workload over as few processes as possible, none with more than `connections_max` connections.
    pub fn assignments(&self, connections_max: u32) -> Vec<Assignment> {
        let sizes = (0..self.rooms).map(|room| self.clients / self.rooms + u32::from(room < self.clients % self.rooms));
        let rooms = (0..).zip(sizes).map(|(number, members)| Room { number, turn: number, members });
        let is_cut = |room: &Room| self.settings.reconnect.is_some_and(|reconnect| reconnect.cuts_room(room.turn));
        // Apart from each other, so that processes which read what was missed do not delay the rooms beside.
        let (cut, beside): (Vec<_>, Vec<_>) = rooms.partition(is_cut);
        let group = self.empty_assignment(RoomGroup::Rooms, self.pace, self.rooms);
        let mut assignments = self.pack(&group, &beside, connections_max);
        assignments.append(&mut self.pack(&group, &cut, connections_max));
        if let Some(giant) = self.giant {
            let group = self.empty_assignment(RoomGroup::Giant, Pace::Rate(giant.rate), 1);
            let room = [Room { number: self.rooms, turn: 0, members: giant.members }];
            assignments.append(&mut self.pack(&group, &room, connections_max));
        }
        self.number(assignments)
    }

    /// Packs rooms into processes of about equal size, each of which starts as the given assignment.
    fn pack(&self, empty: &Assignment, rooms: &[Room], connections_max: u32) -> Vec<Assignment> {
        if rooms.is_empty() {
            return Vec::new();
        }
        let publishers = u32::from(self.settings.publishers == Publishers::Apart);
        let needed: u32 = rooms.iter().map(|room| room.members + publishers).sum();
        let largest = rooms.iter().map(|room| room.members + publishers).max().unwrap_or_default();
        let even = needed.div_ceil(needed.div_ceil(connections_max).max(1));
        // Allows one room more than the even part; otherwise the last room of each process would be split.
        let each = connections_max.min(even + largest);
        let mut assignments = vec![empty.clone()];
        for &Room { number, turn, members } in rooms {
            let mut first_member = 0;
            while first_member < members {
                let publishers = if first_member == 0 { publishers } else { 0 };
                let assignment = assignments.last_mut().expect("there is one from the start");
                let space = (each - assignment.connections()).saturating_sub(publishers);
                let left = members - first_member;
                let is_full = assignment.connections() >= even || space < left.min(each - publishers);
                if is_full && !assignment.rooms.is_empty() {
                    assignments.push(empty.clone());
                    continue;
                }
                let here = space.min(left);
                let is_whole = here == members;
                assignment.rooms.push(RoomAssignment { number, turn, first_member, members: here, is_whole });
                first_member += here;
            }
        }
        assignments
    }

    fn empty_assignment(&self, group: RoomGroup, pace: Pace, rooms_in_group: u32) -> Assignment {
        let (targets, settings) = (self.targets.clone(), self.settings.clone());
        Assignment {
            group,
            targets,
            sources: Vec::new(),
            rooms: Vec::new(),
            rooms_in_group,
            pace,
            fraction: 0.0,
            settings,
            index: 0,
        }
    }

    /// Sets the index, the fraction and the source addresses of each process.
    fn number(&self, mut assignments: Vec<Assignment>) -> Vec<Assignment> {
        let all: u32 = assignments.iter().map(Assignment::members).sum();
        let needed = |assignment: &Assignment| assignment.connections().div_ceil(CONNECTIONS_PER_SOURCE) as usize;
        let several = assignments.iter().map(needed).sum::<usize>() > 1;
        let mut sources: Box<dyn Iterator<Item = IpAddr>> = match &self.sources[..] {
            [] if several && self.is_local() => Box::new((0..).map(loopback)),
            [] => Box::new(std::iter::empty()),
            sources => Box::new(sources.iter().copied().cycle()),
        };
        for (index, assignment) in (0..).zip(&mut assignments) {
            assignment.index = index;
            assignment.fraction = f64::from(assignment.members()) / f64::from(all.max(1));
            assignment.sources = sources.by_ref().take(needed(assignment)).collect();
        }
        assignments
    }

    fn is_local(&self) -> bool {
        self.targets
            .iter()
            .all(|weighted| weighted.target.address.ip().is_loopback() && weighted.target.address.is_ipv4())
    }
}

impl Assignment {
    /// The source address of a client.
    pub fn source_of(&self, client: usize) -> Option<IpAddr> {
        self.sources.get(client % self.sources.len().max(1)).copied()
    }

    /// The source of all random choices of this process.
    pub fn random(&self) -> fastrand::Rng {
        fastrand::Rng::with_seed(self.settings.seed.wrapping_add(u64::from(self.index)))
    }

    /// Members in this process.
    pub fn members(&self) -> u32 {
        self.rooms.iter().map(|room| room.members).sum()
    }

    /// Members and separate publishers in this process.
    pub fn connections(&self) -> u32 {
        let apart = self.settings.publishers == Publishers::Apart;
        let publishers = self.rooms.iter().filter(|room| apart && room.is_published_here()).count();
        self.members() + publishers as u32
    }
}

/// Connections from one source address. The kernel quickly finds 14 000 ports per address, the even ones of its range.
/// Beyond that it tries all even ports first: 50 000 clients took 8 to 27 s from three addresses and 1 s from six.
const CONNECTIONS_PER_SOURCE: u32 = 10_000;

/// A loopback address of its own for each index.
fn loopback(index: u32) -> IpAddr {
    let [_, second, third, fourth] = (index + 1).to_be_bytes();
    IpAddr::V4(Ipv4Addr::new(127, second, third, fourth))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::workload::{CutFrom, Giant, Reconnect};

    fn workload(clients: u32, rooms: u32) -> Workload {
        Workload { clients, rooms, ..Workload::example() }
    }

    fn members(assignments: &[Assignment]) -> Vec<u32> {
        assignments.iter().map(Assignment::members).collect()
    }

    fn sources(assignment: &Assignment) -> Vec<String> {
        assignment.sources.iter().map(IpAddr::to_string).collect()
    }

    #[test]
    fn one_process_does_what_it_can() {
        let assignments = workload(15_000, 150).assignments(19_500);
        assert_eq!(members(&assignments), [15_000]);
        assert!(assignments[0].rooms.iter().all(|room| room.is_whole && room.members == 100));
        assert_eq!(sources(&assignments[0]), ["127.0.0.1", "127.0.0.2"]);
        assert_eq!(workload(10_000, 100).assignments(19_500)[0].sources, [] as [IpAddr; 0]);
    }

    #[test]
    fn rooms_stay_whole_and_every_process_has_addresses_of_its_own() {
        let assignments = workload(50_000, 500).assignments(19_500);
        assert_eq!(members(&assignments), [16_700, 16_700, 16_600]);
        assert!(assignments.iter().flat_map(|assignment| &assignment.rooms).all(|room| room.is_whole));
        assert_eq!(sources(&assignments[1]), ["127.0.0.3", "127.0.0.4"]);
        let parts: f64 = assignments.iter().map(|assignment| assignment.fraction).sum();
        assert!((parts - 1.0).abs() < 1e-9);
    }

    #[test]
    fn a_room_too_big_for_a_process_is_cut_and_published_by_one() {
        let assignments = workload(25_000, 1).assignments(10_000);
        assert_eq!(members(&assignments), [10_000, 10_000, 5_000]);
        let rooms: Vec<_> = assignments.iter().map(|assignment| assignment.rooms[0]).collect();
        assert_eq!(rooms.iter().map(|room| room.first_member).collect::<Vec<_>>(), [0, 10_000, 20_000]);
        assert_eq!(rooms.iter().filter(|room| room.is_published_here()).count(), 1);
        assert!(rooms.iter().all(|room| !room.is_whole));
    }

    #[test]
    fn clients_that_do_not_divide_are_shared_out_as_evenly_as_can_be() {
        let assignments = workload(10, 4).assignments(100);
        assert_eq!(assignments[0].rooms.iter().map(|room| room.members).collect::<Vec<_>>(), [3, 3, 2, 2]);
    }

    #[test]
    fn the_giant_has_processes_and_a_schedule_of_its_own() {
        let giant = Some(Giant { members: 10_000, rate: 4.0 });
        let assignments = Workload { giant, ..workload(1_000, 100) }.assignments(19_500);
        assert_eq!(
            assignments.iter().map(|assignment| assignment.group).collect::<Vec<_>>(),
            [RoomGroup::Rooms, RoomGroup::Giant]
        );
        assert_eq!((assignments[1].rooms[0].number, assignments[1].rooms[0].turn), (100, 0));
        assert_eq!((assignments[1].pace, assignments[1].rooms_in_group), (Pace::Rate(4.0), 1));
    }

    #[test]
    fn rooms_that_are_cut_have_processes_of_their_own_in_the_same_schedule() {
        let (at, over, away) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
        let turns = |share| -> Vec<Vec<u32>> {
            let mut workload = workload(50, 5);
            workload.settings.reconnect = Some(Reconnect { share, at, over, away, from: CutFrom::Rooms });
            let assignments = workload.assignments(100);
            assert!(assignments.iter().all(|assignment| assignment.rooms_in_group == 5));
            assignments.iter().map(|assignment| assignment.rooms.iter().map(|room| room.turn).collect()).collect()
        };
        assert_eq!(turns(0.4), [vec![0, 1, 3], vec![2, 4]]);
        assert_eq!(turns(1.0), [vec![0, 1, 2, 3, 4]]);
    }

    #[test]
    fn publishers_apart_need_connections_too() {
        let mut workload = workload(100, 10);
        workload.settings.publishers = Publishers::Apart;
        let assignments = workload.assignments(60);
        assert_eq!(assignments.iter().map(Assignment::connections).collect::<Vec<_>>(), [55, 55]);
    }
}
