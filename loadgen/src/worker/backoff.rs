//! How long a client waits before it tries to come back: as the server tells it, or as real clients do. Pure.

use std::time::Duration;

use crate::workload::Failover;

/// The most that a client adds to the time that the server tells it, as a part of that, so that clients that were told
/// the same do not come at the same moment. The client of the server's pages (`roomcast.js`) does the same.
const HINT_JITTER: f64 = 0.2;

/// Time before the second attempt at another target, and the increase with each further one. Up to as much is added at
/// random.
const OTHER_AFTER: Duration = Duration::from_millis(50);

/// Attempts after which the time between two of them at other targets does not grow any more.
const OTHER_SLOWED_MAX: u32 = 10;

/// The shortest and the longest wait before an attempt at the same target, and how often the range doubles at most: the
/// defaults `minReconnectDelay` and `maxReconnectDelay` and the function `backoff` of Centrifugo's SDK for JavaScript.
const SAME_AFTER_MIN: Duration = Duration::from_millis(500);
const SAME_AFTER_MAX: Duration = Duration::from_secs(20);
const SAME_DOUBLINGS_MAX: u32 = 31;

/// The time until the next attempt of a client that has failed so often since it lost its connection. `random` is from 0
/// to 1. Without a hint the first attempt at another target follows at once.
pub fn wait(failover: Failover, failed: u32, hint: Option<Duration>, random: f64) -> Duration {
    match (hint, failover) {
        (Some(hint), _) => hint.mul_f64(1.0 + HINT_JITTER * random),
        (None, Failover::Other) => OTHER_AFTER.mul_f64(f64::from(failed.min(OTHER_SLOWED_MAX)) * (1.0 + random)),
        (None, Failover::Same) => at_same_target(failed, random),
    }
}

/// Full jitter over a range that doubles with each attempt, behind the shortest wait.
fn at_same_target(failed: u32, random: f64) -> Duration {
    let range = SAME_AFTER_MIN.saturating_mul(1 << failed.min(SAME_DOUBLINGS_MAX)).min(SAME_AFTER_MAX);
    (SAME_AFTER_MIN + range.mul_f64(random)).min(SAME_AFTER_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The shortest and the longest wait, in milliseconds.
    fn range(failover: Failover, failed: u32, hint: Option<u64>) -> [u128; 2] {
        [0.0, 1.0].map(|random| wait(failover, failed, hint.map(Duration::from_secs), random).as_millis())
    }

    #[test]
    fn a_client_waits_as_long_as_it_is_told_and_up_to_a_fifth_longer() {
        for failover in [Failover::Other, Failover::Same] {
            assert_eq!(range(failover, 0, Some(11)), [11_000, 13_200]);
            assert_eq!(range(failover, 5, Some(1)), [1_000, 1_200], "the last word counts");
        }
    }

    #[test]
    fn at_the_same_target_the_range_doubles_up_to_twenty_seconds() {
        let waits = [0, 1, 2, 5, 6, 40].map(|failed| range(Failover::Same, failed, None));
        let expected = [[500, 1_000], [500, 1_500], [500, 2_500], [500, 16_500], [500, 20_000], [500, 20_000]];
        assert_eq!(waits, expected);
    }

    #[test]
    fn another_target_is_tried_at_once_and_the_next_ones_soon() {
        let waits = [0, 1, 2, 10, 40].map(|failed| range(Failover::Other, failed, None));
        assert_eq!(waits, [[0, 0], [50, 100], [100, 200], [500, 1_000], [500, 1_000]]);
    }
}
