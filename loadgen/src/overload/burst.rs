//! Everybody in a room speaks at the same moment. Whatever the crowd makes of that, a member that reads at once must have
//! everything, once and in the common order.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::Receiver;

use anyhow::ensure;
use serde::Serialize;

use super::order::Compared;
use super::part::{Group, Outcome, Part, Ready, Role, Watched};
use super::run::{Memory, RoleReport, Run, ServerEnd, by_role};
use crate::arguments::{self, BurstArguments};
use crate::clock::Nanos;
use crate::descriptors;
use crate::messages::{Reasons, add_reason};
use crate::report::in_words;
use crate::target::Target;

/// What a client hears last when the server stops, on either transport.
const SHUTDOWN: &str = "shutdown";

/// What came of a burst.
#[derive(Debug, Serialize)]
pub struct BurstReport {
    pub load: &'static str,
    pub targets: Vec<String>,
    pub clients: u32,
    pub watchers: u32,
    pub size: usize,
    pub messages: u32,
    /// What the system gave to the watchers' process.
    pub priority: String,
    /// Clients that got in, of all.
    pub connected: u32,
    /// The others, by reason.
    pub failed: Reasons,
    /// From the burst to the end of the load.
    pub seconds: f64,
    /// Why it ended then.
    pub ended: Ended,
    /// Deliveries a second to all clients.
    pub deliveries_per_second: f64,
    /// Deliveries to the watchers.
    pub deliveries: Deliveries,
    /// Watchers that have heard every message that any of them has heard.
    pub whole: u32,
    /// Watchers that were cut, by their last line or close code.
    pub cut: Reasons,
    /// The longest time that a watcher heard nothing, in seconds.
    pub longest_silence: f64,
    /// The others.
    pub crowd: RoleReport,
    pub memory: Option<Memory>,
    pub stop: Option<Stop>,
    pub interrupted: bool,
    /// Why it failed; empty if all is well.
    pub faults: Vec<String>,
}

/// Deliveries to the watchers, each once unless said.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Deliveries {
    /// Messages said, times watchers.
    pub expected: u64,
    /// Messages that a watcher has heard, so the server had accepted them.
    pub accepted_messages: u64,
    pub heard: u64,
    /// Missing before a later one, or when nothing was on its way any more, or when the watcher was cut.
    pub lost: u64,
    pub doubled: u64,
    pub reordered: u64,
    /// Messages that nobody has said like this.
    pub strange: u64,
    /// Still on their way when the time was over.
    pub due: u64,
}

/// Why a load ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ended {
    /// Every watcher had everything, or was cut.
    Complete,
    /// Nothing moved any more.
    Quiet,
    /// `--for` was over.
    TimeOver,
    /// The server was asked to stop, has, and every watcher has heard its end.
    ServerStopped,
    /// The server has ended though nobody asked.
    ServerGone,
    /// Somebody stopped it.
    Interrupted,
}

/// How the server stopped under the load.
#[derive(Debug, Serialize)]
pub struct Stop {
    /// When it was asked to, in seconds from the burst.
    pub after: f64,
    /// How long it took from then; `None` if it has not ended.
    pub seconds: Option<f64>,
    pub server: Option<ServerEnd>,
    /// Watchers that have heard everything that was accepted, and then the last line or close code.
    pub whole_to_the_last_line: u32,
}

/// Runs it.
pub fn measure(arguments: &BurstArguments, interrupts: &Receiver<()>) -> anyhow::Result<BurstReport> {
    arguments.check()?;
    let targets = match &arguments.targets[..] {
        [] => vec![arguments::LINES.parse()?],
        given => given.to_vec(),
    };
    let parts = parts(arguments, &targets, descriptors::connections_max()?);
    let mut run = Run::start(&parts, &arguments.server, &targets, interrupts)?;
    ensure!(
        arguments.stop_after.is_none() || run.has_server(),
        "--stop-after: no process is found that listens there: --pid or --spawn names it"
    );
    let ready = run.connect()?;
    let start = run.begin()?;
    let (ended, stopped) = until_it_ends(&mut run, arguments, start)?;
    let end = Nanos::now();
    let outcomes = run.finish()?;
    let report = report(arguments, &targets, &run, ready, &outcomes, Times { start, end, stopped, ended });
    run.end()?;
    Ok(report)
}

