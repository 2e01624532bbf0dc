//! A shard in a cluster: it proposes what its clients publish, and applies what the stream says, its own publications and
//! those of other nodes alike.

use std::time::{Duration, Instant};

use super::answers::{Ack, Answer, PublishError};
use super::batch::Batch;
use super::cluster::{Outstanding, Waiter};
use super::idempotency::KeyReused;
use super::log::LogBegin;
use super::now::Now;
use super::order::{Place, Proposal};
use super::shard::Shard;
use crate::backplane::entry::{Entry, ProposalError, Publish};
use crate::backplane::feed::{Followed, Placed};
use crate::protocol::command::CommandError;
use crate::protocol::event::Event;
use crate::protocol::names::RoomName;
use crate::protocol::position::{Epoch, Offset, Position, Since};

/// How far the clocks of the nodes and of NATS may be apart for all nodes to forget a key at the same place.
const CLOCK_DIFFERENCE_MAX: Duration = Duration::from_secs(60);

impl Publish {
    /// What a client publishes to a room.
    pub(super) fn of(room: RoomName, Proposal { publisher, data, .. }: Proposal) -> Self {
        Self { room, publisher, data, is_retained: true, key: None }
    }
}

impl From<ProposalError> for CommandError {
    fn from(error: ProposalError) -> Self {
        Self::Unavailable(match error {
            ProposalError::Unavailable => {
                "the cluster takes no messages now, and this one is not published: try again later"
            }
            ProposalError::Unknown => "the cluster has not answered in time: the message may be published yet",
        })
    }
}

impl Shard {
    /// Proposes what is published. The backplane says later what came of it.
    pub(super) fn propose(&mut self, publish: Publish, outstanding: Outstanding, batch: &mut Batch) {
        let cluster = self.cluster.as_mut().expect("a shard of a cluster");
        if let Err(waiter) = cluster.propose(Entry::Publish(publish), outstanding) {
            refuse(waiter, ProposalError::Unavailable, batch);
        }
    }

    /// Proposes to drop everything that a room retains.
    pub(super) fn propose_removal(
        &mut self,
        room: RoomName,
        answer: Answer<Result<(), CommandError>>,
        batch: &mut Batch,
    ) {
        let cluster = self.cluster.as_mut().expect("a shard of a cluster");
        let outstanding = Outstanding { waiter: Waiter::Remover(answer), read_at: Instant::now(), _permit: None };
        if let Err(waiter) = cluster.propose(Entry::RemoveHistory(room), outstanding) {
            refuse(waiter, ProposalError::Unavailable, batch);
        }
    }

    /// Handles news of the backplane that has no place in a room.
    pub fn hear(&mut self, now: Now, followed: Followed, batch: &mut Batch) {
        batch.begin_command();
        match followed {
            Followed::Placed(placed) => self.follow(now, placed, batch),
            Followed::Failed(number, error) => {
                let outstanding = self.cluster.as_mut().and_then(|cluster| cluster.settle(number));
                if let Some(outstanding) = outstanding {
                    refuse(outstanding.waiter, error, batch);
                }
                self.execute_released(now, batch);
            }
            Followed::Restarted { epoch, horizon, told } => {
                self.restart(now, epoch, horizon, batch);
                let _ = told.send(());
            }
            Followed::Signal(signal) => self.presence.changed_elsewhere(signal, &mut self.rooms, batch),
        }
    }

    /// The backplane has ended. Nobody will tell what comes of the proposals that have no place yet.
    pub fn lose_backplane(&mut self, now: Now, batch: &mut Batch) {
        for number in self.cluster.as_ref().map(|cluster| cluster.outstanding()).unwrap_or_default() {
            self.hear(now, Followed::Failed(number, ProposalError::Unknown), batch);
        }
    }

    /// Everything up to here was heard.
    pub fn reach(&mut self, reached: Offset) {
        if let Some(cluster) = &mut self.cluster {
            cluster.advance(reached);
        }
    }

    /// Lets clients go on that the node has caught up with, or that have waited long enough. True if some may. Linear in
    /// the clients that wait; to be called once for each batch, also while there is always news.
    pub fn look_ahead(&mut self, now: Now) -> bool {
        let Some(cluster) = &mut self.cluster else { return false };
        cluster.look_ahead(now.instant, &self.waiting);
        cluster.has_caught_up()
    }

    /// Whether clients wait for the node to catch up.
    pub fn is_behind(&self) -> bool {
        self.cluster.as_ref().is_some_and(|cluster| cluster.is_behind())
    }

    /// Applies an entry, then executes the commands that have waited for it.
    pub(super) fn follow(&mut self, now: Now, placed: Placed, batch: &mut Batch) {
        self.apply(now, placed, batch);
        self.execute_released(now, batch);
    }

