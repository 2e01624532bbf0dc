//! Socket events of a client: connecting, reading, decoding and answering. Never blocks.

use std::io::ErrorKind;

use mio::Token;
use mio::event::Event;

use super::client::{SendResult, Stage};
use super::connecting::reason_of;
use super::{Phase, Worker};
use crate::clock::Nanos;
use crate::dialect::{self, Centrifuge, Closing, Dialect, Incoming, Json, Protobuf};
use crate::inflate;
use crate::reasons::add_reason;
use crate::target::{Scheme, Target};

/// Maximum reads of one client before others are served: one mebibyte.
const READS_AT_ONCE_MAX: usize = 16;

impl Worker {
    /// Handles an event of a client's socket.
    pub(super) fn handle_event(&mut self, index: usize, event: &Event) -> anyhow::Result<()> {
        if event.is_writable() && !self.handle_writable(index)? {
            return Ok(());
        }
        if event.is_readable() {
            self.read(index, event.is_read_closed())?;
        }
        self.publish_if_due();
        Ok(())
    }

    /// Returns false if the client has ended.
    fn handle_writable(&mut self, index: usize) -> anyhow::Result<bool> {
        if self.clients[index].stage == Stage::Connecting {
            let client = &mut self.clients[index];
            let connected = client.connected();
            let connector = self.tls_connectors[usize::from(client.target)].as_ref();
            return match connected.and_then(|()| connector.map(|connector| client.start_tls(connector)).transpose()) {
                Ok(None) => self.start_handshake(index, Nanos::now()),
                Ok(Some(())) => Ok(true),
                Err(error) => self.fail_to_connect(index, &error).map(|()| false),
            };
        }
        match self.clients[index].flush() {
            Ok(()) => Ok(true),
            Err(error) => self.end(index, reason_of(&error), Nanos::now()).map(|()| false),
        }
    }

    fn start_handshake(&mut self, index: usize, now: Nanos) -> anyhow::Result<bool> {
        let mut out = std::mem::take(&mut self.write_buffer);
        out.clear();
        let target = &self.assignment.targets[usize::from(self.clients[index].target)].target;
        let dialect = self.dialect(index);
        dialect.encode_handshake(target, &mut out);
        let sent = self.clients[index].send(&out);
        self.write_buffer = out;
        if let Err(error) = sent {
            self.fail_to_connect(index, &error)?;
            return Ok(false);
        }
        self.clients[index].stage = Stage::Handshake;
        if !dialect.has_handshake() {
            self.authenticate(index, now)?;
        }
        Ok(self.clients[index].stage != Stage::Ended)
    }

    /// Opens the session with the client's token, if there are tokens. Where a token is answered by itself, the client
    /// joins once it was accepted.
    fn authenticate(&mut self, index: usize, now: Nanos) -> anyhow::Result<()> {
        let token = self.tokens.get(index % self.tokens.len().max(1)).cloned();
        let mut must_wait = false;
        let authenticate = |dialect: &dyn Dialect, _: &str, out: &mut Vec<u8>| {
            must_wait = dialect.authenticate(token.as_deref(), out);
        };
        self.request(index, Stage::Authenticating, authenticate, now)?;
        if must_wait || self.clients[index].stage == Stage::Ended { Ok(()) } else { self.join_room(index, now) }
    }

    /// Joins the room. A publisher that is no member is ready without joining.
    fn join_room(&mut self, index: usize, now: Nanos) -> anyhow::Result<()> {
        if self.join_and_request_position(index, now)? {
            return Ok(());
        }
        if self.clients[index].member.is_some() {
            return self.request(index, Stage::Joining, |dialect, room, out| dialect.join(room, out), now);
        }
        self.clients[index].stage = Stage::Ready;
        self.client_joined(index, now)
    }

