//! The phases of a shutdown.

use roomcast::shutdown::Drain;
use tokio::sync::oneshot::channel;

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
