//! The limit: a process that does nothing but send each message to each member of its room, in the cheapest way there is.
//! Never reads what members say once they are in, keeps no queue, and waits where a server would have to.

pub mod sender;

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use serde::{Deserialize, Serialize};

use crate::children::Children;
use crate::clock::Nanos;
use crate::plan::{Pace, Plan, Publishers, TargetShare};
use crate::share::Share;
use crate::target::Scheme;

/// The hidden command of the bare loop.
pub const BARE_SENDER: &str = "bare-sender";

/// A bare loop that says nothing for so long never will.
const ANSWERS_WITHIN: Duration = Duration::from_secs(20);

/// What the bare loop is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Order {
    /// The load begins at this time.
    Start(Nanos),
    /// Nothing more is to be sent.
    Stop,
}

/// What the bare loop tells.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum News {
    /// It waits for members here.
    Listening(SocketAddr),
    /// All is sent: so many messages in each room.
    Sent(Vec<(u32, u32)>),
    /// It cannot go on.
    Failed(String),
}

/// The bare loop, as the coordinator knows it.
pub struct BareLoop {
    process: Children<News>,
    address: SocketAddr,
}

impl BareLoop {
    /// Starts one for this load, if it is one on the bare loop.
    pub fn start(plan: &Plan) -> anyhow::Result<Option<Self>> {
        let is_limit = |share: &TargetShare| share.target.scheme == Scheme::Limit;
        if !plan.targets.iter().any(is_limit) {
            return Ok(None);
        }
        ensure!(plan.targets.iter().all(is_limit), "the bare loop has no other target beside it");
        ensure!(plan.giant.is_none() && plan.manner.churn == 0.0, "the bare loop knows no giant and no churn");
        let process = Children::start(BARE_SENDER, &[part(plan)])?;
        match hear(&process)? {
            News::Listening(address) => Ok(Some(Self { process, address })),
            news => bail!("the bare loop began with {news:?}"),
        }
    }

    /// The same load, with its members where the bare loop waits for them.
    pub fn plan(&self, plan: &Plan) -> Plan {
        let mut plan = plan.clone();
        plan.manner.publishers = Publishers::Target;
        plan.targets.iter_mut().for_each(|share| share.target.address = self.address);
        plan
    }

    /// Its process.
    pub fn process_id(&self) -> i32 {
        self.process.process_ids()[0]
    }

    /// Has it begin.
    pub fn begin(&mut self, start: Nanos) -> anyhow::Result<()> {
        self.process.tell(&Order::Start(start))
    }

    /// Has it end early.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        self.process.tell(&Order::Stop)
    }

    /// How many messages it has sent in each room, once it has.
    pub fn sent(&self) -> anyhow::Result<Vec<(u32, u32)>> {
        match hear(&self.process)? {
            News::Sent(published) => Ok(published),
            news => bail!("the bare loop ended with {news:?}"),
        }
    }

    /// Lets it go.
    pub fn end(self) -> anyhow::Result<()> {
        self.process.end()
    }
}

/// All rooms in one part: there is one loop.
fn part(plan: &Plan) -> Share {
    let mut plan = plan.clone();
    plan.manner.publishers = Publishers::First;
    if let Pace::Rate(rate) = &mut plan.pace {
        *rate /= f64::from(plan.manner.messages_per_write);
    }
    plan.shares(u32::MAX).remove(0)
}

fn hear(process: &Children<News>) -> anyhow::Result<News> {
    match process.hear(ANSWERS_WITHIN)?.context("the bare loop says nothing")? {
        (_, News::Failed(error)) => bail!("the bare loop: {error}"),
        (_, news) => Ok(news),
    }
}
