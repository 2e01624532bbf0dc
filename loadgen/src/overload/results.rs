//! Collects the result of a worker process from its clients at the end.

use super::messages::{Role, WatcherResult, WorkerResult};
use super::order;
use super::worker::Worker;
use crate::clock::Nanos;
use crate::latency::Latencies;
use crate::reasons::{add_reason, add_reasons};

/// Collects the result of the process.
pub fn collect(worker: &mut Worker, now: Nanos) -> WorkerResult {
    let mut result = WorkerResult { said: worker.said, ..WorkerResult::default() };
    let Worker { assignment, clients, waits, moved, .. } = worker;
    let mut watchers = Vec::new();
    let mut received = Vec::new();
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
                client.record_silence_until(*moved, assignment);
            }
            let (strange, silence, cut) = (client.strange, client.silence, client.cut.clone());
            watchers.push(WatcherResult { strange, silence, cut, ..WatcherResult::default() });
            received.push(std::mem::take(&mut client.received));
        }
        let counts = &mut result.roles.entry(role).or_default().counts;
        counts.clients += 1;
        counts.deliveries += client.deliveries;
        counts.pings += client.pings;
        counts.disordered += client.disordered + client.strange;
        add_reasons(&mut counts.refused, &client.refused);
        if let Some(reason) = &client.cut {
            add_reason(&mut counts.cut, reason.clone());
            counts.cut_without_ping += u32::from(client.pings == 0);
        }
        counts.unanswered += client.waiting.len() as u64;
        if client.is_alive() {
            client.waiting.iter().for_each(|&due| waits[client.group].record(now.since(due)));
        }
    }
    add_waits(worker, &mut result);
    if !received.is_empty() {
        let (compared, unheard) = order::compare(&received, worker.assignment.expected);
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
