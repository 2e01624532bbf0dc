//! What a client does with what it hears. Never waits.

use std::io::ErrorKind;

use anyhow::Context;
use mio::event::Event;
use mio::{Interest, Token};

use super::client::{Sent, Stage};
use super::opening::reason_of;
use super::{Phase, Worker};
use crate::clock::Nanos;
use crate::dialect::{self, Dialect, Heard};
use crate::messages::add_reason;
use crate::schedule::Schedule;
use crate::target::Scheme;

/// So often one client is read before others have their turn: a mebibyte.
const READS_AT_ONCE_MAX: usize = 16;

impl Worker {
    /// Something has happened to a client's socket.
    pub(super) fn attend(&mut self, index: usize, event: &Event) -> anyhow::Result<()> {
        if event.is_writable() && !self.write_on(index)? {
            return Ok(());
        }
        if event.is_readable() {
            self.read(index, event.is_read_closed())?;
        }
        if let Some(due) = self.schedule.as_ref().and_then(Schedule::due) {
            let now = Nanos::now();
            if due <= now {
                self.publish_due(now);
            }
        }
        Ok(())
    }

    /// False if that was the client's end.
    fn write_on(&mut self, index: usize) -> anyhow::Result<bool> {
        if self.clients[index].stage == Stage::Connecting {
            return match self.clients[index].connected() {
                Ok(()) => self.greet(index, Nanos::now()),
                Err(error) => self.fail_to_connect(index, &error).map(|()| false),
            };
        }
        match self.clients[index].flush() {
            Ok(()) => Ok(true),
            Err(error) => self.end(index, reason_of(&error), Nanos::now()).map(|()| false),
        }
    }

    fn greet(&mut self, index: usize, now: Nanos) -> anyhow::Result<bool> {
        let mut out = std::mem::take(&mut self.write_buffer);
        out.clear();
        let target = &self.share.targets[usize::from(self.clients[index].target)].target;
        let dialect = dialect::of(target.scheme);
        dialect.greet(target, &mut out);
        let sent = self.clients[index].send(&out);
        self.write_buffer = out;
        if let Err(error) = sent {
            self.fail_to_open(index, reason_of(&error))?;
            return Ok(false);
        }
        self.clients[index].stage = Stage::Opening;
        if !dialect.waits_for_opening() {
            self.come_in(index, now)?;
        }
        Ok(self.clients[index].stage != Stage::Ended)
    }

    /// It may join now; one that only publishes need not.
    fn come_in(&mut self, index: usize, now: Nanos) -> anyhow::Result<()> {
        if self.clients[index].seat.is_some() {
            return self.ask(index, Stage::Joining, |dialect, room, out| dialect.join(room, out), now);
        }
        self.clients[index].stage = Stage::Ready;
        self.opened(index, now)
    }

    /// Says something about its room, and is then at this stage.
    pub(super) fn ask(
        &mut self,
        index: usize,
        stage: Stage,
        say: impl FnOnce(&dyn Dialect, &str, &mut Vec<u8>),
        now: Nanos,
    ) -> anyhow::Result<()> {
        let mut out = std::mem::take(&mut self.write_buffer);
        out.clear();
        let room = &self.rooms[self.clients[index].room as usize].name;
        say(self.dialect(index), room, &mut out);
        let sent = self.clients[index].send(&out);
        self.write_buffer = out;
        self.clients[index].stage = stage;
        match sent {
            Ok(Sent::Whole | Sent::InPart) => Ok(()),
            Err(error) => self.end(index, reason_of(&error), now),
        }
    }

