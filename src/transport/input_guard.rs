//! What a worker watches its clients for: input that is begun and not finished, and line clients that say nothing. One coarse
//! sweep, no timer per client; a client that is owed nothing of the kind costs nothing here.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::time::{MissedTickBehavior, interval};

use crate::config::InputRules;
use crate::protocol::dialect::Dialect;
use crate::protocol::disconnect::Disconnect;
use crate::session::SessionContext;
use crate::writer::Slot;
use crate::writer::handle::WriterHandle;

/// The sweep comes this many times within the shortest of the times that it keeps.
const SWEEPS_PER_TIME: u32 = 4;

/// The sweep comes at least this often, so that a long time is kept to the second.
const SWEEP_INTERVAL_MAX: Duration = Duration::from_secs(1);

/// A table with fewer entries than one in so many of its places is made smaller.
const SPARE_PART: usize = 4;

/// Less than this is not worth it, in entries.
const SPARE_MIN: usize = 1_024;

/// Who has to act before the input of a client becomes whole or is executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum WaitingFor {
    /// The server: it does not read from the client meanwhile.
    Server,
    /// The client, which has begun a message.
    Client,
}

/// The watch of one worker.
pub struct InputGuard {
    rules: InputRules,
    clock: RefCell<Clock>,
    unfinished: RefCell<PartialInputs>,
    silent: RefCell<SilentClients>,
}

/// Time in which the server ran, since the watch began.
struct Clock {
    began: Instant,
    /// The server stood still for this long.
    lost: Duration,
}

/// Input that is kept, in whole commands that are not executed yet and in parts of one.
#[derive(Default)]
struct PartialInputs {
    inputs: HashMap<Slot, Input>,
    /// The next to give way comes last.
    ranks: BTreeSet<Rank>,
    bytes: usize,
}

#[derive(Clone, Copy)]
struct Input {
    waiting_for: WaitingFor,
    /// In memory.
    bytes: usize,
    since: Duration,
}

/// Clients that hold up themselves give way before those that the server holds up, then the largest, then the oldest.
type Rank = (WaitingFor, usize, Reverse<Duration>, Slot);

/// Line clients by when something was last heard of them.
#[derive(Default)]
struct SilentClients {
    /// Those of which nothing was heard yet, where they may not stay for ever.
    newcomers: HashMap<Slot, Duration>,
    /// All, where they are kept alive; or when they were last written to for that.
    listeners: HashMap<Slot, Duration>,
}

/// What a sweep found.
#[derive(Debug, Default, PartialEq, Eq)]
struct Due {
    /// Clients whose time is over.
    over: Vec<(Slot, Disconnect)>,
    /// Clients that are to be written an empty line.
    idle: Vec<Slot>,
}

impl InputGuard {
    /// A watch over nobody yet.
    pub fn new(rules: InputRules) -> Self {
        Self {
            rules,
            clock: RefCell::new(Clock { began: Instant::now(), lost: Duration::ZERO }),
            unfinished: RefCell::default(),
            silent: RefCell::default(),
        }
    }

    /// A line client has come.
    pub fn line_client_came(&self, slot: Slot) {
        let now = self.now();
        let mut silent = self.silent.borrow_mut();
        if self.rules.idle_timeout.is_some() {
            silent.newcomers.insert(slot, now);
        }
        if self.rules.line_keepalive.is_some() {
            silent.listeners.insert(slot, now);
        }
    }

    /// A line client has said something; `is_first` if it never did before.
    pub fn line_client_spoke(&self, slot: Slot, is_first: bool) {
        if is_first {
            self.silent.borrow_mut().newcomers.remove(&slot);
        }
        if self.rules.line_keepalive.is_some() {
            self.silent.borrow_mut().listeners.insert(slot, self.now());
        }
    }

    /// So many bytes of a client's input are kept now. `is_new` if a message was finished since this was said last. Returns the
    /// clients that have to give way for it, perhaps this one.
    pub fn keeps(&self, slot: Slot, bytes: usize, waiting_for: WaitingFor, is_new: bool) -> impl Iterator<Item = Slot> {
        let now = self.now();
        self.unfinished.borrow_mut().set(slot, bytes, waiting_for, is_new, now);
        std::iter::from_fn(|| self.unfinished.borrow_mut().gives_way(self.rules.budget))
    }

    /// How much of a client's input to read at once, of at most `most` bytes: as much as there is room for, and little once
    /// seven eighths of the budget are taken. The last eighth is for those that begin a message then.
    pub fn read_bytes_max(&self, most: usize) -> usize {
        let budget = self.rules.budget - self.rules.budget / 8;
        budget.saturating_sub(self.unfinished.borrow().bytes).clamp(READ_BYTES_MIN.min(most), most)
    }

    /// The client's input has ended.
    pub fn forget(&self, slot: Slot) {
        self.unfinished.borrow_mut().remove(slot);
        let mut silent = self.silent.borrow_mut();
        silent.newcomers.remove(&slot);
        silent.listeners.remove(&slot);
    }

