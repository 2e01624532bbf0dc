//! Whether the application is asked at all: after failures in a row it is left alone for a while, and then asked once.
//! Synchronous; the caller passes the time.

use std::time::{Duration, Instant};

/// Failures in a row after which the application is left alone.
const FAILURES_MAX: u32 = 5;

/// Time for which it is left alone.
const OPEN_FOR: Duration = Duration::from_secs(5);

/// Counts failures in a row, and stops the questions after too many.
#[derive(Debug)]
pub(super) enum Circuit {
    /// The application is asked.
    Closed { failures: u32 },
    /// It is left alone until then.
    Open { until: Instant },
    /// It is asked once, and the answer decides.
    Trial,
}

/// A question that may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ticket {
    Ordinary,
    /// The only question of the moment.
    Trial,
}

impl Circuit {
    pub(super) const fn new() -> Self {
        Self::Closed { failures: 0 }
    }

    /// Allows a question, or `None`. After a ticket for a trial one of the other calls must follow.
    pub(super) fn admit(&mut self, now: Instant) -> Option<Ticket> {
        match self {
            Self::Closed { .. } => Some(Ticket::Ordinary),
            Self::Open { until } if *until <= now => {
                *self = Self::Trial;
                Some(Ticket::Trial)
            }
            Self::Open { .. } | Self::Trial => None,
        }
    }

    /// Whether a question that has waited is still to be asked.
    pub(super) fn still_admits(&self, ticket: Ticket) -> bool {
        ticket == Ticket::Trial || matches!(self, Self::Closed { .. })
    }

    /// The application has answered, be it a question from before it was left alone.
    pub(super) fn succeeded(&mut self) {
        *self = Self::new();
    }

    /// The application has not answered. True if it is left alone from here on.
    pub(super) fn failed(&mut self, ticket: Ticket, now: Instant) -> bool {
        let opens = match self {
            Self::Closed { failures } => {
                *failures += 1;
                *failures >= FAILURES_MAX
            }
            Self::Trial => ticket == Ticket::Trial,
            Self::Open { .. } => false,
        };
        if opens {
            *self = Self::Open { until: now + OPEN_FOR };
        }
        opens
    }

    /// Nobody waits for the answer any more. After a trial the next question is one.
    pub(super) fn abandoned(&mut self, ticket: Ticket, now: Instant) {
        if matches!((&self, ticket), (Self::Trial, Ticket::Trial)) {
            *self = Self::Open { until: now };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(now: Instant) -> Circuit {
        let mut circuit = Circuit::new();
        let opens = [(); FAILURES_MAX as usize].map(|()| circuit.failed(Ticket::Ordinary, now));
        assert_eq!(opens, [false, false, false, false, true]);
        circuit
    }

    #[test]
    fn it_opens_after_five_failures_in_a_row_and_not_after_five_among_answers() {
        let now = Instant::now();
        let mut circuit = Circuit::new();
        for _ in 0..3 {
            for _ in 1..FAILURES_MAX {
                assert!(!circuit.failed(Ticket::Ordinary, now));
            }
            circuit.succeeded();
        }
        assert_eq!(circuit.admit(now), Some(Ticket::Ordinary));
        assert_eq!(opened(now).admit(now), None);
        assert!(!opened(now).still_admits(Ticket::Ordinary));
    }

    #[test]
    fn after_five_seconds_one_question_is_asked_and_its_answer_decides() {
        let start = Instant::now();
        let mut circuit = opened(start);
        assert_eq!(circuit.admit(start + OPEN_FOR - Duration::from_millis(1)), None);
        let later = start + OPEN_FOR;
        assert_eq!([circuit.admit(later), circuit.admit(later)], [Some(Ticket::Trial), None]);
        assert!(circuit.still_admits(Ticket::Trial));
        // An old question that fails meanwhile decides nothing.
        assert!(!circuit.failed(Ticket::Ordinary, later));
        assert!(circuit.failed(Ticket::Trial, later));
        assert_eq!(circuit.admit(later + OPEN_FOR / 2), None);
        assert_eq!(circuit.admit(later + OPEN_FOR), Some(Ticket::Trial));
        circuit.succeeded();
        assert_eq!(circuit.admit(later + OPEN_FOR), Some(Ticket::Ordinary));
    }

    #[test]
    fn a_trial_that_nobody_waits_for_is_followed_by_another() {
        let later = Instant::now() + OPEN_FOR;
        let mut circuit = opened(later - OPEN_FOR);
        assert_eq!(circuit.admit(later), Some(Ticket::Trial));
        circuit.abandoned(Ticket::Ordinary, later);
        assert_eq!(circuit.admit(later), None);
        circuit.abandoned(Ticket::Trial, later);
        assert_eq!(circuit.admit(later), Some(Ticket::Trial));
    }
}
