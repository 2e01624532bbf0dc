//! The flood: one member publishes as fast as its socket accepts. Whatever that costs its own room, all other clients
//! must be answered in time.

use std::collections::BTreeMap;
use std::sync::mpsc::Receiver;

use serde::Serialize;

use super::messages::{Assignment, ClientGroup, Ready, Role, RoleCounts};
use super::run::{RoleReport, Run, ServerMemory, by_role};
use crate::arguments::{self, FloodArguments};
use crate::clock::Nanos;
use crate::descriptors;
use crate::objective::Objective;
use crate::reasons::Reasons;
use crate::report::format_reasons;
use crate::target::Target;

/// Members of each room that is not flooded.
const ROOM_MEMBERS: u32 = 10;

/// The report of a flood.
#[derive(Debug, Serialize)]
pub struct FloodReport {
    pub load: &'static str,
    pub targets: Vec<String>,
    pub members: u32,
    pub size: usize,
    /// The scheduling priority that the system gave to the bystanders' process.
    pub priority: String,
    pub connected: u32,
    pub failed: Reasons,
    /// Seconds that the flood lasted.
    pub seconds: f64,
    /// Lines that the flooder's socket accepted.
    pub said: u64,
    /// Deliveries per second in the flooded room.
    pub deliveries_per_second: f64,
    /// Results of the clients by role.
    pub roles: BTreeMap<Role, RoleReport>,
    pub memory: Option<ServerMemory>,
    pub interrupted: bool,
    /// Why the flood failed; empty if it passed.
    pub faults: Vec<String>,
}

/// Runs a flood.
pub fn measure(arguments: &FloodArguments, interrupts: &Receiver<()>) -> anyhow::Result<FloodReport> {
    arguments.check()?;
    let targets = match &arguments.targets[..] {
        [] => vec![arguments::LINES.parse()?],
        given => given.to_vec(),
    };
    let assignments = assignments(arguments, &targets, descriptors::connections_max()?);
    let mut run = Run::start(&assignments, &arguments.server, &targets, interrupts)?;
    let ready = run.connect()?;
    let start = run.begin()?;
    while Nanos::now() < start + arguments.time && !run.interrupted && run.server_exit.is_none() {
        run.next_event()?;
    }
    let seconds = Nanos::now().since(start).as_secs_f64();
    let deliveries = run.progress().deliveries;
    let results = run.finish()?;
    let mut report = FloodReport {
        load: "flood",
        targets: targets.iter().map(Target::to_string).collect(),
        members: arguments.members,
        size: arguments.size,
        priority: ready.priority.clone().unwrap_or_default(),
        connected: ready.connected,
        failed: ready.failed.clone(),
        seconds,
        said: results.iter().map(|result| result.said).sum(),
        deliveries_per_second: deliveries as f64 / seconds.max(f64::EPSILON),
        roles: by_role(&results),
        memory: run.memory,
        interrupted: run.interrupted,
        faults: Vec::new(),
    };
    report.faults = faults(&report, &ready, &assignments, run.server_exit.is_some());
    report.faults.extend(missed(&report, arguments.slo.as_ref()));
    run.end()?;
    Ok(report)
}

