//! A load as it is used: how many clients in which rooms say what, when, to whom. Data only; checked once, in `arguments`.

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::target::Target;

/// The whole load.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Plan {
    /// Where clients connect, and how they are shared out.
    pub targets: Vec<TargetShare>,
    /// Members of all rooms but the giant.
    pub clients: u32,
    /// Among which the clients are shared out evenly.
    pub rooms: u32,
    /// One more room.
    pub giant: Option<Giant>,
    /// How fast messages come.
    pub pace: Pace,
    /// What every process does alike.
    pub manner: Manner,
    /// Addresses from which the processes connect, by turns; of the system's choice if empty.
    pub sources: Vec<IpAddr>,
}

/// A target and its weight among all.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TargetShare {
    /// Where to connect.
    pub target: Target,
    /// Relative to the others'.
    pub weight: u32,
}

/// A room that is far bigger than the others, told apart in the report.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Giant {
    /// How many members.
    pub members: u32,
    /// Messages per second.
    pub rate: f64,
}

/// How fast messages come.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pace {
    /// So many a second over all rooms, whatever happened to those before.
    Rate(f64),
    /// So many on their way in each room: the next one follows when a witness, the room's first member, has one.
    InFlight(u32),
}

/// What every process does alike.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manner {
    /// Bytes of a message, as said: what the target adds comes on top.
    pub size: usize,
    /// What is sent first and not measured.
    pub warmup: Duration,
    /// What is measured.
    pub duration: Duration,
    /// So long one waits while nothing at all happens, connecting or at the end.
    pub patience: Duration,
    /// Clients a second over all processes; as many as the target accepts if none.
    pub connect_rate: Option<f64>,
    /// Who says it.
    pub publishers: Publishers,
    /// Joins and leaves a second, in all.
    pub churn: f64,
    /// Share of the clients that stop reading when the load begins.
    pub slow: f64,
    /// Decides every choice.
    pub seed: u64,
    /// What the bare loop sends to a member at once; a server decides for itself.
    pub messages_per_write: u32,
    /// What all rooms are called, before their number.
    pub room_prefix: String,
}

/// Who says what is said in a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Publishers {
    /// Its members, any of them.
    Members,
    /// Its first member.
    First,
    /// One more connection for each room.
    Apart,
    /// The target itself, on its own schedule: the bare loop.
    #[value(skip)]
    Target,
}

#[cfg(test)]
impl Plan {
    /// Something to start from.
    pub fn example() -> Self {
        let target = "tcp://127.0.0.1:8080".parse().expect("this is a target");
        let manner = Manner {
            size: 128,
            warmup: Duration::ZERO,
            duration: Duration::from_secs(1),
            patience: Duration::from_secs(10),
            connect_rate: None,
            publishers: Publishers::Members,
            churn: 0.0,
            slow: 0.0,
            seed: 1,
            messages_per_write: 1,
            room_prefix: "room".to_owned(),
        };
        let targets = vec![TargetShare { target, weight: 1 }];
        Self { targets, clients: 100, rooms: 10, giant: None, pace: Pace::Rate(100.0), manner, sources: Vec::new() }
    }
}
