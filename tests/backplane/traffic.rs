//! A node that publishes all the time while something happens to NATS, another that follows, and the check of what both
//! were told.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use harness::until;
use roomcast::backplane::entry::ProposalError;
use roomcast::backplane::feed::{Followed, Placed};
use roomcast::backplane::{BackplaneMetrics, BackplaneState};
use roomcast::protocol::position::{Epoch, Offset};
use tokio::time::{MissedTickBehavior, interval};

use super::common::{Node, text};

/// Publications that are proposed together, a thousand times a second.
const BURST: u64 = 3;

/// Publications without an outcome at once.
const OUTSTANDING_MAX: usize = 256;

/// The text of the last publication.
const END: &str = "end";

/// What a shard was told from one restart to the next.
#[derive(Debug, PartialEq, Eq)]
pub struct Segment {
    pub epoch: Epoch,
    pub horizon: Offset,
    pub followed: Vec<(Offset, String)>,
}

/// What a node has published, and what both nodes were told.
pub struct Told {
    pub outcomes: HashMap<String, Result<Offset, ProposalError>>,
    pub publisher: Vec<Segment>,
    pub follower: Vec<Segment>,
}

/// What somebody who does something to NATS may wait for.
#[derive(Clone)]
pub struct Watch {
    pub publisher: Arc<BackplaneMetrics>,
    pub follower: Arc<BackplaneMetrics>,
}

impl Watch {
    /// Waits until both nodes follow, and have followed more than now.
    pub fn until_both_go_on(&self) {
        let before = self.publisher.place().0.max(self.follower.place().0);
        for metrics in [&self.publisher, &self.follower] {
            until(|| metrics.state() == BackplaneState::Following && metrics.place().0 > before + 50);
        }
    }

    /// Waits until the follower has a connection, or none.
    pub fn until_connected(&self, is_connected: bool) {
        until(|| self.follower.is_connected() == is_connected);
    }

    /// Waits until publishes are refused.
    pub fn until_unavailable(&self) {
        until(|| matches!(self.publisher.state(), BackplaneState::Unavailable { .. }));
    }
}

/// Publishes through one node and follows with another, which reach NATS at these URLs, while `act` runs. It returns what
/// must be there until the end.
pub async fn traffic<T: Send + 'static>(urls: [&str; 2], act: impl FnOnce(Watch) -> T + Send + 'static) -> Told {
    let (publisher, follower) = (Node::start(urls[0]).await, Node::start(urls[1]).await);
    let watch = Watch { publisher: Arc::clone(&publisher.metrics), follower: Arc::clone(&follower.metrics) };
    let is_over = Arc::new(AtomicBool::new(false));
    let publishing = tokio::spawn(publish(publisher, Arc::clone(&is_over)));
    let following = tokio::spawn(follow(follower));
    let acting = tokio::task::spawn_blocking(move || {
        watch.until_both_go_on();
        let servers = act(watch.clone());
        watch.until_both_go_on();
        servers
    });
    let _servers = acting.await.expect("no panic");
    is_over.store(true, Ordering::Relaxed);
    let (publisher, outcomes) = publishing.await.expect("no panic");
    Told { outcomes, publisher, follower: following.await.expect("no panic") }
}

async fn publish(
    mut node: Node,
    is_over: Arc<AtomicBool>,
) -> (Vec<Segment>, HashMap<String, Result<Offset, ProposalError>>) {
    let (mut segments, mut outcomes, mut proposed) = (vec![Segment::new(&node)], HashMap::new(), Vec::new());
    let mut ticks = interval(Duration::from_millis(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            followed = node.next() => {
                if let Some((number, outcome)) = outcome(&followed) {
                    outcomes.insert(proposed[number as usize], outcome);
                }
                if note(&mut segments, followed) {
                    let texts = outcomes.into_iter().map(|(number, outcome): (u64, _)| (number.to_string(), outcome));
                    return (segments, texts.collect());
                }
            }
            _ = ticks.tick(), if proposed.len() - outcomes.len() < OUTSTANDING_MAX => {
                let is_over = is_over.load(Ordering::Relaxed);
                for _ in 0..BURST {
                    let number = proposed.len() as u64;
                    proposed.push(number);
                    node.propose(number, &if is_over { END.to_owned() } else { number.to_string() });
                }
            }
        }
    }
}

