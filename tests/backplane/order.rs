//! All nodes follow one order.

use harness::{NatsOptions, NatsServer, OLDEST_NATS};
use roomcast::backplane::CaughtUp;
use roomcast::backplane::entry::{Entry, Proposal};
use roomcast::backplane::feed::Followed;
use roomcast::backplane::signal::{MemberChange, Signal};
use roomcast::protocol::names::RoomName;

use super::common::{Node, entry, rules};

#[tokio::test]
async fn all_nodes_follow_what_all_publish_in_one_order_and_each_knows_its_own() {
    let Some(nats) = NatsServer::start() else { return };
    let (mut a, mut b) = (Node::start(&nats.url()).await, Node::start(&nats.url()).await);
    assert_eq!(a.epoch, b.epoch);
    for number in 0..1_000 {
        a.propose(number, "from a");
        b.propose(number, "from b");
    }
    let (mut followed, mut own) = (Vec::new(), [Vec::new(), Vec::new()]);
    for _ in 0..2_000 {
        let (one, other) = (a.placed().await, b.placed().await);
        assert_eq!((one.offset, one.stored_at, &one.entry), (other.offset, other.stored_at, &other.entry));
        own[0].extend(one.proposal);
        own[1].extend(other.proposal);
        assert!(one.proposal.is_some() != other.proposal.is_some());
        followed.push(one.offset);
    }
    assert!(followed.is_sorted_by(|one, next| one < next));
    assert_eq!(own, [(); 2].map(|()| (0..1_000).collect::<Vec<u64>>()));
}

#[tokio::test]
async fn a_node_that_starts_later_follows_the_stream_from_its_beginning() {
    for version in [harness::NATS, OLDEST_NATS] {
        let Some(nats) = NatsServer::start_with(NatsOptions { version, ..Default::default() }) else { continue };
        let mut first = Node::start(&nats.url()).await;
        for number in 0..5_000 {
            first.propose(number, &format!("publication {number}"));
        }
        let followed = first.texts(5_000).await;
        let mut second = Node::start(&nats.url()).await;
        assert_eq!((second.epoch, second.horizon.0), (first.epoch, 4_095));
        assert_eq!(second.texts(5_000).await, followed);
        CaughtUp::wait(Some(second.caught_up)).await;
        assert!(second.shards[0].reached() >= followed[4_999].0);
    }
}

#[tokio::test]
async fn an_entry_goes_to_the_shard_of_its_room_and_a_signal_to_that_of_other_nodes() {
    let Some(nats) = NatsServer::start() else { return };
    let (a, mut b) = (Node::start(&nats.url()).await, Node::try_start(rules(&nats.url()), 2).await.unwrap());
    let [proposer, _] = [a.proposer.as_ref().unwrap(), b.proposer.as_ref().unwrap()];
    for (number, room) in ["x", "xx", "xxx"].into_iter().enumerate() {
        let entry = if number == 1 {
            Entry::RemoveHistory(RoomName::parse(room).expect("a room"))
        } else {
            entry(room, "text")
        };
        proposer.try_propose(Proposal { shard: 0, number: number as u64, entry }).unwrap();
    }
    let mut rooms = [Vec::new(), Vec::new()];
    for (shard, count) in [(1, 2), (0, 1)] {
        while rooms[shard].len() < count {
            if let Followed::Placed(placed) = b.shards[shard].next().await.unwrap() {
                assert_eq!(placed.proposal, None);
                rooms[shard].push(placed.entry.room().as_str().to_owned());
            }
        }
    }
    assert_eq!(rooms, [vec!["xx"], vec!["x", "xxx"]]);

    let signal = Signal { room: RoomName::parse("xx").unwrap(), change: MemberChange::Counted };
    proposer.signal(signal.clone());
    let heard = loop {
        if let Followed::Signal(signal) = b.shards[0].next().await.unwrap() {
            break signal;
        }
    };
    assert_eq!(heard, signal);
}

#[tokio::test]
async fn a_node_whose_proposers_are_gone_sends_what_it_has_and_ends() {
    let Some(nats) = NatsServer::start() else { return };
    let (mut a, mut b) = (Node::start(&nats.url()).await, Node::start(&nats.url()).await);
    CaughtUp::wait(Some(a.caught_up.clone())).await;
    for number in 0..100 {
        a.propose(number, "last words");
    }
    a.proposer = None;
    a.ended.await.unwrap();
    assert_eq!(b.texts(100).await.len(), 100);
}
