//! The validated load: which clients in which rooms publish how much and how fast. Data only, validated by `arguments`.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::target::Target;
use crate::tls::TlsSettings;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Workload {
    /// Where clients connect, with the weight of each target.
    pub targets: Vec<WeightedTarget>,
    /// Members of all rooms except the giant room.
    pub clients: u32,
    /// Rooms, over which the clients are spread evenly.
    pub rooms: u32,
    /// One additional large room.
    pub giant: Option<Giant>,
    pub pace: Pace,
    /// Settings that are the same for every process.
    #[serde(rename = "manner")]
    pub settings: WorkloadSettings,
    /// Source addresses of the processes, by turns. Empty means that the system chooses.
    pub sources: Vec<IpAddr>,
}

/// A target and its weight. To one of weight 0 only the separate publishers connect.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WeightedTarget {
    pub target: Target,
    /// Weight relative to the other targets.
    pub weight: u32,
}

/// One additional room, far larger than the others and reported separately.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Giant {
    pub members: u32,
    /// Messages per second.
    pub rate: f64,
}

/// How fast messages are published.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pace {
    /// Open load: messages per second over all rooms, however late the earlier ones arrive.
    Rate(f64),
    /// Closed load: messages in flight in each room. The next one is published when the room's pacing member has
    /// received one.
    InFlight(u32),
}

/// Settings that are the same for every process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorkloadSettings {
    /// Bytes of a published message, without what the server adds.
    pub size: usize,
    /// Time in which messages are sent but not measured.
    pub warmup: Duration,
    /// Time in which messages are measured.
    pub duration: Duration,
    /// Maximum time without any progress, while connecting or at the end.
    pub patience: Duration,
    /// Connects per second over all processes; `None` means as fast as the target accepts.
    pub connect_rate: Option<f64>,
    pub publishers: Publishers,
    /// Joins and leaves per second, in total.
    pub churn: f64,
    /// Fraction of the clients that stop reading when the load begins.
    pub slow: f64,
    /// Clients that are cut and come back.
    pub reconnect: Option<Reconnect>,
    /// Where clients come back that the server has disconnected; `None` if they stay away.
    pub failover: Option<Failover>,
    /// Seed of all random choices.
    pub seed: u64,
    /// Messages that the bare loop sends in one write. A server decides for itself.
    pub messages_per_write: u32,
    /// Prefix of every room name, before its number.
    pub room_prefix: String,
    /// Trust and sessions of targets over TLS.
    pub tls: TlsSettings,
    /// The file of tokens that clients present by turns; `None` if they present none.
    pub token_file: Option<PathBuf>,
    /// The file of the key that publishers by the server API present.
    pub api_key_file: Option<PathBuf>,
}

/// Which clients publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Publishers {
    /// Any member of the room.
    Members,
    /// The first member of the room.
    First,
    /// One additional connection for each room.
    Apart,
    /// The target itself, on its own schedule: the bare loop.
    #[value(skip)]
    Target,
}

/// Clients that are cut during the load and come back with their position.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reconnect {
    /// Fraction of the clients, above 0 and up to 1.
    pub share: f64,
    /// When the first client is cut, from the beginning of the measured time.
    pub at: Duration,
    /// Time over which the cuts are spread at random. Zero means all at once.
    pub over: Duration,
    /// Time from a client's cut to its reconnect.
    pub away: Duration,
    pub from: CutFrom,
}

/// Where clients come back that the server has disconnected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Failover {
    /// Another target, as when the nodes of a cluster are restarted one after the other.
    Other,
    /// The same target, as when a server is restarted in place.
    Same,
}

/// Which clients are cut. The first member of a room never is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum CutFrom {
    /// All members of some rooms except the first. The other rooms are not touched.
    Rooms,
    /// Members of all rooms, drawn at random.
    Members,
}

impl Reconnect {
    /// Whether the members of a room are cut, by the room's position in the schedule. Such rooms are spread evenly, so
    /// that every process has some.
    pub fn cuts_room(&self, turn: u32) -> bool {
        /// Larger than the rounding error of the product for any number of rooms.
        const ROUNDING: f64 = 1e-6;
        let cut_before = |turn: u32| (f64::from(turn) * self.share + ROUNDING).floor();
        self.from == CutFrom::Rooms && cut_before(turn + 1) > cut_before(turn)
    }
}