    pub(super) fn dialect(&self, index: usize) -> &'static dyn Dialect {
        dialect::of(self.scheme(index))
    }

    fn scheme(&self, index: usize) -> Scheme {
        self.share.targets[usize::from(self.clients[index].target)].target.scheme
    }

    fn read(&mut self, index: usize, is_read_closed: bool) -> anyhow::Result<()> {
        let mut buffer = std::mem::take(&mut self.read_buffer);
        let result = self.read_into(&mut buffer, index, is_read_closed);
        self.read_buffer = buffer;
        self.follow_up(index);
        result
    }

    /// One look at the clock serves all that one read brings.
    fn read_into(&mut self, buffer: &mut Vec<u8>, index: usize, is_read_closed: bool) -> anyhow::Result<()> {
        for _ in 0..READS_AT_ONCE_MAX {
            let filled = match self.clients[index].read(buffer) {
                Ok(filled) => filled,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return self.end(index, reason_of(&error), Nanos::now()),
            };
            let now = Nanos::now();
            self.counted.outcome.tally.reads += 1;
            let used = self.hear(index, &buffer[..filled.bytes], now)?;
            if self.clients[index].stage == Stage::Ended {
                return Ok(());
            }
            self.clients[index].keep(&buffer[used..filled.bytes]);
            // The socket tells when there is something again. That saves a system call.
            if !filled.may_have_more && !is_read_closed {
                return Ok(());
            }
        }
        self.look_again(index)
    }

    /// Others have their turn first. A socket that is registered anew tells at once if there is something.
    fn look_again(&mut self, index: usize) -> anyhow::Result<()> {
        let Some(stream) = self.clients[index].stream_mut() else { return Ok(()) };
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().reregister(stream, Token(index), interest).context("watching a socket again")
    }

    /// Everything that has come whole; returns how much that was. Each dialect has a loop of its own: a call through a
    /// table for every delivery would cost a tenth of the generator's time.
    fn hear(&mut self, index: usize, input: &[u8], now: Nanos) -> anyhow::Result<usize> {
        match self.scheme(index) {
            Scheme::Tcp | Scheme::Limit => self.hear_all(&dialect::Lines, index, input, now),
            Scheme::WebSocket => self.hear_all(&dialect::WebSocket, index, input, now),
            Scheme::Nats => self.hear_all(&dialect::Nats, index, input, now),
            Scheme::Redis => self.hear_all(&dialect::Redis, index, input, now),
            Scheme::Echo => self.hear_all(&dialect::Echo, index, input, now),
        }
    }

    fn hear_all(&mut self, dialect: &impl Dialect, index: usize, input: &[u8], now: Nanos) -> anyhow::Result<usize> {
        let mut used = 0;
        while self.clients[index].stage != Stage::Ended {
            let opened = self.clients[index].stage != Stage::Opening;
            if opened {
                used += self.listener(index, now).receive_all(dialect, &input[used..]);
            }
            match dialect.hear(opened, &input[used..]) {
                Ok(None) if input.len() - used > dialect::FRAME_BYTES_MAX => {
                    self.end(index, format!("says more than {} bytes at once", dialect::FRAME_BYTES_MAX), now)?;
                }
                Ok(None) => break,
                Ok(Some((length, heard))) => {
                    used += length;
                    self.act_on(index, heard, now)?;
                }
                Err(nonsense) => self.end(index, format!("does not speak the dialect: {:?}", nonsense.0), now)?,
            }
        }
        Ok(used)
    }

    fn act_on(&mut self, index: usize, heard: Heard<'_>, now: Nanos) -> anyhow::Result<()> {
        match heard {
            Heard::Message(text) => self.listener(index, now).receive(text),
            Heard::Opened => self.come_in(index, now)?,
            Heard::Done => self.go_on(index, now)?,
            Heard::Asked(answer) => {
                if let Err(error) = self.clients[index].send(&answer) {
                    self.end(index, reason_of(&error), now)?;
                }
            }
            Heard::Refused(reason) if self.clients[index].stage == Stage::Joining => self.end(index, reason, now)?,
            Heard::Refused(reason) => add_reason(&mut self.counted.outcome.refused, reason),
            Heard::Ended(reason) => self.end(index, reason, now)?,
            Heard::Pong(_) | Heard::Nothing => {}
        }
        Ok(())
    }

    /// What it asked for is done.
    fn go_on(&mut self, index: usize, now: Nanos) -> anyhow::Result<()> {
        let client = &mut self.clients[index];
        let Some(seat) = client.seat else { return Ok(()) };
        let lobby = &mut self.rooms[client.room as usize];
        match client.stage {
            Stage::Joining => {
                client.stage = Stage::Ready;
                lobby.room.enter(seat, now);
                if self.phase == Phase::Opening {
                    return self.opened(index, now);
                }
                self.counted.outcome.tally.churned += 1;
                Ok(())
            }
            Stage::Leaving(asked) => {
                lobby.room.leave(seat, asked);
                self.counted.outcome.tally.churned += 1;
                self.ask(index, Stage::Joining, |dialect, room, out| dialect.join(room, out), now)
            }
            _ => Ok(()),
        }
    }

    /// A client is over: not let in, or disconnected.
    pub(super) fn end(&mut self, index: usize, reason: String, now: Nanos) -> anyhow::Result<()> {
        let client = &mut self.clients[index];
        if matches!(client.stage, Stage::Ended | Stage::Stalled) {
            return Ok(());
        }
        if self.phase == Phase::Opening && client.stage != Stage::Ready {
            return self.fail_to_open(index, reason);
        }
        let (room, seat) = (client.room as usize, client.seat);
        client.close();
        if let Some(seat) = seat {
            self.rooms[room].room.disconnect(seat, now);
            if seat == self.rooms[room].witness {
                self.replace_witness(room);
            }
        }
        self.counted.clients = self.counted.clients.saturating_sub(1);
        if self.phase != Phase::Over {
            add_reason(&mut self.counted.outcome.disconnected, reason);
        }
        Ok(())
    }
}
