//! The burst: all members of one room publish at the same moment. Members that read promptly must receive every message
//! once and in a common order.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::Receiver;

use anyhow::ensure;
use serde::Serialize;

use super::messages::{Assignment, ClientGroup, Ready, Role, WatcherResult, WorkerResult};
use super::order::OrderCheck;
use super::run::{RoleReport, Run, ServerExit, ServerMemory, by_role};
use crate::arguments::{self, BurstArguments};
use crate::clock::Nanos;
use crate::descriptors;
use crate::reasons::{Reasons, add_reason};
use crate::report::format_reasons;
use crate::target::Target;

/// Start of the last line or close reason when the server stops, on both transports.
const SHUTDOWN: &str = "shutdown";

/// The report of a burst.
#[derive(Debug, Serialize)]
pub struct BurstReport {
    pub load: &'static str,
    pub targets: Vec<String>,
    pub clients: u32,
    pub watchers: u32,
    pub size: usize,
    pub messages: u32,
    /// The scheduling priority that the system gave to the watchers' process.
    pub priority: String,
    /// Clients that joined.
    pub connected: u32,
    /// Clients that failed, by reason.
    pub failed: Reasons,
    /// Seconds from the burst to the end of the load.
    pub seconds: f64,
    /// Why the load ended.
    pub ended: EndReason,
    /// Deliveries per second to all clients.
    pub deliveries_per_second: f64,
    pub deliveries: Deliveries,
    /// Watchers that received every message that any watcher received.
    pub whole: u32,
    /// Disconnected watchers, by their last line or close code.
    pub cut: Reasons,
    /// Longest time in seconds that a watcher received nothing.
    pub longest_silence: f64,
    /// The clients that publish.
    pub crowd: RoleReport,
    pub memory: Option<ServerMemory>,
    pub stop: Option<Stop>,
    pub interrupted: bool,
    /// Why the burst failed; empty if it passed.
    pub faults: Vec<String>,
}

/// Deliveries to watchers.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Deliveries {
    /// Published messages times watchers.
    pub expected: u64,
    /// Messages that at least one watcher received, so the server had accepted them.
    pub accepted_messages: u64,
    pub heard: u64,
    /// Missing before a later message, at a disconnect, or when nothing was on its way any more.
    pub lost: u64,
    pub doubled: u64,
    pub reordered: u64,
    /// Messages that differ from every published one.
    pub strange: u64,
    /// Still on their way when the time was over.
    pub due: u64,
}

/// Why a load ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum EndReason {
    /// Every watcher received everything or was disconnected.
    Complete,
    /// Nothing happened for the patience.
    Quiet,
    /// The time of `--for` was over.
    TimeOver,
    /// The server stopped as requested, and every watcher was disconnected.
    ServerStopped,
    /// The server exited without a request.
    ServerGone,
    /// Ctrl-C.
    Interrupted,
}

/// How the server stopped during the load.
#[derive(Debug, Serialize)]
pub struct Stop {
    /// Seconds from the burst to SIGTERM.
    pub after: f64,
    /// Seconds from SIGTERM to the exit; `None` if the server has not exited.
    pub seconds: Option<f64>,
    pub server: Option<ServerExit>,
    /// Watchers that received everything that was accepted, and then the last line or close code.
    pub whole_to_the_last_line: u32,
}

/// Runs a burst.
pub fn measure(arguments: &BurstArguments, interrupts: &Receiver<()>) -> anyhow::Result<BurstReport> {
    arguments.check()?;
    let targets = match &arguments.targets[..] {
        [] => vec![arguments::LINES.parse()?],
        given => given.to_vec(),
    };
    let assignments = assignments(arguments, &targets, descriptors::connections_max()?);
    let mut run = Run::start(&assignments, &arguments.server, &targets, interrupts)?;
    ensure!(
        arguments.stop_after.is_none() || run.has_server(),
        "--stop-after: no process is found that listens there: --pid or --spawn names it"
    );
    let ready = run.connect()?;
    let start = run.begin()?;
    let (ended, stopped) = wait_for_end(&mut run, arguments, start)?;
    let end = Nanos::now();
    let results = run.finish()?;
    let report = report(arguments, &targets, &run, ready, &results, Times { start, end, stopped, ended });
    run.end()?;
    Ok(report)
}

/// One process for the watchers, and as many for the crowd as the descriptor limit needs.
fn assignments(arguments: &BurstArguments, targets: &[Target], connections_max: u32) -> Vec<Assignment> {
    let room = arguments::room_prefix();
    let groups = |role, clients: u32, first: u32| -> Vec<ClientGroup> {
        let count = targets.len() as u32;
        let of = |index: u32| (clients + count - 1 - (index + count - first % count) % count) / count;
        let targets = (0..).zip(targets);
        let group = |(index, target): (u32, &Target)| ClientGroup {
            role,
            target: target.clone(),
            clients: of(index),
            room: Some(room.clone()),
        };
        targets.map(group).collect()
    };
    let assignment = |groups| Assignment {
        groups,
        size: arguments.size,
        messages: arguments.messages,
        expected: arguments.clients * arguments.messages,
        patience: arguments.patience,
        tls: arguments.tls.clone(),
        ..Assignment::default()
    };
    // Half of the watchers join before the crowd and half after it, because a server may serve members in the order of
    // joining.
    let late = arguments.watchers / 2;
    let watchers = assignment(groups(Role::Watcher, arguments.watchers, 0));
    let mut assignments = vec![Assignment { high_priority: true, late, ..watchers }];
    for first_speaker in (0..arguments.clients).step_by(connections_max as usize) {
        let clients = connections_max.min(arguments.clients - first_speaker);
        let clients_before = arguments.watchers + first_speaker;
        let speakers = assignment(groups(Role::Speaker, clients, first_speaker));
        assignments.push(Assignment { first_speaker, clients_before, ..speakers });
    }
    assignments
}

