//! The phases of a shutdown.

use std::time::Duration;

use roomcast::shutdown::{Drain, DrainPhase};
use tokio::sync::oneshot::channel;

const HOUR: Duration = Duration::from_secs(3_600);

#[tokio::test]
async fn no_session_leaves_before_the_last_has_stopped_publishing() {
    let drain = Drain::default();
    let publishing = drain.publishing();
    let other = drain.clone();
    let (left, mut leaving) = channel();
    tokio::spawn(async move {
        other.leaving().await;
        left.send(()).unwrap();
    });
    let other = drain.clone();
    let stopped = tokio::spawn(async move { other.stop_publishing().await });
    drain.stopping().await;
    assert!(leaving.try_recv().is_err());
    drop(publishing);
    leaving.await.unwrap();
    stopped.await.unwrap();
}

#[tokio::test]
async fn a_spread_is_over_when_the_last_session_has_ended() {
    let drain = Drain::new(HOUR, false);
    let [first, last] = [drain.publishing(), drain.publishing()];
    let other = drain.clone();
    let spreading = tokio::spawn(async move { other.spread_endings().await });
    drain.turning_away().await;
    assert_eq!((drain.is_announced(), drain.phase()), (true, DrainPhase::TurningAway));
    drop(first);
    // It is polled before this is, and still waits for the last.
    tokio::task::yield_now().await;
    assert!(!spreading.is_finished());
    drop(last);
    spreading.await.unwrap();
    assert_eq!(drain.phase(), DrainPhase::TurningAway);
}

#[tokio::test]
async fn a_spread_is_over_after_its_time_whoever_is_left() {
    let drain = Drain::new(Duration::from_millis(1), false);
    let _session = drain.publishing();
    drain.spread_endings().await;
    assert_eq!(drain.phase(), DrainPhase::TurningAway);
}

#[tokio::test]
async fn phases_that_have_begun_together_are_noticed_together() {
    let drain = Drain::default();
    drain.cut();
    drain.stop_publishing().await;
    for phase in [DrainPhase::Serving, DrainPhase::TurningAway, DrainPhase::Stopping] {
        drain.later_than(phase).await;
    }
    assert_eq!(drain.phase(), DrainPhase::Cutting);
}
