//! Limits on input that clients begin and do not finish, and on line clients that send nothing. One coarse sweep
//! watches all of them; a client that has sent whole commands only costs nothing here.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};
use std::iter;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;

use super::sweep::SweepClock;
use crate::config::InputRules;
use crate::memory::shrink;
use crate::protocol::dialect::Dialect;
use crate::protocol::disconnect::Disconnect;
use crate::shutdown::Drain;
use crate::writer::Slot;
use crate::writer::handle::WriterHandle;

/// The least that is read of a client at once, in bytes, however full the budget is.
const READ_BYTES_MIN: usize = 1024;

/// What the kept input of a client waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum WaitingFor {
    /// The server, which has not executed it yet and does not read from the client meanwhile.
    Server,
    /// The client, which has begun a message.
    Client,
}

/// Guards the input of one worker's clients.
pub struct InputGuard {
    rules: InputRules,
    clock: SweepClock,
    kept: RefCell<KeptInputs>,
    silent: RefCell<SilentClients>,
}

/// Input that is kept: whole commands that are not executed yet, and the beginning of one.
#[derive(Default)]
struct KeptInputs {
    inputs: HashMap<Slot, Input>,
    /// The first to be disconnected comes last.
    ranks: BTreeSet<Rank>,
    bytes: usize,
}

#[derive(Clone, Copy)]
struct Input {
    waiting_for: WaitingFor,
    /// Memory, in bytes.
    bytes: usize,
    since: Duration,
}

/// Past the budget, clients that are waited for are disconnected before those that wait for the server; of these the
/// largest, and of equals the oldest.
type Rank = (WaitingFor, usize, Reverse<Duration>, Slot);

#[derive(Default)]
struct SilentClients {
    /// When each line client came that has sent nothing yet. Empty without an idle timeout.
    newcomers: HashMap<Slot, Duration>,
    /// When each line client last sent a line or was sent an empty one. Empty without a keepalive.
    listeners: HashMap<Slot, Duration>,
}

/// What a sweep found.
#[derive(Debug, Default, PartialEq, Eq)]
struct Due {
    disconnects: Vec<(Slot, Disconnect)>,
    /// Clients that are due an empty line.
    keepalives: Vec<Slot>,
}

impl InputGuard {
    /// A guard without clients.
    pub fn new(rules: InputRules) -> Self {
        Self { rules, clock: SweepClock::start(), kept: RefCell::default(), silent: RefCell::default() }
    }

    pub(super) fn add_line_client(&self, slot: Slot) {
        let now = self.clock.now();
        let mut silent = self.silent.borrow_mut();
        if self.rules.idle_timeout.is_some() {
            silent.newcomers.insert(slot, now);
        }
        if self.rules.line_keepalive.is_some() {
            silent.listeners.insert(slot, now);
        }
    }

    /// A line client has sent a line that is not empty; `is_first` if it never did before.
    pub(super) fn hear_line_client(&self, slot: Slot, is_first: bool) {
        if is_first {
            self.silent.borrow_mut().newcomers.remove(&slot);
        }
        if self.rules.line_keepalive.is_some() {
            self.silent.borrow_mut().listeners.insert(slot, self.clock.now());
        }
    }

    /// Sets how many bytes of a client's input are kept; `is_new` if a message was finished since the last call.
    /// Returns the clients to disconnect since the budget is exceeded, perhaps this one. Logarithmic.
    pub(super) fn keep(
        &self,
        slot: Slot,
        bytes: usize,
        waiting_for: WaitingFor,
        is_new: bool,
    ) -> impl Iterator<Item = Slot> {
        self.kept.borrow_mut().set(slot, bytes, waiting_for, is_new, self.clock.now());
        iter::from_fn(|| self.kept.borrow_mut().evict(self.rules.budget))
    }

    /// How much of a client's input to read at once, of at most `bytes_max`: what the budget has left, and little once
    /// seven eighths of it are taken. The last eighth is for clients that begin a message then.
    pub(super) fn read_bytes_max(&self, bytes_max: usize) -> usize {
        let budget = self.rules.budget - self.rules.budget / 8;
        budget.saturating_sub(self.kept.borrow().bytes).clamp(READ_BYTES_MIN.min(bytes_max), bytes_max)
    }

    pub(super) fn forget(&self, slot: Slot) {
        self.kept.borrow_mut().remove(slot);
        let mut silent = self.silent.borrow_mut();
        silent.newcomers.remove(&slot);
        silent.listeners.remove(&slot);
    }