/// Waits for the end. Returns its reason and when the server was asked to stop.
fn wait_for_end(run: &mut Run, arguments: &BurstArguments, start: Nanos) -> anyhow::Result<(EndReason, Option<Nanos>)> {
    let mut stopped = None;
    loop {
        run.next_event()?;
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
            None if progress.watchers_settled >= arguments.watchers => Some(EndReason::Complete),
            None if run.server_exit.is_some() => Some(EndReason::ServerGone),
            Some(_) if run.server_exit.is_some() && progress.watchers_cut >= arguments.watchers => {
                Some(EndReason::ServerStopped)
            }
            _ if run.interrupted => Some(EndReason::Interrupted),
            _ if now >= start + arguments.time => Some(EndReason::TimeOver),
            _ if now.since(run.moved) > arguments.patience => Some(EndReason::Quiet),
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
    ended: EndReason,
}

fn report(
    arguments: &BurstArguments,
    targets: &[Target],
    run: &Run,
    ready: Ready,
    results: &[WorkerResult],
    times: Times,
) -> BurstReport {
    let watchers: Vec<&WatcherResult> = results.iter().flat_map(|result| &result.watchers).collect();
    let mut cut = Reasons::new();
    watchers.iter().filter_map(|watcher| watcher.cut.clone()).for_each(|reason| add_reason(&mut cut, reason));
    let is_whole = |watcher: &&&WatcherResult| watcher.compared.lost == 0 && watcher.compared.behind == 0;
    let heard_the_end =
        |watcher: &&&WatcherResult| watcher.cut.as_ref().is_some_and(|reason| reason.starts_with(SHUTDOWN));
    let seconds = times.end.since(times.start).as_secs_f64();
    let mut roles = by_role(results);
    let deliveries: u64 = roles.values().map(|role| role.counts.deliveries).sum();
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
        deliveries: deliveries_of(results, &watchers, times.ended, arguments.messages),
        whole: watchers.iter().filter(is_whole).count() as u32,
        cut,
        longest_silence: watchers.iter().map(|watcher| watcher.silence.as_secs_f64()).fold(0.0, f64::max),
        crowd: roles.remove(&Role::Speaker).unwrap_or_default(),
        memory: run.memory,
        stop: times.stopped.map(|stopped| Stop {
            after: stopped.since(times.start).as_secs_f64(),
            seconds: run.server_exit.as_ref().map(|end| end.at.since(stopped).as_secs_f64()),
            server: run.server_exit.clone(),
            whole_to_the_last_line: watchers.iter().filter(is_whole).filter(heard_the_end).count() as u32,
        }),
        interrupted: times.ended == EndReason::Interrupted,
        faults: Vec::new(),
    };
    report.faults = faults(&report, watchers.len() as u64);
    report
}

/// Counts deliveries. Whether missing ones are lost depends on the end: deliveries on their way when the time is over
/// are not.
fn deliveries_of(results: &[WorkerResult], watchers: &[&WatcherResult], ended: EndReason, messages: u32) -> Deliveries {
    let said: u64 = results.iter().map(|result| result.said).sum();
    let mut all = OrderCheck::default();
    let mut deliveries = Deliveries { expected: said * watchers.len() as u64, ..Deliveries::default() };
    let unheard: BTreeSet<u32> = results.iter().flat_map(|result| &result.unheard).copied().collect();
    // The server need not have read the messages of a client before it disconnected that client.
    let speakers_cut: BTreeSet<u32> = results.iter().flat_map(|result| &result.speakers_cut).copied().collect();
    let is_owed = |number: &&u32| !speakers_cut.contains(&(**number / messages));
    let owed_by_all = unheard.iter().filter(is_owed).count() as u64;
    let all_has_come = matches!(ended, EndReason::Complete | EndReason::Quiet);
    for watcher in watchers {
        all += watcher.compared;
        deliveries.strange += watcher.strange;
        let is_owed =
            watcher.cut.is_some() || all_has_come || matches!(ended, EndReason::ServerStopped | EndReason::ServerGone);
        let missing = watcher.compared.behind + if all_has_come { owed_by_all } else { 0 };
        if is_owed {
            deliveries.lost += missing;
        } else {
            deliveries.due += missing;
        }
    }
    deliveries.accepted_messages = said.saturating_sub(unheard.len() as u64);
    deliveries.heard = all.received;
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
        faults.push(format!("{missing} of {all} clients did not get in: {}", format_reasons(&report.failed)));
    }
    let Deliveries { lost, doubled, reordered, strange, expected, .. } = report.deliveries;
    let counted =
        BTreeMap::from([("lost", lost), ("doubled", doubled), ("out of order", reordered), ("changed", strange)]);
    let counted = counted.into_iter().filter(|(_, count)| *count > 0);
    faults.extend(counted.map(|(what, count)| format!("{count} of {expected} deliveries to watchers {what}")));
    let cut = report.cut.iter().filter(|(reason, _)| report.stop.is_none() || !reason.starts_with(SHUTDOWN));
    let cut: Reasons = cut.map(|(reason, count)| (reason.clone(), *count)).collect();
    if !cut.is_empty() {
        faults.push(format!("{} of {watchers} watchers were cut: {}", cut.values().sum::<u64>(), format_reasons(&cut)));
    }
    if report.ended == EndReason::ServerGone {
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
