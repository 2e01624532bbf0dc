//! A room of a server without faults, whose members come and go while their sockets are read in any order: the checker
//! must find no fault.

use std::collections::VecDeque;

use super::*;

/// The first one publishes and stays. Of the others, those with odd numbers leave and join again, and those with even
/// numbers are cut again and again and come back with their position.
const MEMBERS: u32 = 7;

/// Publications after which a member that was away is told of a gap.
const RETAINED: usize = 4;

/// The room as the server has it, and what each member has not read yet.
struct Model {
    checker: DeliveryChecker,
    random: fastrand::Rng,
    now: Nanos,
    /// When each message was due.
    dues: Vec<Nanos>,
    /// The numbers of messages in the order of the room, which is not that of publishing where nodes race.
    order: Vec<u32>,
    /// A message that a slow node has not brought into the order yet.
    slow: Option<u32>,
    clients: Vec<Client>,
}

/// One member and its connection.
#[derive(Default)]
struct Client {
    state: State,
    unread: VecDeque<Sent>,
    /// Index in the order of the message that it expects next.
    next: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Member,
    /// Has left the room, or its leave is not answered yet.
    Left,
    Cut,
    /// In the room again after a cut.
    Back,
}

impl State {
    fn is_in_room(self) -> bool {
        matches!(self, Self::Member | Self::Back)
    }
}

/// What the server has sent to one client.
enum Sent {
    /// The message at this index of the order.
    Message(usize),
    Joined,
    /// The answer to a leave that was sent at this time.
    Left(Nanos),
    Resumed,
    /// Index in the order of the message behind the gap.
    Gap(usize),
}

impl Model {
    fn new(seed: u64) -> Self {
        let mut checker = DeliveryChecker::new(MEMBERS as usize, true);
        (0..MEMBERS).for_each(|member| checker.join(member, Nanos(0)));
        let clients = (0..MEMBERS).map(|_| Client::default()).collect();
        let (random, order) = (fastrand::Rng::with_seed(seed), Vec::new());
        Self { checker, random, now: Nanos(0), dues: Vec::new(), order, slow: None, clients }
    }

    /// Does one thing at random.
    fn step(&mut self) {
        self.now.0 += 1;
        match self.random.u32(..9) {
            0..3 => self.publish(),
            8 => self.accept_slow(),
            3..6 => {
                let member = self.random.u32(..MEMBERS);
                (0..self.random.usize(..8)).for_each(|_| self.read(member));
            }
            _ => {
                let member = self.random.u32(1..MEMBERS);
                self.come_or_go(member);
            }
        }
    }

    /// Publishes a message that was due a while ago.
    fn publish(&mut self) {
        let due = Nanos(self.now.0.saturating_sub(self.random.u64(..20)));
        let due = self.dues.last().map_or(due, |&before| due.max(before));
        let number = self.checker.publish(due, 0);
        self.dues.push(due);
        if self.slow.is_none() && self.random.u32(..4) == 0 {
            self.slow = Some(number);
            return;
        }
        self.accept(number);
    }

    fn accept_slow(&mut self) {
        if let Some(number) = self.slow.take() {
            self.accept(number);
        }
    }

    fn accept(&mut self, number: u32) {
        let index = self.order.len();
        self.order.push(number);
        let members = self.clients.iter_mut().filter(|client| client.state.is_in_room());
        members.for_each(|client| client.unread.push_back(Sent::Message(index)));
    }

    fn come_or_go(&mut self, member: u32) {
        let published = self.order.len();
        let client = &mut self.clients[member as usize];
        match client.state {
            State::Member if member % 2 == 1 => {
                if client.unread.iter().any(|sent| matches!(sent, Sent::Joined)) {
                    return;
                }
                client.unread.push_back(Sent::Left(self.now));
                client.state = State::Left;
            }
            State::Member => {
                client.unread.clear();
                client.state = State::Cut;
                self.checker.cut(member);
            }
            State::Left if client.unread.is_empty() => {
                client.unread.push_back(Sent::Joined);
                client.next = published;
                client.state = State::Member;
            }
            State::Left => {}
            State::Back => {
                let was_answered = !client.unread.iter().any(|sent| matches!(sent, Sent::Resumed));
                client.unread.clear();
                client.state = State::Cut;
                if was_answered {
                    assert_eq!(self.checker.cut(member), 0, "{:?}", self.checker);
                }
            }
            State::Cut => {
                client.unread.push_back(Sent::Resumed);
                let mut next = client.next;
                if published - next > RETAINED {
                    client.unread.push_back(Sent::Gap(published));
                    next = published;
                }
                client.unread.extend((next..published).map(Sent::Message));
                client.state = State::Back;
            }
        }
    }

    fn read(&mut self, member: u32) {
        let client = &mut self.clients[member as usize];
        match client.unread.pop_front() {
            None => {}
            Some(Sent::Message(index)) => {
                client.next = index + 1;
                let number = self.order[index];
                let payload = Payload { room: 0, number, intended: self.dues[number as usize] };
                let receipt = self.checker.receive(member, payload, self.now);
                assert_eq!(receipt, Receipt::InOrder, "message {number} to member {member}: {:?}", self.checker);
            }
            Some(Sent::Joined) => self.checker.join(member, self.now),
            Some(Sent::Left(asked)) => self.checker.leave(member, asked),
            Some(Sent::Resumed) => self.checker.resume(member, self.now),
            Some(Sent::Gap(next)) => {
                client.next = next;
                self.checker.excuse_missed(member);
            }
        }
    }

    fn read_all(&mut self) {
        for member in 0..MEMBERS {
            while !self.clients[member as usize].unread.is_empty() {
                self.read(member);
            }
        }
    }
}

#[test]
fn members_that_come_and_go_at_any_moment_miss_nothing_that_was_for_them() {
    for seed in 0..1_000 {
        let mut model = Model::new(seed);
        (0..200).for_each(|_| model.step());
        model.now.0 += 1;
        model.accept_slow();
        model.read_all();
        assert_eq!(model.checker.late_faults(), [], "seed {seed}: {:?}", model.checker);
        assert_eq!(model.checker.lost_deliveries(), 0, "seed {seed}: {:?}", model.checker);
        assert!(model.checker.is_complete(), "seed {seed}: {:?}", model.checker);
    }
}