    /// Enforces the timeouts until the server stops.
    pub async fn run_until_stop(self: Rc<Self>, drain: Drain, writer: WriterHandle) {
        let times = [self.rules.message_timeout, self.rules.idle_timeout, self.rules.line_keepalive];
        let sweep = || {
            let Due { disconnects, keepalives } = self.sweep();
            for (slot, reason) in disconnects {
                writer.disconnect(slot, reason);
            }
            if !keepalives.is_empty() {
                writer.send_now(&keepalives, Bytes::from_static(Dialect::EMPTY_LINE));
            }
        };
        self.clock.sweep_until_stop(times.into_iter().flatten(), drain, sweep).await;
    }

    fn sweep(&self) -> Due {
        let now = self.clock.now();
        let mut due = Due::default();
        let mut kept = self.kept.borrow_mut();
        if let Some(timeout) = self.rules.message_timeout {
            let expired = kept.take_older(now, timeout);
            due.disconnects.extend(expired.into_iter().map(|slot| (slot, Disconnect::MessageTimeout)));
        }
        let SilentClients { newcomers, listeners } = &mut *self.silent.borrow_mut();
        if let Some(timeout) = self.rules.idle_timeout {
            let expired = newcomers.extract_if(|_, came_at| now.saturating_sub(*came_at) >= timeout);
            due.disconnects.extend(expired.map(|(slot, _)| (slot, Disconnect::IdleTimeout)));
        }
        if let Some(time) = self.rules.line_keepalive {
            for (slot, heard_at) in listeners.iter_mut().filter(|(_, at)| now.saturating_sub(**at) >= time) {
                *heard_at = now;
                due.keepalives.push(*slot);
            }
            due.keepalives.sort_unstable();
        }
        shrink(&mut kept.inputs);
        shrink(newcomers);
        shrink(listeners);
        due
    }
}

impl KeptInputs {
    fn set(&mut self, slot: Slot, bytes: usize, waiting_for: WaitingFor, is_new: bool, now: Duration) {
        let before = self.remove(slot);
        if bytes == 0 {
            return;
        }
        // A message ages only while its client is waited for.
        let goes_on =
            |before: &Input| !is_new && before.waiting_for == WaitingFor::Client && waiting_for == WaitingFor::Client;
        let since = before.filter(goes_on).map_or(now, |before| before.since);
        let input = Input { waiting_for, bytes, since };
        self.bytes += bytes;
        self.ranks.insert(input.rank(slot));
        self.inputs.insert(slot, input);
    }

    fn remove(&mut self, slot: Slot) -> Option<Input> {
        let input = self.inputs.remove(&slot)?;
        self.ranks.remove(&input.rank(slot));
        self.bytes -= input.bytes;
        Some(input)
    }

    /// Removes the next client to disconnect, if the budget is exceeded. Logarithmic.
    fn evict(&mut self, budget: usize) -> Option<Slot> {
        if self.bytes <= budget {
            return None;
        }
        let (.., slot) = *self.ranks.last()?;
        self.remove(slot);
        Some(slot)
    }

    /// Removes the clients that have left a message unfinished for too long. Linear in all that keep input.
    fn take_older(&mut self, now: Duration, timeout: Duration) -> Vec<Slot> {
        let is_expired =
            |input: &Input| input.waiting_for == WaitingFor::Client && now.saturating_sub(input.since) >= timeout;
        let expired = self.inputs.iter().filter(|(_, input)| is_expired(input));
        let expired: Vec<Slot> = expired.map(|(slot, _)| *slot).collect();
        for slot in &expired {
            self.remove(*slot);
        }
        expired
    }
}

