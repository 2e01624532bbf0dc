//! What the leader of the stream says. Only the leader is believed when the stream seems to be another one, since copies
//! may be behind; and only when it says so twice, since a server that was stopped may still take itself for the leader.

use std::time::{Duration, Instant};

use super::following::RestartCause;
use super::stream::{Inspection, StoredAt};

/// The time from one question to the next.
const PERIOD: Duration = Duration::from_secs(1);

/// The same when there is doubt about the stream.
const DOUBT_PERIOD: Duration = Duration::from_millis(250);

/// The time for an answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);

/// Answers in a row by which the stream is another one.
const DOUBTS_MAX: u32 = 2;

/// What is known from the leader, and when it is asked again.
#[derive(Debug)]
pub(super) struct Leader {
    /// The last message at the last answer, and its time.
    pub last: u64,
    pub last_at: StoredAt,
    /// Whether it has said since the connection was made that the stream is the one that was followed.
    pub is_verified: bool,
    doubts: u32,
    ask_at: Instant,
    asked: Option<Asked>,
    questions: u64,
}

/// A question to the leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// Its number. An answer to an earlier one is void.
    pub number: u64,
    /// The message whose time it is to tell.
    pub sequence: Option<u64>,
}

/// The question that has no answer yet, and what was followed when it was asked.
#[derive(Clone, Copy, Debug)]
struct Asked {
    number: u64,
    at: Instant,
    followed: Option<(u64, StoredAt)>,
}

/// What an answer means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It comes too late.
    Void,
    /// The stream is the one that is followed.
    Same,
    /// It seems to be another one; the leader is to be asked again.
    Doubtful,
    /// It is another one.
    Other(RestartCause),
}

impl Leader {
    pub(super) fn new(stream: &Inspection, now: Instant) -> Self {
        Self {
            last: stream.last,
            last_at: stream.last_at,
            is_verified: false,
            doubts: 0,
            ask_at: now,
            asked: None,
            questions: 0,
        }
    }

    /// The question to ask now, if one is due. `followed` is the last message that was followed, and its time.
    pub(super) fn ask(&mut self, followed: Option<(u64, StoredAt)>, now: Instant) -> Option<Question> {
        if now < self.due_at() {
            return None;
        }
        self.questions += 1;
        let number = self.questions;
        self.asked = Some(Asked { number, at: now, followed });
        let is_certain = self.is_verified && self.doubts == 0;
        Some(Question { number, sequence: followed.filter(|_| !is_certain).map(|(sequence, _)| sequence) })
    }

    /// There is no answer to the question.
    pub(super) fn failed(&mut self, number: u64, now: Instant) {
        if self.asked.take_if(|asked| asked.number == number).is_some() {
            self.ask_at = now + DOUBT_PERIOD;
        }
    }

    pub(super) fn answered(&mut self, number: u64, answer: &Inspection, created: StoredAt, now: Instant) -> Answer {
        let Some(asked) = self.asked.take_if(|asked| asked.number == number) else { return Answer::Void };
        self.ask_at = now + PERIOD;
        match asked.contradiction(answer, created) {
            None => {
                self.doubts = 0;
                Answer::Same
            }
            Some(_) if self.doubts + 1 < DOUBTS_MAX => {
                self.doubts += 1;
                self.ask_at = now + DOUBT_PERIOD;
                Answer::Doubtful
            }
            Some(cause) => Answer::Other(cause),
        }
    }

    /// The stream is the one that is followed from here on.
    pub(super) fn believe(&mut self, answer: &Inspection) {
        (self.last, self.last_at) = (answer.last, answer.last_at);
        (self.is_verified, self.doubts) = (true, 0);
    }

    /// Something has come that does not fit.
    pub(super) fn doubt(&mut self, now: Instant) {
        self.ask_at = self.ask_at.min(now + DOUBT_PERIOD);
    }

    /// There is a connection again, maybe to a server that knows better.
    pub(super) fn reconnected(&mut self, now: Instant) {
        (self.is_verified, self.doubts) = (false, 0);
        (self.asked, self.ask_at) = (None, now);
    }

    /// When it is to be asked.
    pub(super) fn due_at(&self) -> Instant {
        self.asked.map_or(self.ask_at, |asked| asked.at + ANSWER_WITHIN)
    }
}

impl Asked {
    /// Why the answer cannot be about the stream that was followed when it was asked for.
    fn contradiction(&self, answer: &Inspection, created: StoredAt) -> Option<RestartCause> {
        let is_lost = |(sequence, at)| answer.last < sequence || answer.asked.is_some_and(|asked| asked != at);
        if answer.created != created {
            Some(RestartCause::Anew)
        } else {
            self.followed.is_some_and(is_lost).then_some(RestartCause::Lost)
        }
    }
}