    /// Applies an entry at its place, then tells who has proposed it.
    fn apply(&mut self, now: Now, placed: Placed, batch: &mut Batch) {
        let Placed { offset, stored_at, entry, proposal, .. } = placed;
        let cluster = self.cluster.as_mut().expect("a shard of a cluster");
        let at = cluster.instant_of(stored_at);
        let outstanding = proposal.and_then(|number| cluster.settle(number));
        match entry {
            Entry::Publish(publish) => {
                let read_at = outstanding.as_ref().map_or(now.instant, |outstanding| outstanding.read_at);
                let time = Now { instant: now.instant, unix: stored_at };
                let place = Place { offset, at, published_at: stored_at };
                let published = self.publish_keyed(time, publish, (at, Some(place)), read_at, batch);
                if let Some(outstanding) = outstanding {
                    answer(outstanding.waiter, published, batch);
                }
            }
            Entry::RemoveHistory(room) => {
                self.forget_history(&room);
                if let Some(Outstanding { waiter: Waiter::Remover(answer), .. }) = outstanding {
                    batch.acknowledge_later(Ack::Removed(answer, Ok(())));
                }
            }
        }
        if let Some(cluster) = &mut self.cluster {
            cluster.advance(offset);
        }
    }

    /// The position of a room: up to here a member that is told so has everything.
    pub(super) fn position_of(&self, name: &RoomName) -> Position {
        let position = self.rooms[name].log.position();
        let Some(cluster) = &self.cluster else { return position };
        let applied = cluster.applied(self.waiting.next_entry(name));
        Position { offset: position.offset.max(applied), ..position }
    }

    /// A place up to which a client has everything, as the log of the room knows it: between the last publication and the
    /// position of the room nothing was published.
    pub(super) fn within_log(&self, name: &RoomName, since: Since) -> Since {
        if self.cluster.is_none() || since.offset > self.position_of(name).offset {
            return since;
        }
        Since { offset: since.offset.min(self.rooms[name].log.position().offset), ..since }
    }

    /// Forgets keys that are too old. In a cluster the times of the stream decide when an entry is applied, so that all
    /// nodes agree, and this only frees memory.
    pub(super) fn expire_keys(&mut self, now: Now) {
        let age = if self.cluster.is_some() { CLOCK_DIFFERENCE_MAX } else { Duration::ZERO };
        if let Some(until) = now.instant.checked_sub(age) {
            self.keys.expire(until);
        }
    }

    /// Goes on in another epoch, or behind a hole. What the rooms retain is from before, and so is what waits for writers.
    /// No member stays: until its connection is closed it would get what follows, and resume from there as if it had
    /// what is missing.
    fn restart(&mut self, now: Now, epoch: Epoch, horizon: Offset, batch: &mut Batch) {
        let waiting = self.waiting.take_placed();
        waiting.into_iter().for_each(|placed| self.apply(now, placed, batch));
        // Not in between: they would be told a position behind entries that are still to be applied.
        self.execute_released(now, batch);
        let cluster = self.cluster.as_mut().expect("a shard of a cluster");
        if cluster.epoch() != epoch {
            self.keys.forget();
        }
        cluster.restart(epoch, horizon);
        let mut vacated = Vec::new();
        for (name, room) in &mut self.rooms {
            self.history.forget(name, &mut room.log);
            room.log.begin_anew(epoch, LogBegin { forgotten: horizon, last: horizon });
            if room.has_members() && room.reserved == 0 {
                vacated.push(name.clone());
            }
            room.remove_members();
        }
        vacated.iter().for_each(|name| self.vacated(name));
        self.rooms.retain(|_, room| room.places_taken() > 0);
        self.invalidate_listings();
        self.replays.forget();
    }

    /// Executes the commands that have waited for publications of their clients.
    fn execute_released(&mut self, now: Now, batch: &mut Batch) {
        while let Some(command) = self.cluster.as_mut().and_then(|cluster| cluster.next_released()) {
            self.execute(now, command, batch);
        }
    }
}

/// Tells who has published that it is published.
fn answer(waiter: Waiter, published: Result<Option<Position>, KeyReused>, batch: &mut Batch) {
    match waiter {
        Waiter::Member(to) if to.request.is_some() => batch.reply_position(to, &Event::Accepted),
        Waiter::Member(_) | Waiter::Remover(_) => {}
        Waiter::Outsider(to) => batch.reply(to, &Event::Accepted),
        Waiter::Backend(answer) => {
            batch.acknowledge_later(Ack::Published(answer, published.map_err(PublishError::from)));
        }
    }
}

/// Tells who has proposed that nothing, or nothing yet, came of it.
fn refuse(waiter: Waiter, error: ProposalError, batch: &mut Batch) {
    let error = CommandError::from(error);
    match waiter {
        Waiter::Member(to) | Waiter::Outsider(to) => batch.reply(to, &Event::Error(&error)),
        Waiter::Backend(answer) => {
            batch.acknowledge_later(Ack::Published(answer, Err(PublishError::Unavailable(error))));
        }
        Waiter::Remover(answer) => batch.acknowledge_later(Ack::Removed(answer, Err(error))),
    }
}