/// Whether the targets are several servers, as far as that can be told: two of them have the same scheme.
pub fn has_several_nodes(targets: &[WeightedTarget]) -> bool {
    let is_other = |one: &Target, other: &Target| one.scheme == other.scheme && one.address != other.address;
    targets.iter().any(|one| targets.iter().any(|other| is_other(&one.target, &other.target)))
}

/// For each target, the targets at which its clients come back when they have lost it, in the order of the list behind
/// it: those of the same scheme, or else those with the same kind of positions. Only separate publishers come back at
/// a target of weight 0.
pub fn failover_targets(targets: &[WeightedTarget]) -> Vec<Vec<u8>> {
    let of_target = |index: usize| -> Vec<u8> {
        let own = &targets[index];
        let others = |is_like: fn(&Target, &Target) -> bool| -> Vec<u8> {
            let behind = (1..targets.len()).map(|ahead| (index + ahead) % targets.len());
            let can_be = |other: &WeightedTarget| (own.weight == 0) == (other.weight == 0);
            let fits = |other: &WeightedTarget| can_be(other) && is_like(&own.target, &other.target);
            behind.filter(|&other| fits(&targets[other])).map(|other| other as u8).collect()
        };
        let alike = others(|own, other| own.scheme == other.scheme && own.address != other.address);
        if alike.is_empty() { others(|own, other| own.scheme.resumes_as(other.scheme)) } else { alike }
    };
    (0..targets.len()).map(of_target).collect()
}

#[cfg(test)]
impl Workload {
    /// A small workload to start from.
    pub fn example() -> Self {
        let target = "tcp://127.0.0.1:8080".parse().expect("this is a target");
        let settings = WorkloadSettings {
            size: 128,
            warmup: Duration::ZERO,
            duration: Duration::from_secs(1),
            patience: Duration::from_secs(10),
            connect_rate: None,
            publishers: Publishers::Members,
            churn: 0.0,
            slow: 0.0,
            reconnect: None,
            failover: None,
            seed: 1,
            messages_per_write: 1,
            room_prefix: "room".to_owned(),
            tls: TlsSettings::default(),
            token_file: None,
            api_key_file: None,
        };
        let targets = vec![WeightedTarget { target, weight: 1 }];
        Self { targets, clients: 100, rooms: 10, giant: None, pace: Pace::Rate(100.0), settings, sources: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_come_back_at_targets_of_their_scheme_or_else_of_their_kind_of_position() {
        let after = |targets: &[(&str, u32)]| -> Vec<Vec<u8>> {
            let weighted = |&(target, weight): &(&str, u32)| WeightedTarget { target: target.parse().unwrap(), weight };
            failover_targets(&targets.iter().map(weighted).collect::<Vec<_>>())
        };
        let (a, b, c) = ("tcp://127.0.0.1:1", "tcp://127.0.0.1:2", "tcp://127.0.0.1:3");
        let (websocket, json) = ("ws://127.0.0.1:4", "centrifuge+ws://127.0.0.1:4");
        let weighted = |target: &str| WeightedTarget { target: target.parse().unwrap(), weight: 1 };
        assert!(has_several_nodes(&[a, websocket, b].map(weighted)));
        assert!(!has_several_nodes(&[a, websocket, json].map(weighted)));
        assert_eq!(after(&[(a, 1), (b, 1), (c, 1)]), [[1, 2], [2, 0], [0, 1]]);
        assert_eq!(after(&[(a, 1), (websocket, 1), (b, 1)]), [vec![2], vec![2, 0], vec![0]]);
        assert_eq!(after(&[(a, 1), (websocket, 1), (json, 1)]), [vec![1], vec![0], vec![]]);
        let readers = [("sse://127.0.0.1:4", 1), ("sse://127.0.0.1:5", 1)];
        let with_publishers = [&readers[..], &[(websocket, 0), ("ws://127.0.0.1:5", 0)]].concat();
        assert_eq!(after(&with_publishers), [[1], [0], [3], [2]]);
    }

    #[test]
    fn the_rooms_that_are_cut_are_the_share_and_spread_evenly() {
        let (at, over, away) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
        let cut = |share, rooms: u32| -> Vec<u32> {
            let reconnect = Reconnect { share, at, over, away, from: CutFrom::Rooms };
            (0..rooms).filter(|turn| reconnect.cuts_room(*turn)).collect()
        };
        assert_eq!(cut(0.3, 10), [3, 6, 9]);
        assert_eq!(cut(0.29, 100).len(), 29);
        assert_eq!(cut(1.0, 3), [0, 1, 2]);
        assert!(cut(0.3, 3).is_empty());
    }
}
