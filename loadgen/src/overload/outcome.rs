//! What a process of an overload has found, gathered from its clients at the end.

use super::order;
use super::part::{Outcome, Role, Watched};
use super::worker::Worker;
use crate::clock::Nanos;
use crate::latency::Latencies;
use crate::messages::{add_reason, add_reasons};

/// All that it has found.
pub fn of(worker: &mut Worker, now: Nanos) -> Outcome {
    let mut outcome = Outcome { said: worker.said, ..Outcome::default() };
    let Worker { part, actors, waits, moved, .. } = worker;
    let mut watchers = Vec::new();
    let mut heard = Vec::new();
    let mut speaker = part.first_speaker;
    for actor in actors.iter_mut() {
        let role = part.groups[actor.group].role;
        if role == Role::Speaker {
            if actor.cut.is_some() {
                outcome.speakers_cut.push(speaker);
            }
            speaker += 1;
        }
        if !actor.was_in && role != Role::Newcomer {
            continue;
        }
        if role == Role::Watcher {
            if actor.is_alive() {
                actor.be_silent_until(*moved, part);
            }
            let (strange, silence, cut) = (actor.strange, actor.silence, actor.cut.clone());
            watchers.push(Watched { strange, silence, cut, ..Watched::default() });
            heard.push(std::mem::take(&mut actor.heard));
        }
        let of_role = outcome.roles.entry(role).or_default();
        of_role.clients += 1;
        of_role.deliveries += actor.deliveries;
        of_role.pings += actor.pings;
        of_role.disordered += actor.disordered + actor.strange;
        add_reasons(&mut of_role.refused, &actor.refused);
        if let Some(reason) = &actor.cut {
            add_reason(&mut of_role.cut, reason.clone());
            of_role.cut_without_ping += u32::from(actor.pings == 0);
        }
        of_role.unanswered += actor.waiting.len() as u64;
        if actor.is_alive() {
            actor.waiting.iter().for_each(|&due| waits[actor.group].record(now.since(due)));
        }
    }
    add_waits(worker, &mut outcome);
    if !heard.is_empty() {
        let (compared, unheard) = order::compare(&heard, worker.part.expected);
        watchers.iter_mut().zip(compared).for_each(|(watcher, compared)| watcher.compared = compared);
        outcome.unheard = unheard;
    }
    outcome.watchers = watchers;
    outcome
}

/// Groups of one role share a histogram.
fn add_waits(worker: &Worker, outcome: &mut Outcome) {
    for (role, of_role) in &mut outcome.roles {
        let mut all = Latencies::default();
        let groups = worker.part.groups.iter().zip(&worker.waits).filter(|(group, _)| group.role == *role);
        groups.for_each(|(_, waits)| all.add(&waits.counts()));
        of_role.waits = all.counts();
    }
}
