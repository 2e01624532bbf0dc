//! The answers to `AUTH`, `PING` and `LEAVE`, and of the server API.

use super::{Act, Fault, Seen, Server};

/// The answers to a publish by the server API.
const RESULT: &str = "HTTP/1.1 200 OK\r\ncontent-length: 13\r\n\r\n{\"result\":{}}";
const NO_KEY: &str = "HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n";

impl Server {
    pub(super) fn answer_auth(&mut self, client: usize, token: &str) {
        if !token.is_empty() {
            self.report(Seen::Presented(token.to_owned()));
        }
        let refuses = self.script.iter().any(|fault| matches!(fault, Fault::RefuseTokens));
        for answer in self.wire.authenticated(refuses) {
            self.promise(client, Act::Send(answer));
        }
    }

    pub(super) fn answer_ping(&mut self, client: usize, text: &str) {
        let is_mute = |fault: &Fault| matches!(fault, Fault::AnswerPings(count) if *count <= self.pings);
        if !self.script.iter().any(is_mute) {
            self.promise(client, Act::Send(text.replacen("PING", "PONG", 1) + "\n"));
        }
        self.pings += 1;
    }

    /// Publishes by the server API: `<key> <room> <text>`.
    pub(super) fn answer_api(&mut self, client: usize, publish: &str) {
        let mut words = publish.splitn(3, ' ');
        let mut word = || words.next().expect("three words");
        let (key, room, text) = (word(), word(), word());
        self.report(Seen::Presented(key.to_owned()));
        if self.script.iter().any(|fault| matches!(fault, Fault::RefuseTokens)) {
            return self.promise(client, Act::Send(NO_KEY.to_owned()));
        }
        self.publish(room, text);
        self.promise(client, Act::Send(RESULT.to_owned()));
    }

    pub(super) fn answer_leave(&mut self, client: usize) {
        let Some(room) = self.leave(client) else { return };
        self.promise(client, Act::Send(self.wire.left()));
        let Some(said) = self.histories.get(&room).and_then(|history| history.last()).cloned() else { return };
        if self.take_fault(|fault| matches!(fault, Fault::HauntTheFirstToLeave)) {
            self.promise(client, Act::Send(said));
        }
    }
}
