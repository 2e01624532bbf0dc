//! The commands of a client that is connected.

use super::{CentrifugeHandler, Step};
use crate::auth::tokens::TokenError;
use crate::broker::{JoinReply, Page};
use crate::protocol::centrifuge::command::{Command, History, Resume, Subscribe};
use crate::protocol::command::{CommandError, TokenText};
use crate::protocol::disconnect::Disconnect;
use crate::protocol::event::{Event, RequestId};
use crate::protocol::names::RoomName;
use crate::protocol::position::{Epoch, Offset, Since};
use crate::protocol::publication::Data;
use crate::session::access::log_refusal;
use crate::session::pass::PassRefused;
use crate::session::{JoinRequest, Outcome};

impl CentrifugeHandler {
    pub(super) fn try_command(&mut self, request: RequestId, command: Command<'_>) -> Result<Outcome, CommandError> {
        let named = Some(request);
        let outcome = match command {
            Command::Connect(_) => return Ok(Outcome::Ended(Disconnect::ProtocolError)),
            Command::Subscribe(subscribe) => return self.subscribe(request, subscribe),
            Command::Unsubscribe(channel) => return Ok(self.unsubscribe(request, &channel)),
            Command::Publish { channel, data } => {
                let (room, data) = (room(&channel)?, Data::Json(data.into()));
                match self.session.is_in(&room) {
                    true => self.session.publish(&room, data, named),
                    false => self.session.publish_from_outside(&room, data, named),
                }
            }
            Command::Presence(channel) => self.session.request_presence(&room(&channel)?, named),
            Command::PresenceStats(channel) => self.session.count_presence(&room(&channel)?, named),
            Command::History(history) => {
                let room = room(&history.channel)?;
                self.session.request_page(&room, page(&room, &history)?, named)
            }
            Command::Refresh(token) => return Ok(self.refresh(request, &token)),
            Command::SubRefresh(channel, token) => return self.refresh_pass(request, &channel, &token),
            Command::Ping => return Ok(self.reply(request, &Event::Pong(""))),
            Command::Nick(nick) => self.session.rename(&nick, named),
            Command::Rpc => return Err(CommandError::NotAvailable("this server has no procedure but nick")),
        };
        Ok(self.after(outcome, Step::Command(request)))
    }

    fn subscribe(&mut self, request: RequestId, subscribe: Subscribe<'_>) -> Result<Outcome, CommandError> {
        let Subscribe { channel, token, resume, is_of_other_type, has_filter, must_recover } = subscribe;
        if is_of_other_type {
            return Err(CommandError::NotAvailable("subscriptions are to streams: type is 0"));
        }
        if has_filter {
            return Err(CommandError::Parameters("tf: this server does not filter".into()));
        }
        let room = room(&channel)?;
        if self.session.is_in(&room) {
            return Err(CommandError::AlreadyIn { room });
        }
        let pass = match token.map(|TokenText(token)| self.session.pass(&token)).transpose() {
            Ok(pass) => pass,
            Err(PassRefused::Error(error)) => return Err(error),
            Err(PassRefused::Ended(reason)) => return Ok(Outcome::Ended(reason)),
        };
        if pass.as_ref().is_some_and(|pass| *pass.room() != room) {
            return Ok(of_another_room());
        }
        let outcome = self.session.join(JoinRequest {
            since: since(&resume),
            must_recover,
            reply: JoinReply::Requested(Some(request)),
            pass,
            ..JoinRequest::of(room)
        });
        Ok(self.after(outcome, Step::Command(request)))
    }

    /// Leaves a room. A client that is not in it gets the same reply: an SDK takes an error for a broken connection.
    fn unsubscribe(&mut self, request: RequestId, channel: &str) -> Outcome {
        match RoomName::parse(channel) {
            Ok(room) if self.session.is_in(&room) => {
                self.server_side.retain(|joined| *joined != room);
                let outcome = self.session.leave(&room);
                self.after(outcome, Step::Leaving(request))
            }
            _ => self.reply(request, &Event::Left),
        }
    }

