//! The arguments that describe reconnects, and their validation into a [`Reconnect`].

use std::time::Duration;

use anyhow::{Context, ensure};
use clap::Args;

use crate::target::WITH_POSITIONS;
use crate::workload::{CutFrom, Failover, Reconnect, WeightedTarget, failover_targets};

/// Clients that lose their connection during the load and come back with their position.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Reconnects")]
pub struct ReconnectArguments {
    /// Fraction of the clients that are cut and come back with their position, for example 0.3 or 0.3@5s
    ///
    /// The time counts from the beginning of --duration and is the middle of it by default. Clients that are cut do not
    /// publish. Needs tcp://, tls://, ws://, wss://, centrifuge+ws:// or sse:// targets.
    #[arg(long, value_name = "SHARE[@TIME]", value_parser = parse_share_and_time)]
    pub reconnect: Option<ShareAndTime>,
    /// Time for which a client that was cut stays away
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = humantime::parse_duration)]
    #[arg(requires = "reconnect")]
    pub away: Duration,
    /// Clients that are cut: whole rooms except their first member, or members drawn from all rooms
    #[arg(long, value_name = "FROM", default_value = "rooms", requires = "reconnect", hide_short_help = true)]
    pub cut: CutFrom,
    /// Time over which the cuts are spread at random; 0s cuts all clients at once
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = humantime::parse_duration)]
    #[arg(requires = "reconnect", hide_short_help = true)]
    pub cut_over: Duration,
    /// A client whose connection the server ends comes back with its position, at another target or at the same one
    ///
    /// That is no fault, as when the nodes of a cluster are restarted one after the other, or with --failover=same a server
    /// in its place. Everything that it missed must come, once and in the order of the room, unless the server tells it of a
    /// gap. It waits as long as the server tells it, with up to a fifth more. Another target is the next one of the same
    /// scheme or, if there is only one, of the same kind of position. It sends nothing again: a message that nobody receives
    /// and of which the sender lost its connection first counts as not accepted, and not as lost. Clients of --reconnect
    /// change their target too.
    #[arg(long, value_name = "WHERE", num_args = 0..=1, require_equals = true, default_missing_value = "other")]
    #[arg(conflicts_with_all = ["in_flight", "churn", "slow"])]
    pub failover: Option<Failover>,
}

/// The value of `--reconnect`.
#[derive(Clone, Copy, Debug)]
pub struct ShareAndTime {
    share: f64,
    /// From the beginning of the measured time; `None` is its middle.
    at: Option<Duration>,
}

impl ReconnectArguments {
    /// Validates the arguments for a load of this many clients in this many rooms.
    pub fn reconnect(
        &self,
        (clients, rooms): (u32, u32),
        duration: Duration,
        targets: &[WeightedTarget],
    ) -> anyhow::Result<Option<Reconnect>> {
        let Some(ShareAndTime { share, at }) = self.reconnect else { return Ok(None) };
        check_positions("--reconnect", targets)?;
        let Self { away, cut_over: over, cut: from, .. } = *self;
        let reconnect = Reconnect { share, at: at.unwrap_or(duration / 2), over, away, from };
        ensure!(rooms < clients, "--reconnect: in rooms of one member nobody is cut");
        ensure!(
            from == CutFrom::Members || (0..rooms).any(|turn| reconnect.cuts_room(turn)),
            "--reconnect {share}: less than one of {rooms} rooms; --cut members cuts members of every room"
        );
        let last_return = reconnect.at + over + away;
        ensure!(
            last_return < duration,
            "--reconnect: the last client comes back at {}, but --duration is {}",
            humantime::format_duration(last_return),
            humantime::format_duration(duration)
        );
        Ok(Some(reconnect))
    }
}

impl ReconnectArguments {
    /// Checks that clients have targets to come back at.
    pub fn check_failover(&self, targets: &[WeightedTarget]) -> anyhow::Result<()> {
        let Some(failover) = self.failover else { return Ok(()) };
        check_positions("--failover", targets)?;
        for (WeightedTarget { target, .. }, others) in targets.iter().zip(failover_targets(targets)) {
            let has_target = failover == Failover::Same || !others.is_empty();
            ensure!(
                has_target,
                "--failover: {target}: no other target has positions like it; --failover=same comes back at the same one"
            );
        }
        Ok(())
    }
}

fn check_positions(flag: &str, targets: &[WeightedTarget]) -> anyhow::Result<()> {
    for WeightedTarget { target, .. } in targets {
        let has_positions = target.scheme.has_positions();
        ensure!(has_positions, "{flag}: {target} has no positions to resume from; {WITH_POSITIONS} have");
    }
    Ok(())
}

fn parse_share_and_time(text: &str) -> anyhow::Result<ShareAndTime> {
    let parse = || {
        let (share, at) = text.split_once('@').map_or((text, None), |(share, at)| (share, Some(at)));
        let share = share.parse().ok().filter(|share| *share > 0.0 && *share <= 1.0)?;
        let at = at.map(humantime::parse_duration).transpose().ok()?;
        Some(ShareAndTime { share, at })
    };
    parse().with_context(|| format!("{text:?}: SHARE[@TIME] with a share above 0 and up to 1, as 0.3 or 0.3@5s"))
}