/// The watchers' process, and as many for the crowd as descriptors need.
fn parts(arguments: &BurstArguments, targets: &[Target], connections_max: u32) -> Vec<Part> {
    let room = arguments::room_prefix();
    let groups = |role, clients: u32, first: u32| -> Vec<Group> {
        let count = targets.len() as u32;
        let of = |index: u32| (clients + count - 1 - (index + count - first % count) % count) / count;
        let targets = (0..).zip(targets);
        let group = |(index, target): (u32, &Target)| Group {
            role,
            target: target.clone(),
            clients: of(index),
            room: Some(room.clone()),
        };
        targets.map(group).collect()
    };
    let part = |groups, is_prompt, first_speaker, clients_before| Part {
        groups,
        late: 0,
        is_prompt,
        size: arguments.size,
        messages: arguments.messages,
        first_speaker,
        expected: arguments.clients * arguments.messages,
        clients_before,
        patience: arguments.patience,
    };
    let mut parts = vec![part(groups(Role::Watcher, arguments.watchers, 0), true, 0, 0)];
    // Half of them are in before the crowd, half behind it: a server may serve members in the order of their coming.
    parts[0].late = arguments.watchers / 2;
    let mut first = 0;
    while first < arguments.clients {
        let clients = connections_max.min(arguments.clients - first);
        parts.push(part(groups(Role::Speaker, clients, first), false, first, arguments.watchers + first));
        first += clients;
    }
    parts
}

/// Returns why it ended, and when the server was asked to stop.
fn until_it_ends(run: &mut Run, arguments: &BurstArguments, start: Nanos) -> anyhow::Result<(Ended, Option<Nanos>)> {
    let mut stopped = None;
    loop {
        run.hear()?;
        let now = Nanos::now();
        if let Some(after) = arguments.stop_after
            && stopped.is_none()
            && now >= start + after
        {
            run.stop_server()?;
            stopped = Some(now);
        }
        let progress = run.progress();
        let ended = match arguments.stop_after {
            None if progress.watchers_settled >= arguments.watchers => Some(Ended::Complete),
            None if run.server_end.is_some() => Some(Ended::ServerGone),
            Some(_) if run.server_end.is_some() && progress.watchers_cut >= arguments.watchers => {
                Some(Ended::ServerStopped)
            }
            _ if run.interrupted => Some(Ended::Interrupted),
            _ if now >= start + arguments.time => Some(Ended::TimeOver),
            _ if now.since(run.moved) > arguments.patience => Some(Ended::Quiet),
            _ => None,
        };
        if let Some(ended) = ended {
            return Ok((ended, stopped));
        }
    }
}

struct Times {
    start: Nanos,
    end: Nanos,
    stopped: Option<Nanos>,
    ended: Ended,
}

fn report(
    arguments: &BurstArguments,
    targets: &[Target],
    run: &Run,
    ready: Ready,
    outcomes: &[Outcome],
    times: Times,
) -> BurstReport {
    let watchers: Vec<&Watched> = outcomes.iter().flat_map(|outcome| &outcome.watchers).collect();
    let mut cut = Reasons::new();
    watchers.iter().filter_map(|watcher| watcher.cut.clone()).for_each(|reason| add_reason(&mut cut, reason));
    let is_whole = |watcher: &&&Watched| watcher.compared.lost == 0 && watcher.compared.behind == 0;
    let heard_the_end = |watcher: &&&Watched| watcher.cut.as_ref().is_some_and(|reason| reason.starts_with(SHUTDOWN));
    let seconds = times.end.since(times.start).as_secs_f64();
    let mut roles = by_role(outcomes);
    let deliveries: u64 = roles.values().map(|role| role.deliveries).sum();
    let mut report = BurstReport {
        load: "burst",
        targets: targets.iter().map(Target::to_string).collect(),
        clients: arguments.clients,
        watchers: arguments.watchers,
        size: arguments.size,
        messages: arguments.messages,
        priority: ready.priority.unwrap_or_default(),
        connected: ready.connected,
        failed: ready.failed,
        seconds,
        ended: times.ended,
        deliveries_per_second: deliveries as f64 / seconds.max(f64::EPSILON),
        deliveries: deliveries_of(outcomes, &watchers, times.ended, arguments.messages),
        whole: watchers.iter().filter(is_whole).count() as u32,
        cut,
        longest_silence: watchers.iter().map(|watcher| watcher.silence.as_secs_f64()).fold(0.0, f64::max),
        crowd: roles.remove(&Role::Speaker).unwrap_or_default(),
        memory: run.memory,
        stop: times.stopped.map(|stopped| Stop {
            after: stopped.since(times.start).as_secs_f64(),
            seconds: run.server_end.as_ref().map(|end| end.at.since(stopped).as_secs_f64()),
            server: run.server_end.clone(),
            whole_to_the_last_line: watchers.iter().filter(is_whole).filter(heard_the_end).count() as u32,
        }),
        interrupted: times.ended == Ended::Interrupted,
        faults: Vec::new(),
    };
    report.faults = faults(&report, watchers.len() as u64);
    report
}

