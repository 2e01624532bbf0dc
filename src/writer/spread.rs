//! Which clients a stop ends next, where it spreads their endings over a time. Knows no clock and no socket.

use std::time::Duration;

use fastrand::Rng;

use super::Slot;

/// The clients that a stop has still to end, in random order: those that have joined together, or come from one network,
/// come back apart from each other.
#[derive(Debug)]
pub(super) struct Spread {
    left: Vec<Slot>,
    total: usize,
    time: Duration,
}

impl Spread {
    /// Endings of these clients over a time.
    pub fn new(clients: Vec<Slot>, time: Duration, random: &mut Rng) -> Self {
        let (total, mut left) = (clients.len(), clients);
        random.shuffle(&mut left);
        Self { left, total, time }
    }

    /// Takes the clients that are due once this much of the time has passed: the same share of all as that of the time.
    /// One that has gone by itself has its turn all the same, so that the others keep theirs.
    pub fn take_due(&mut self, elapsed: Duration) -> Vec<Slot> {
        let share = elapsed.div_duration_f64(self.time).min(1.0);
        let due = (self.total as f64 * share) as usize;
        self.left.split_off((self.total - due).min(self.left.len()))
    }

    /// Whether every client has had its turn.
    pub fn is_over(&self) -> bool {
        self.left.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: Duration = Duration::from_secs(10);

    fn clients(count: u32) -> Vec<Slot> {
        (0..count).map(|index| Slot { index, generation: index % 3 }).collect()
    }

    fn spread(count: u32, seed: u64) -> Spread {
        Spread::new(clients(count), TIME, &mut Rng::with_seed(seed))
    }

    #[test]
    fn clients_are_due_evenly_each_once_and_all_by_the_end() {
        for count in [1, 7, 200, 1_000] {
            let mut spread = spread(count, 1);
            let mut taken = Vec::new();
            for step in 0..=200_u32 {
                taken.extend(spread.take_due(TIME * step / 200));
                let even = f64::from(count) * f64::from(step) / 200.0;
                assert!((taken.len() as f64 - even).abs() <= 1.0, "{} of {count} at {step}/200", taken.len());
            }
            assert!(spread.is_over() && spread.take_due(TIME * 2).is_empty());
            taken.sort_unstable();
            assert_eq!(taken, clients(count));
        }
    }

    #[test]
    fn nobody_is_due_at_the_beginning_and_after_a_late_look_everybody_who_was_due() {
        let mut spread = spread(100, 1);
        assert!(spread.take_due(Duration::ZERO).is_empty() && !spread.is_over());
        assert_eq!(spread.take_due(TIME / 2).len(), 50);
        assert_eq!(spread.take_due(TIME * 3).len(), 50);
    }

    #[test]
    fn the_order_is_random() {
        let order = |seed| spread(1_000, seed).take_due(TIME);
        assert_eq!(order(1), order(1));
        assert_ne!(order(1), order(2));
        // The first tenth comes from both halves of the table alike, within what chance does.
        let mut spread = spread(1_000, 3);
        let first = spread.take_due(TIME / 10);
        let of_first_half = first.iter().filter(|slot| slot.index < 500).count();
        assert!((30..=70).contains(&of_first_half), "{of_first_half} of {}", first.len());
    }

    #[test]
    fn without_clients_it_is_over_at_once() {
        let mut spread = spread(0, 1);
        assert!(spread.is_over() && spread.take_due(TIME / 2).is_empty());
    }
}
