//! Collects the result of a worker process from its clients at the end.

use super::messages::{Role, WatcherResult, WorkerResult};
use super::order;
use super::worker::Worker;
use crate::clock::Nanos;
use crate::latency::Latencies;
use crate::messages::{add_reason, add_reasons};

/// Collects the result of the process.
pub fn collect(worker: &mut Worker, now: Nanos) -> WorkerResult {
    let mut result = WorkerResult { said: worker.said, ..WorkerResult::default() };
    let Worker { assignment, clients, waits, moved, .. } = worker;
    let mut watchers = Vec::new();
    let mut heard = Vec::new();
    let mut speaker = assignment.first_speaker;
    for client in clients.iter_mut() {
        let role = assignment.groups[client.group].role;
        if role == Role::Speaker {
            if client.cut.is_some() {
                result.speakers_cut.push(speaker);
            }
            speaker += 1;
        }
        if !client.was_in && role != Role::Newcomer {
            continue;
        }
        if role == Role::Watcher {
            if client.is_alive() {
                client.be_silent_until(*moved, assignment);
            }
            let (strange, silence, cut) = (client.strange, client.silence, client.cut.clone());
            watchers.push(WatcherResult { strange, silence, cut, ..WatcherResult::default() });
            heard.push(std::mem::take(&mut client.heard));
        }
        let of_role = result.roles.entry(role).or_default();
        of_role.clients += 1;
        of_role.deliveries += client.deliveries;
        of_role.pings += client.pings;
        of_role.disordered += client.disordered + client.strange;
        add_reasons(&mut of_role.refused, &client.refused);
        if let Some(reason) = &client.cut {
            add_reason(&mut of_role.cut, reason.clone());
            of_role.cut_without_ping += u32::from(client.pings == 0);
        }
        of_role.unanswered += client.waiting.len() as u64;
        if client.is_alive() {
            client.waiting.iter().for_each(|&due| waits[client.group].record(now.since(due)));
        }
    }
    add_waits(worker, &mut result);
    if !heard.is_empty() {
        let (compared, unheard) = order::compare(&heard, worker.assignment.expected);
        watchers.iter_mut().zip(compared).for_each(|(watcher, compared)| watcher.compared = compared);
        result.unheard = unheard;
    }
    result.watchers = watchers;
    result
}

/// Merges the waiting times of all groups with the same role.
fn add_waits(worker: &Worker, result: &mut WorkerResult) {
    for (role, of_role) in &mut result.roles {
        let mut all = Latencies::default();
        let groups = worker.assignment.groups.iter().zip(&worker.waits).filter(|(group, _)| group.role == *role);
        groups.for_each(|(_, waits)| all.add(&waits.counts()));
        of_role.waits = all.counts();
    }
}