/// What is lost depends on why the load ended: what is on its way when the time is over is not.
fn deliveries_of(outcomes: &[Outcome], watchers: &[&Watched], ended: Ended, messages: u32) -> Deliveries {
    let said: u64 = outcomes.iter().map(|outcome| outcome.said).sum();
    let mut all = Compared::default();
    let mut deliveries = Deliveries { expected: said * watchers.len() as u64, ..Deliveries::default() };
    let unheard: BTreeSet<u32> = outcomes.iter().flat_map(|outcome| &outcome.unheard).copied().collect();
    // What a speaker had said before it was cut need not have been read.
    let speakers_cut: BTreeSet<u32> = outcomes.iter().flat_map(|outcome| &outcome.speakers_cut).copied().collect();
    let is_owed = |number: &&u32| !speakers_cut.contains(&(**number / messages));
    let owed_by_all = unheard.iter().filter(is_owed).count() as u64;
    let all_has_come = matches!(ended, Ended::Complete | Ended::Quiet);
    for watcher in watchers {
        all += watcher.compared;
        deliveries.strange += watcher.strange;
        let is_owed =
            watcher.cut.is_some() || all_has_come || matches!(ended, Ended::ServerStopped | Ended::ServerGone);
        let missing = watcher.compared.behind + if all_has_come { owed_by_all } else { 0 };
        if is_owed {
            deliveries.lost += missing;
        } else {
            deliveries.due += missing;
        }
    }
    deliveries.accepted_messages = said.saturating_sub(unheard.len() as u64);
    deliveries.heard = all.heard;
    deliveries.lost += all.lost;
    deliveries.doubled = all.doubled;
    deliveries.reordered = all.reordered;
    deliveries
}

fn faults(report: &BurstReport, watchers: u64) -> Vec<String> {
    let mut faults = Vec::new();
    let all = u64::from(report.clients) + u64::from(report.watchers);
    if u64::from(report.connected) < all && !report.interrupted {
        let missing = all - u64::from(report.connected);
        faults.push(format!("{missing} of {all} clients did not get in: {}", in_words(&report.failed)));
    }
    let Deliveries { lost, doubled, reordered, strange, expected, .. } = report.deliveries;
    let counted =
        BTreeMap::from([("lost", lost), ("doubled", doubled), ("out of order", reordered), ("changed", strange)]);
    let counted = counted.into_iter().filter(|(_, count)| *count > 0);
    faults.extend(counted.map(|(what, count)| format!("{count} of {expected} deliveries to watchers {what}")));
    let cut = report.cut.iter().filter(|(reason, _)| report.stop.is_none() || !reason.starts_with(SHUTDOWN));
    let cut: Reasons = cut.map(|(reason, count)| (reason.clone(), *count)).collect();
    if !cut.is_empty() {
        faults.push(format!("{} of {watchers} watchers were cut: {}", cut.values().sum::<u64>(), in_words(&cut)));
    }
    if report.ended == Ended::ServerGone {
        faults.push("the server has ended under the load".to_owned());
    }
    faults.extend(report.stop.iter().flat_map(|stop| stop.faults(watchers)));
    faults
}

impl Stop {
    fn faults(&self, watchers: u64) -> Vec<String> {
        let mut faults = Vec::new();
        let whole = u64::from(self.whole_to_the_last_line);
        if whole < watchers {
            let missing = watchers - whole;
            faults.push(format!("{missing} of {watchers} watchers lack something that was accepted, or the last line"));
        }
        match &self.server {
            None => faults.push("the server has not stopped".to_owned()),
            Some(end) if end.code.is_some_and(|code| code != 0) || end.status.starts_with("signal") => {
                faults.push(format!("the server ended with {}", end.status));
            }
            Some(_) => {}
        }
        faults
    }
}