async fn follow(mut node: Node) -> Vec<Segment> {
    let mut segments = vec![Segment::new(&node)];
    while !note(&mut segments, node.next().await) {}
    assert_eq!(*node.restarts.borrow() as usize, segments.len() - 1, "others are told of restarts");
    segments
}

fn outcome(followed: &Followed) -> Option<(u64, Result<Offset, ProposalError>)> {
    match followed {
        Followed::Placed(Placed { proposal: Some(number), offset, .. }) => Some((*number, Ok(*offset))),
        Followed::Failed(number, error) => Some((*number, Err(*error))),
        _ => None,
    }
}

/// Notes what a shard is told. Returns whether it is the end.
fn note(segments: &mut Vec<Segment>, followed: Followed) -> bool {
    match followed {
        Followed::Restarted { epoch, horizon, told } => {
            segments.push(Segment { epoch, horizon, followed: Vec::new() });
            told.send(()).expect("the thread waits");
        }
        Followed::Placed(Placed { offset, entry, .. }) => {
            let text = text(&entry);
            if text == END {
                return true;
            }
            segments.last_mut().expect("a beginning").followed.push((offset, text));
        }
        Followed::Failed(..) | Followed::Signal(_) => {}
    }
    false
}

impl Segment {
    fn new(node: &Node) -> Self {
        Self { epoch: node.epoch, horizon: node.horizon, followed: Vec::new() }
    }
}

impl Told {
    /// The outcomes of this kind.
    pub fn failed(&self, error: ProposalError) -> usize {
        self.outcomes.values().filter(|outcome| **outcome == Err(error)).count()
    }

    /// Both nodes were told the same, without a restart; each acknowledged publication once, at its offset and in the
    /// order in which it was proposed; nothing that was refused.
    #[track_caller]
    pub fn check_whole(&self) {
        assert_eq!(self.publisher.len(), 1, "no restart");
        assert_eq!(self.publisher, self.follower);
        self.check_segments();
        let followed = &self.publisher[0].followed;
        let places: HashMap<&str, Offset> = followed.iter().map(|(offset, text)| (text.as_str(), *offset)).collect();
        for (text, outcome) in &self.outcomes {
            match outcome {
                Ok(offset) => assert_eq!(places.get(text.as_str()).unwrap_or(offset), offset, "{text}"),
                Err(ProposalError::Unavailable) => assert!(!places.contains_key(text.as_str()), "{text}"),
                Err(ProposalError::Unknown) => {}
            }
        }
        let acknowledged = self.outcomes.iter().filter(|(_, outcome)| outcome.is_ok());
        let missing = acknowledged.filter(|(text, _)| !places.contains_key(text.as_str())).count();
        // The last ones were called otherwise.
        assert!(missing <= OUTSTANDING_MAX + BURST as usize, "{missing} are missing");
    }

    /// In no segment does anything come twice or out of order.
    #[track_caller]
    pub fn check_segments(&self) {
        for Segment { followed, horizon, .. } in self.publisher.iter().chain(&self.follower) {
            assert!(followed.is_sorted_by(|one, next| one.0 < next.0));
            assert!(followed.first().is_none_or(|first| first.0 > *horizon));
            assert_eq!(followed.iter().map(|(_, text)| text).collect::<HashSet<_>>().len(), followed.len());
            assert!(followed.is_sorted_by_key(|(_, text)| text.parse::<u64>().expect("a number")));
        }
    }
}