    /// Sweeps until the server stops, which ends all clients anyway.
    pub fn run_until_stop(self: Rc<Self>, sessions: &SessionContext) -> impl Future<Output = ()> + use<> {
        let (drain, writer) = (sessions.drain.clone(), sessions.writer.clone());
        async move {
            tokio::select! {
                () = drain.stopping() => {}
                () = self.run(writer) => {}
            }
        }
    }

    async fn run(&self, writer: WriterHandle) {
        let times = [self.rules.message_timeout, self.rules.idle_timeout, self.rules.line_keepalive];
        let sweep_within = times.into_iter().flatten().map(|time| time / SWEEPS_PER_TIME).min();
        let mut sweeps = interval(sweep_within.unwrap_or(SWEEP_INTERVAL_MAX).min(SWEEP_INTERVAL_MAX));
        sweeps.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let due_at = sweeps.tick().await.into_std();
            let Due { over, idle } = self.sweep(Instant::now().saturating_duration_since(due_at));
            for (slot, reason) in over {
                writer.disconnect(slot, reason);
            }
            if !idle.is_empty() {
                writer.ping(&idle, Bytes::from_static(Dialect::EMPTY_LINE));
            }
        }
    }

    /// The server itself did not run for `late`.
    fn sweep(&self, late: Duration) -> Due {
        self.clock.borrow_mut().lost += late;
        let now = self.now();
        let mut due = Due::default();
        if let Some(timeout) = self.rules.message_timeout {
            let over = self.unfinished.borrow_mut().take_older(now, timeout);
            due.over.extend(over.map(|slot| (slot, Disconnect::MessageTimeout)));
        }
        let mut silent = self.silent.borrow_mut();
        if let Some(timeout) = self.rules.idle_timeout {
            let over = silent.newcomers.extract_if(|_, came| now.saturating_sub(*came) >= timeout);
            due.over.extend(over.map(|(slot, _)| (slot, Disconnect::IdleTimeout)));
            shrink(&mut silent.newcomers);
        }
        if let Some(time) = self.rules.line_keepalive {
            let idle = silent.listeners.iter_mut().filter(|(_, heard)| now.saturating_sub(**heard) >= time);
            due.idle.extend(idle.map(|(slot, heard)| {
                *heard = now;
                *slot
            }));
            due.idle.sort_unstable();
            shrink(&mut silent.listeners);
        }
        shrink(&mut self.unfinished.borrow_mut().inputs);
        due
    }

    fn now(&self) -> Duration {
        let Clock { began, lost } = *self.clock.borrow();
        began.elapsed().saturating_sub(lost)
    }
}

/// A client is read this much at once however full the budget is.
const READ_BYTES_MIN: usize = 1024;