/// One process for the bystanders, one for the flooder, and as many for the members as the descriptor limit needs.
fn assignments(arguments: &FloodArguments, targets: &[Target], connections_max: u32) -> Vec<Assignment> {
    let prefix = arguments::room_prefix();
    let flooded = format!("{prefix}-flooded");
    let group = |role, target: &Target, clients, room: Option<String>| ClientGroup {
        role,
        target: target.clone(),
        clients,
        room,
    };
    let rooms_of = |role, target: &Target, clients: u32, name: &str| -> Vec<ClientGroup> {
        let rooms = 0..clients.div_ceil(ROOM_MEMBERS);
        let members = |room: u32| ROOM_MEMBERS.min(clients - room * ROOM_MEMBERS);
        rooms.map(|room| group(role, target, members(room), Some(format!("{prefix}-{name}-{room}")))).collect()
    };
    let target = &targets[0];
    let quiet_target = arguments.quiet_target().unwrap_or(target);
    let mut beside = rooms_of(Role::Elsewhere, target, arguments.bystanders, "beside");
    beside.push(group(Role::Nowhere, target, arguments.bystanders, None));
    beside.push(group(Role::Inside, target, arguments.inside, Some(flooded.clone())));
    beside.extend(rooms_of(Role::Quiet, quiet_target, arguments.quiet, "quiet"));
    beside.push(group(Role::Newcomer, target, arguments.newcomers, None));
    let assignment = |groups, clients_before| Assignment {
        groups,
        size: arguments.size,
        clients_before,
        patience: arguments.patience,
        tls: arguments.tls.clone(),
        ..Assignment::default()
    };
    let flooder = vec![group(Role::Flooder, target, 1, Some(flooded.clone()))];
    let mut assignments =
        vec![Assignment { high_priority: true, ..assignment(beside, 0) }, assignment(flooder, connections_max)];
    for before in (1..arguments.members).step_by(connections_max as usize) {
        let clients = connections_max.min(arguments.members - before);
        let members = vec![group(Role::Member, target, clients, Some(flooded.clone()))];
        assignments.push(assignment(members, connections_max + before));
    }
    assignments
}

/// Finds faults. The server may disconnect the flooder and the members that listen to it.
fn faults(report: &FloodReport, ready: &Ready, assignments: &[Assignment], server_has_ended: bool) -> Vec<String> {
    let mut faults = Vec::new();
    let groups =
        assignments.iter().flat_map(|assignment| &assignment.groups).filter(|group| group.role != Role::Newcomer);
    let all: u32 = groups.map(|group| group.clients).sum();
    if ready.connected < all && !report.interrupted {
        let missing = all - ready.connected;
        faults.push(format!("{missing} of {all} clients did not get in: {}", format_reasons(&ready.failed)));
    }
    for (role, found) in &report.roles {
        if matches!(role, Role::Flooder | Role::Member) {
            continue;
        }
        let RoleCounts { clients, unanswered, disordered, .. } = found.counts;
        let name = name(*role);
        if !found.counts.cut.is_empty() {
            faults.push(format!(
                "{} of {clients} {name} were cut: {}",
                found.cut_count(),
                format_reasons(&found.counts.cut)
            ));
        }
        if unanswered > 0 {
            faults.push(format!("{unanswered} answers to {name} never came"));
        }
        if disordered > 0 {
            faults.push(format!("{disordered} messages to {name} did not follow the one before"));
        }
    }
    if server_has_ended {
        faults.push("the server has ended under the load".to_owned());
    }
    faults
}

/// Bystanders outside the flooded room that missed the objective.
fn missed(report: &FloodReport, objective: Option<&Objective>) -> Vec<String> {
    let Some(objective) = objective else { return Vec::new() };
    let apart = [Role::Elsewhere, Role::Nowhere, Role::Newcomer];
    let roles = report.roles.iter().filter(|(role, found)| apart.contains(role) && found.waits.count > 0);
    let fault = |(role, found): (&Role, &RoleReport)| {
        let fault = objective.fault(found.latencies.quantile(objective.quantile()))?;
        Some(format!("{}: {fault}", name(*role)))
    };
    roles.filter_map(fault).collect()
}

/// The name of a role in tables.
pub fn name(role: Role) -> &'static str {
    match role {
        Role::Speaker => "speakers",
        Role::Watcher => "watchers",
        Role::Flooder => "flooder",
        Role::Member => "members",
        Role::Elsewhere => "in other rooms",
        Role::Nowhere => "in no room",
        Role::Inside => "in the flooded room",
        Role::Quiet => "quiet WebSocket clients",
        Role::Newcomer => "newcomers",
    }
}