    /// Goes on with another token. Other rooms that the server is to have the client join come with another connection.
    fn refresh(&mut self, request: RequestId, TokenText(token): &TokenText<'_>) -> Outcome {
        if let Err(refused) = self.session.authenticate(token) {
            return Outcome::Ended(refused.reason());
        }
        let mut rooms: Vec<RoomName> = self.session.server_side().into_iter().map(|joined| joined.room).collect();
        rooms.sort_unstable();
        rooms.dedup();
        self.server_side.sort_unstable();
        if rooms != self.server_side {
            return Outcome::Ended(Disconnect::OutOfStep);
        }
        let (client, expires_in) = (self.session.identity().client, self.session.expires_in());
        self.reply(request, &Event::Refreshed { client, expires_in })
    }

    /// Goes on in a room with another token. One that has expired ends the membership, as if none had come in time.
    fn refresh_pass(
        &mut self,
        request: RequestId,
        channel: &str,
        TokenText(token): &TokenText<'_>,
    ) -> Result<Outcome, CommandError> {
        let named = (!channel.is_empty()).then(|| room(channel)).transpose()?;
        let is_in = named.filter(|room| self.session.is_in(room));
        match (self.session.pass(token), is_in) {
            (Err(PassRefused::Ended(reason)), _) => Ok(Outcome::Ended(reason)),
            (Err(PassRefused::Error(CommandError::TokenExpired(_))), Some(room)) => {
                let outcome = self.session.leave(&room);
                Ok(self.after(outcome, Step::Expiring(request, room)))
            }
            (Err(PassRefused::Error(error)), _) => Err(error),
            // An old SDK leaves out the room, which its token names.
            (Ok(pass), is_in) if is_in.as_ref().is_some_and(|room| room != pass.room()) => {
                drop(pass);
                Ok(of_another_room())
            }
            (Ok(pass), _) if !self.session.is_in(pass.room()) => {
                let room = pass.room().as_str();
                Err(CommandError::Forbidden(format!("{room:?}: you are not in it").into()))
            }
            (Ok(pass), _) => {
                let expires_in = pass.expires_in();
                self.session.renew_pass(pass);
                Ok(self.reply(request, &Event::MembershipRefreshed(expires_in)))
            }
        }
    }
}

/// The room that a channel names, under its very name: an SDK would not find it under another one.
///
/// # Errors
/// The name breaks its rule, or is not in Unicode NFC.
pub fn room(channel: &str) -> Result<RoomName, CommandError> {
    let room = RoomName::parse(channel).map_err(CommandError::RoomName)?;
    if room.as_str() != channel {
        let rule = format!("{:?}: a name in Unicode NFC, as in {:?}", channel, room.as_str());
        return Err(CommandError::Parameters(rule.into()));
    }
    Ok(room)
}

/// The end of a connection whose client has presented a token for another room.
fn of_another_room() -> Outcome {
    log_refusal(&TokenError::Invalid("it is for another room".to_owned()));
    Outcome::Ended(Disconnect::TokenInvalid)
}

/// Up to where a client has a room, if it wishes to resume. An empty epoch is any; text that is no epoch is that of no
/// room, as `_` by which an SDK asks for a failure.
pub fn since(resume: &Resume<'_>) -> Option<Since> {
    let offset = Offset(resume.offset);
    resume.recover.then(|| match Epoch::parse(&resume.epoch) {
        None if !resume.epoch.is_empty() => Since::UNREACHABLE,
        epoch => Since { epoch, offset },
    })
}

/// The part of a room's history that is asked for.
///
/// # Errors
/// Nothing is in front of the place, or it is in no life of the room.
pub fn page(room: &RoomName, history: &History<'_>) -> Result<Page, CommandError> {
    let since = match &history.since {
        Some((0, _)) if history.reverse => {
            return Err(CommandError::Parameters("since: nothing is in front of offset 0".into()));
        }
        Some((offset, epoch)) => {
            let known = (!epoch.is_empty()).then(|| Epoch::parse(epoch));
            if known == Some(None) {
                return Err(CommandError::Unrecoverable { room: room.clone() });
            }
            Some(Since { epoch: known.flatten(), offset: Offset(*offset) })
        }
        None => None,
    };
    let messages_max = if history.limit < 0 { usize::MAX } else { history.limit as usize };
    Ok(Page { since, messages_max, is_reverse: history.reverse })
}