    /// Sends a command about the client's room and moves the client to this stage.
    pub(super) fn request(
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
            Ok(SendResult::Complete | SendResult::Partial) => Ok(()),
            Err(error) => self.end(index, reason_of(&error), now),
        }
    }

    pub(super) fn dialect(&self, index: usize) -> &'static dyn Dialect {
        match self.scheme(index) {
            Scheme::Api => self.api,
            scheme => dialect::of(scheme),
        }
    }

    pub(super) fn scheme(&self, index: usize) -> Scheme {
        self.target(index).scheme
    }

    fn target(&self, index: usize) -> &Target {
        &self.assignment.targets[usize::from(self.clients[index].target)].target
    }

    fn read(&mut self, index: usize, is_read_closed: bool) -> anyhow::Result<()> {
        let mut buffer = std::mem::take(&mut self.read_buffer);
        let result = self.read_into(&mut buffer, index, is_read_closed);
        self.read_buffer = buffer;
        self.publish_next(index);
        result?;
        self.request_position(index)
    }

    /// Reads until the socket is empty. The clock is read once for everything that one read returns.
    fn read_into(&mut self, buffer: &mut Vec<u8>, index: usize, is_read_closed: bool) -> anyhow::Result<()> {
        for _ in 0..READS_AT_ONCE_MAX {
            let read = match self.clients[index].read(buffer) {
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return self.end(index, reason_of(&error), Nanos::now()),
            };
            let now = Nanos::now();
            self.count_read(read.from_socket);
            if self.clients[index].has_finished_tls() {
                self.start_handshake(index, now)?;
            }
            let used = self.decode_all(index, &buffer[..read.bytes], now)?;
            if self.clients[index].stage == Stage::Ended {
                return Ok(());
            }
            self.clients[index].keep(&buffer[used..read.bytes]);
            // The next event announces further input, which saves a system call.
            if !read.may_have_more && !is_read_closed {
                return Ok(());
            }
        }
        self.clients[index].reregister(self.poll.registry(), Token(index))
    }

    fn count_read(&mut self, bytes: usize) {
        let is_loaded = self.is_loaded();
        let tally = &mut self.counters.result.tally;
        tally.reads += 1;
        tally.bytes += if is_loaded { bytes as u64 } else { 0 };
    }

    /// Decodes everything that is complete and returns its length. Compressed frames are inflated first.
    fn decode_all(&mut self, index: usize, input: &[u8], now: Nanos) -> anyhow::Result<usize> {
        if !self.target(index).is_deflated {
            return self.decode_all_plain(index, input, now);
        }
        let mut used = 0;
        if self.clients[index].stage == Stage::Handshake {
            used = self.decode_all_plain(index, input, now)?;
        }
        if matches!(self.clients[index].stage, Stage::Handshake | Stage::Ended) {
            return Ok(used);
        }
        let mut inflater = std::mem::take(&mut self.inflater);
        let decoded = match inflater.inflate_all(&input[used..]) {
            Ok((length, plain)) => self.decode_all_plain(index, plain, now).map(|_| used + length),
            Err(error) => {
                self.end_for_good(index, format!("does not speak the dialect: {:?}", error.0), now).map(|()| used)
            }
        };
        self.inflater = inflater;
        decoded
    }

    /// Each dialect has its own loop: a virtual call for
    /// each delivery would cost a tenth of the generator's time.
    fn decode_all_plain(&mut self, index: usize, input: &[u8], now: Nanos) -> anyhow::Result<usize> {
        match self.scheme(index) {
            Scheme::Tcp | Scheme::Limit => self.decode_all_with(&dialect::Lines, index, input, now),
            Scheme::WebSocket => self.decode_all_with(&dialect::WebSocket, index, input, now),
            Scheme::Centrifuge => self.decode_all_with(&Centrifuge(Json), index, input, now),
            Scheme::CentrifugeProtobuf => self.decode_all_with(&Centrifuge(Protobuf), index, input, now),
            Scheme::Sse => self.decode_all_with(&dialect::Sse, index, input, now),
            Scheme::Api => self.decode_all_with(self.api, index, input, now),
            Scheme::Nats => self.decode_all_with(&dialect::Nats, index, input, now),
            Scheme::Redis => self.decode_all_with(&dialect::Redis, index, input, now),
            Scheme::Echo => self.decode_all_with(&dialect::Echo, index, input, now),
        }
    }

    fn decode_all_with(
        &mut self,
        dialect: &impl Dialect,
        index: usize,
        input: &[u8],
        now: Nanos,
    ) -> anyhow::Result<usize> {
        let mut used = 0;
        while self.clients[index].stage != Stage::Ended {
            let opened = self.clients[index].stage != Stage::Handshake;
            if opened {
                used += self.receiver(index, now).receive_all(dialect, &input[used..]);
            }
            match dialect.decode(opened, &input[used..]) {
                Ok(None) if input.len() - used > dialect::FRAME_BYTES_MAX => {
                    let reason = format!("says more than {} bytes at once", dialect::FRAME_BYTES_MAX);
                    self.end_for_good(index, reason, now)?;
                }
                Ok(None) => break,
                Ok(Some((length, Incoming::HandshakeDone))) if self.target(index).is_deflated => {
                    self.authenticate_if_deflated(index, &input[used..used + length], now)?;
                    return Ok(used + length);
                }
                Ok(Some((length, incoming))) => {
                    used += length;
                    self.handle(index, incoming, now)?;
                }
                Err(error) => {
                    self.end_for_good(index, format!("does not speak the dialect: {:?}", error.0), now)?;
                }
            }
        }
        Ok(used)
    }

    /// Goes on behind the answer to a handshake that offers compression.
    fn authenticate_if_deflated(&mut self, index: usize, answer: &[u8], now: Nanos) -> anyhow::Result<()> {
        if inflate::is_accepted(answer) {
            return self.authenticate(index, now);
        }
        self.end_for_good(index, "the server declines permessage-deflate".to_owned(), now)
    }

    fn handle(&mut self, index: usize, incoming: Incoming<'_>, now: Nanos) -> anyhow::Result<()> {
        match incoming {
            Incoming::Message(text) => self.receiver(index, now).receive(text, None),
            Incoming::Publication(text, offset) => self.receiver(index, now).receive(text, Some(offset)),
            Incoming::Several(all) => {
                for incoming in all {
                    if self.clients[index].stage == Stage::Ended {
                        break;
                    }
                    self.handle(index, incoming, now)?;
                }
            }
            Incoming::HandshakeDone => self.authenticate(index, now)?,
            Incoming::Authenticated if self.clients[index].stage == Stage::Authenticating => {
                self.join_room(index, now)?;
            }
            Incoming::Acknowledged => self.acknowledge(index, now)?,
            Incoming::ReplyNeeded(answer) => {
                if let Err(error) = self.clients[index].send(&answer) {
                    self.end(index, reason_of(&error), now)?;
                }
            }
            Incoming::Refused(reason)
                if matches!(self.clients[index].stage, Stage::Authenticating | Stage::Joining) =>
            {
                self.end(index, reason, now)?;
            }
            Incoming::Refused(reason) => {
                self.count_answer(index, now);
                if dialect::is_unavailable(&reason) {
                    self.count_unavailable(index);
                } else {
                    add_reason(&mut self.counters.result.refused, reason);
                }
            }
            Incoming::Published => self.count_answer(index, now),
            Incoming::Closed(closing) => self.end(index, closing, now)?,
            Incoming::Position(position) => self.handle_position(index, position, now)?,
            Incoming::Gap => self.handle_gap(index),
            Incoming::Authenticated | Incoming::Pong(_) | Incoming::Other => {}
        }
        Ok(())
    }

    /// Handles the acknowledgement of a join or leave.
    fn acknowledge(&mut self, index: usize, now: Nanos) -> anyhow::Result<()> {
        if self.join_answered(index, now) {
            return Ok(());
        }
        let client = &mut self.clients[index];
        let Some(member) = client.member else { return Ok(()) };
        let room = &mut self.rooms[client.room as usize];
        match client.stage {
            Stage::Joining => {
                client.stage = Stage::Ready;
                room.checker.join(member, now);
                if self.phase == Phase::Connecting {
                    return self.client_joined(index, now);
                }
                self.counters.result.tally.churned += 1;
                Ok(())
            }
            Stage::Leaving(asked) => {
                // A node lets a member leave before it has what members of another node may have received already.
                room.checker.leave(member, if self.has_several_nodes { Nanos(0) } else { asked });
                self.counters.result.tally.churned += 1;
                self.request(index, Stage::Joining, |dialect, room, out| dialect.join(room, out), now)
            }
            _ => Ok(()),
        }
    }

    /// Ends the connection of a client that failed to connect or was disconnected. With `--failover` it comes back.
    pub(super) fn end(&mut self, index: usize, closing: impl Into<Closing>, now: Nanos) -> anyhow::Result<()> {
        let closing = closing.into();
        if self.fail_over(index, &closing, now) { Ok(()) } else { self.end_for_good(index, closing.reason, now) }
    }

    /// Ends a client that does not come back.
    pub(super) fn end_for_good(&mut self, index: usize, reason: String, now: Nanos) -> anyhow::Result<()> {
        let client = &mut self.clients[index];
        if matches!(client.stage, Stage::Ended | Stage::Stalled) {
            return Ok(());
        }
        if self.phase == Phase::Connecting && client.stage != Stage::Ready {
            return self.fail_client(index, reason);
        }
        let (room, member) = (client.room as usize, client.member);
        client.close();
        if self.fail_to_return(index, &reason, now) {
            return Ok(());
        }
        if let Some(member) = member {
            self.rooms[room].checker.disconnect(member, now);
            if member == self.rooms[room].pacing_member {
                self.replace_pacing_member(room);
            }
        }
        self.counters.clients = self.counters.clients.saturating_sub(1);
        if self.phase != Phase::Over {
            add_reason(&mut self.counters.result.disconnected, reason);
        }
        Ok(())
    }
}
