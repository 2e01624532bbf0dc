//! The answers to `AUTH`, `PING` and `LEAVE`.

use super::{Act, Fault, Seen, Server};

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

    pub(super) fn answer_leave(&mut self, client: usize) {
        let Some(room) = self.leave(client) else { return };
        self.promise(client, Act::Send(self.wire.left()));
        let Some(said) = self.histories.get(&room).and_then(|history| history.last()).cloned() else { return };
        if self.take_fault(|fault| matches!(fault, Fault::HauntTheFirstToLeave)) {
            self.promise(client, Act::Send(said));
        }
    }
}