impl PartialInputs {
    fn set(&mut self, slot: Slot, bytes: usize, waiting_for: WaitingFor, is_new: bool, now: Duration) {
        let before = self.remove(slot);
        if bytes == 0 {
            return;
        }
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

    /// The next that has to give way, if too much is kept. What it keeps counts no longer. Logarithmic.
    fn gives_way(&mut self, budget: usize) -> Option<Slot> {
        if self.bytes <= budget {
            return None;
        }
        let (.., slot) = *self.ranks.last()?;
        self.remove(slot);
        Some(slot)
    }

    /// The clients that have left a message unfinished for so long. They count no longer. Linear in all that keep input.
    fn take_older(&mut self, now: Duration, timeout: Duration) -> impl Iterator<Item = Slot> + use<> {
        let is_over =
            |input: &Input| input.waiting_for == WaitingFor::Client && now.saturating_sub(input.since) >= timeout;
        let over = self.inputs.iter().filter(|(_, input)| is_over(input));
        let over: Vec<Slot> = over.map(|(slot, _)| *slot).collect();
        for slot in &over {
            self.remove(*slot);
        }
        over.into_iter()
    }
}

impl Input {
    fn rank(self, slot: Slot) -> Rank {
        (self.waiting_for, self.bytes, Reverse(self.since), slot)
    }
}

/// Gives back what a peak needed.
fn shrink<K: Eq + Hash, V>(table: &mut HashMap<K, V>) {
    if table.capacity() > SPARE_MIN.max(table.len() * SPARE_PART) {
        table.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: InputRules =
        InputRules { budget: 100, message_timeout: None, idle_timeout: None, line_keepalive: None };
    const LONG: Option<Duration> = Some(Duration::from_secs(3_600));
    const NONE: Option<Duration> = Some(Duration::ZERO);

    fn slot(index: u32) -> Slot {
        Slot { index, generation: 0 }
    }

    fn keeps(watch: &InputGuard, index: u32, bytes: usize, waiting_for: WaitingFor) -> Vec<u32> {
        watch.keeps(slot(index), bytes, waiting_for, false).map(|slot| slot.index).collect()
    }

    #[test]
    fn less_is_read_as_the_budget_fills() {
        const MEBIBYTE: usize = 1024 * 1024;
        let rules = InputRules { budget: 8 * MEBIBYTE, ..RULES };
        let watch = InputGuard::new(rules);
        let slot = Slot { index: 0, generation: 0 };
        let after = |bytes| {
            assert_eq!(watch.keeps(slot, bytes, WaitingFor::Server, false).count(), 0);
            watch.read_bytes_max(64 * 1024)
        };
        assert_eq!(after(0), 64 * 1024);
        assert_eq!(after(7 * MEBIBYTE - 10_000), 10_000);
        assert_eq!(after(7 * MEBIBYTE + 10_000), READ_BYTES_MIN);
    }

    #[test]
    fn past_the_budget_the_largest_gives_way_of_equals_the_oldest_and_those_that_the_server_holds_up_last() {
        let watch = InputGuard::new(RULES);
        for (index, bytes, waiting_for) in [
            (1, 20, WaitingFor::Client),
            (2, 30, WaitingFor::Client),
            (3, 40, WaitingFor::Server),
            (4, 10, WaitingFor::Client),
        ] {
            assert_eq!(keeps(&watch, index, bytes, waiting_for), [0; 0]);
        }
        assert_eq!(keeps(&watch, 4, 11, WaitingFor::Client), [2]);
        assert_eq!(keeps(&watch, 5, 20, WaitingFor::Client), [0; 0]);
        assert_eq!(keeps(&watch, 4, 21, WaitingFor::Client), [4]);
        assert_eq!(keeps(&watch, 6, 25, WaitingFor::Server), [1], "it is older than 5");
        assert_eq!(keeps(&watch, 6, 70, WaitingFor::Server), [5, 6]);
        watch.forget(slot(3));
        assert_eq!(keeps(&watch, 7, 101, WaitingFor::Client), [7]);
        assert_eq!(watch.unfinished.borrow().bytes, 0);
        assert!(watch.unfinished.borrow().ranks.is_empty() && watch.unfinished.borrow().inputs.is_empty());
    }

    #[test]
    fn what_is_kept_no_longer_counts_no_longer() {
        let watch = InputGuard::new(RULES);
        for _ in 0..100 {
            assert_eq!(keeps(&watch, 1, 90, WaitingFor::Client), [0; 0]);
            assert_eq!(keeps(&watch, 1, 0, WaitingFor::Client), [0; 0]);
        }
    }

    #[test]
    fn a_message_is_as_old_as_its_beginning_and_ages_only_while_its_client_is_waited_for() {
        let mut unfinished = PartialInputs::default();
        let seconds = Duration::from_secs;
        let older = |unfinished: &mut PartialInputs, now| unfinished.take_older(seconds(now), seconds(60)).count();
        unfinished.set(slot(1), 10, WaitingFor::Client, true, seconds(0));
        unfinished.set(slot(1), 20, WaitingFor::Client, false, seconds(50));
        assert_eq!(older(&mut unfinished, 59), 0);
        unfinished.set(slot(1), 20, WaitingFor::Client, true, seconds(59));
        assert_eq!(older(&mut unfinished, 60), 0, "another message has begun");
        unfinished.set(slot(1), 20, WaitingFor::Server, false, seconds(100));
        assert_eq!(older(&mut unfinished, 1_000), 0);
        unfinished.set(slot(1), 20, WaitingFor::Client, false, seconds(1_000));
        assert_eq!(older(&mut unfinished, 1_059), 0);
        assert_eq!(older(&mut unfinished, 1_060), 1);
        assert_eq!(older(&mut unfinished, 1_060), 0);
    }

    #[test]
    fn a_newcomer_is_one_until_it_says_something() {
        let watch = InputGuard::new(InputRules { idle_timeout: NONE, ..RULES });
        (1..=3).for_each(|index| watch.line_client_came(slot(index)));
        watch.line_client_spoke(slot(1), true);
        watch.forget(slot(2));
        assert_eq!(watch.sweep(Duration::ZERO).over, [(slot(3), Disconnect::IdleTimeout)]);
        assert_eq!(watch.sweep(Duration::ZERO), Due::default());
    }

    #[test]
    fn time_in_which_the_server_stood_still_makes_nobody_older() {
        let watch =
            InputGuard::new(InputRules { idle_timeout: LONG, message_timeout: LONG, line_keepalive: LONG, ..RULES });
        watch.clock.borrow_mut().began -= Duration::from_secs(3_000);
        watch.line_client_came(slot(1));
        assert_eq!(keeps(&watch, 1, 1, WaitingFor::Client), [0; 0]);
        watch.clock.borrow_mut().began -= Duration::from_secs(4_000);
        assert_eq!(watch.sweep(Duration::from_secs(1_000)), Due::default());
        watch.clock.borrow_mut().began -= Duration::from_secs(600);
        let Due { over, idle } = watch.sweep(Duration::ZERO);
        assert_eq!(over, [(slot(1), Disconnect::MessageTimeout), (slot(1), Disconnect::IdleTimeout)]);
        assert_eq!(idle, [slot(1)]);
    }

    #[test]
    fn every_line_client_is_kept_alive_again_and_again() {
        let watch = InputGuard::new(InputRules { line_keepalive: NONE, ..RULES });
        (1..=3).for_each(|index| watch.line_client_came(slot(index)));
        watch.forget(slot(2));
        for _ in 0..2 {
            assert_eq!(watch.sweep(Duration::ZERO).idle, [slot(1), slot(3)]);
        }
    }
}