impl Input {
    fn rank(self, slot: Slot) -> Rank {
        (self.waiting_for, self.bytes, Reverse(self.since), slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: InputRules =
        InputRules { budget: 100, message_timeout: None, idle_timeout: None, line_keepalive: None };
    const HOUR: Option<Duration> = Some(Duration::from_secs(3_600));
    const NONE: Option<Duration> = Some(Duration::ZERO);

    fn slot(index: u32) -> Slot {
        Slot { index, generation: 0 }
    }

    fn keep(guard: &InputGuard, index: u32, bytes: usize, waiting_for: WaitingFor) -> Vec<u32> {
        guard.keep(slot(index), bytes, waiting_for, false).map(|slot| slot.index).collect()
    }

    #[test]
    fn less_is_read_as_the_budget_fills() {
        const MEBIBYTE: usize = 1024 * 1024;
        let guard = InputGuard::new(InputRules { budget: 8 * MEBIBYTE, ..RULES });
        for (kept, read_max) in
            [(0, 64 * 1024), (7 * MEBIBYTE - 10_000, 10_000), (7 * MEBIBYTE + 10_000, READ_BYTES_MIN)]
        {
            assert_eq!(keep(&guard, 0, kept, WaitingFor::Server), [0; 0]);
            assert_eq!(guard.read_bytes_max(64 * 1024), read_max);
        }
    }

    #[test]
    fn past_the_budget_the_largest_is_disconnected_of_equals_the_oldest_and_those_that_wait_for_the_server_last() {
        use WaitingFor::{Client, Server};
        let guard = InputGuard::new(RULES);
        let steps: [(u32, usize, WaitingFor, &[u32]); 9] = [
            (1, 20, Client, &[]),
            (2, 30, Client, &[]),
            (3, 40, Server, &[]),
            (4, 10, Client, &[]),
            (4, 11, Client, &[2]),
            (5, 20, Client, &[]),
            (4, 21, Client, &[4]),
            (6, 25, Server, &[1]), // It is older than 5.
            (6, 70, Server, &[5, 6]),
        ];
        for (index, bytes, waiting_for, disconnected) in steps {
            assert_eq!(keep(&guard, index, bytes, waiting_for), disconnected, "{index} keeps {bytes}");
        }
        guard.forget(slot(3));
        assert_eq!(keep(&guard, 7, 101, Client), [7]);
        assert_eq!(guard.kept.borrow().bytes, 0);
        assert!(guard.kept.borrow().ranks.is_empty() && guard.kept.borrow().inputs.is_empty());
    }

    #[test]
    fn a_message_is_as_old_as_its_beginning_and_ages_only_while_its_client_is_waited_for() {
        use WaitingFor::{Client, Server};
        let mut kept = KeptInputs::default();
        let seconds = Duration::from_secs;
        let older = |kept: &mut KeptInputs, now| kept.take_older(seconds(now), seconds(60)).len();
        kept.set(slot(1), 10, Client, true, seconds(0));
        kept.set(slot(1), 20, Client, false, seconds(50));
        assert_eq!(older(&mut kept, 59), 0);
        kept.set(slot(1), 20, Client, true, seconds(59));
        assert_eq!(older(&mut kept, 60), 0, "another message has begun");
        kept.set(slot(1), 20, Server, false, seconds(100));
        assert_eq!(older(&mut kept, 1_000), 0);
        kept.set(slot(1), 20, Client, false, seconds(1_000));
        assert_eq!([1_059, 1_060, 1_060].map(|now| older(&mut kept, now)), [0, 1, 0]);
    }

    #[test]
    fn a_newcomer_is_one_until_it_sends_a_line_and_every_listener_is_kept_alive_again_and_again() {
        let guard = InputGuard::new(InputRules { idle_timeout: NONE, line_keepalive: NONE, ..RULES });
        (1..=3).for_each(|index| guard.add_line_client(slot(index)));
        guard.hear_line_client(slot(1), true);
        guard.forget(slot(2));
        let keepalives = vec![slot(1), slot(3)];
        let disconnects = vec![(slot(3), Disconnect::IdleTimeout)];
        assert_eq!(guard.sweep(), Due { disconnects, keepalives: keepalives.clone() });
        assert_eq!(guard.sweep(), Due { disconnects: Vec::new(), keepalives });
    }

    #[test]
    fn time_in_which_the_server_stood_still_makes_no_client_older() {
        let rules = InputRules { idle_timeout: HOUR, message_timeout: HOUR, line_keepalive: HOUR, ..RULES };
        let mut guard = InputGuard::new(rules);
        guard.clock.advance(Duration::from_secs(3_000));
        guard.add_line_client(slot(1));
        assert_eq!(keep(&guard, 1, 1, WaitingFor::Client), [0; 0]);
        guard.clock.advance(Duration::from_secs(4_000));
        guard.clock.stand_still(Duration::from_secs(1_000));
        assert_eq!(guard.sweep(), Due::default());
        guard.clock.advance(Duration::from_secs(600));
        let Due { disconnects, keepalives } = guard.sweep();
        assert_eq!(disconnects, [(slot(1), Disconnect::MessageTimeout), (slot(1), Disconnect::IdleTimeout)]);
        assert_eq!(keepalives, [slot(1)]);
    }
}
