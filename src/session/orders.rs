//! What an application has the server do with clients that are connected: the orders, and how a session obeys. An order
//! that a client obeys by itself waits until the client's command before has finished.

use std::collections::HashSet;
use std::sync::Arc;

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::sync::oneshot;

use super::Session;
use super::clients::Pending;
use super::memberships::{JoinRequest, NamedBy};
use super::pass::Pass;
use crate::auth::UnixSeconds;
use crate::auth::tokens::SubscriptionToken;
use crate::broker::JoinReply;
use crate::protocol::command::CommandError;
use crate::protocol::disconnect::Disconnect;
use crate::protocol::names::RoomName;
use crate::protocol::position::Since;
use crate::protocol::publication::{ClientId, UserId};

/// The clients that an order is for.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Addressee {
    /// Only clients of this user; the empty one is anyone.
    pub user: UserId,
    /// Only this client; `None` for all clients of the user.
    pub client: Option<ClientId>,
    /// Clients that are left out.
    pub except: HashSet<ClientId>,
}

/// What is done with clients.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Order {
    /// Their connections end for this reason, in words of the application's own if it has some. No client can delay it.
    End(Disconnect, Option<CloseWords>),
    /// They do this themselves, each behind the command that it has begun.
    Obey(Duty),
}

/// What a client has to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Duty {
    /// Join a room and read it, whatever its rule says.
    Join(Box<JoinOrder>),
    /// Leave a room.
    Leave(RoomName),
    /// Go on with its token until another time, or with other information about it.
    Refresh {
        /// `None` leaves the time as it is.
        expires_at: Option<UnixSeconds>,
        /// What others learn of the client in rooms that it joins from then on, as one JSON value on one line.
        info: Option<Arc<str>>,
    },
}

/// The room that clients have to join, and how.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct JoinOrder {
    /// The room.
    pub room: RoomName,
    /// What others learn of the client in this room, as one JSON value on one line.
    pub info: Option<Arc<str>>,
    /// What the client is told as it joins, as one JSON value on one line.
    pub data: Option<Arc<str>>,
    /// When the membership ends; `None` is never.
    pub expires_at: Option<UnixSeconds>,
    /// The client is sent what was published since. If that cannot all be had, a client of text is told so, and an SDK
    /// does not join.
    pub since: Option<Since>,
}

/// Words of an application for the end of a connection: a code that tells an SDK whether to come back, and a reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CloseWords {
    code: u16,
    reason: Box<str>,
}

/// Words that no close frame can carry. The text shows the rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "disconnect: a code from 3000 to 4999 and a reason of at most {} bytes on one line that is no JSON",
    CloseWords::REASON_BYTES_MAX
)]
pub struct CloseWordsError;

/// Why an order was not obeyed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotObeyed {
    /// The client has too much else to do.
    Busy,
    /// The client cannot do it.
    Refused(CommandError),
}

/// Answered once a client has obeyed an order, and dropped if the client is gone.
pub type Obeyed = oneshot::Receiver<Result<(), NotObeyed>>;

/// Where a client says whether it has obeyed.
pub type ObeyedAnswer = oneshot::Sender<Result<(), NotObeyed>>;

impl JoinOrder {
    /// The wish to join for a client of this user.
    fn request(self, user: &UserId) -> JoinRequest {
        let Self { room, info, data, expires_at, since } = self;
        let pass = Pass::ordered(SubscriptionToken {
            user: user.clone(),
            room: room.clone(),
            client: None,
            info: info.clone(),
            data,
            id: None,
            issued_at: None,
            expires_at,
        });
        let named_by = NamedBy::Application;
        JoinRequest { since, reply: JoinReply::Pushed, named_by, pass: Some(pass), info, ..JoinRequest::of(room) }
    }
}

impl CloseWords {
    /// The code.
    pub fn code(&self) -> u16 {
        self.code
    }

    /// The reason.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// A close frame has space for 123 bytes (RFC 6455 §5.5.1).
    const REASON_BYTES_MAX: usize = 123;

    /// Words that every transport can carry.
    ///
    /// # Errors
    /// The code is not one of an application or of the server's protocol, or the reason is too long or not on one line, or
    /// it is JSON: centrifuge-js takes a number or an object for an instruction of the server, and stays away for good.
    pub fn new(code: u16, reason: &str) -> Result<Self, CloseWordsError> {
        let is_right = (3000..=4999).contains(&code)
            && reason.len() <= Self::REASON_BYTES_MAX
            && !reason.chars().any(char::is_control)
            && serde_json::from_str::<IgnoredAny>(reason).is_err();
        if is_right { Ok(Self { code, reason: reason.into() }) } else { Err(CloseWordsError) }
    }
}

impl Session {
    /// The next order that the client has not obeyed yet.
    pub(super) fn next_order(&self) -> Option<Pending> {
        self.context.clients.next_order(self.slot)
    }

    /// The wish to join that follows from an order.
    pub(super) fn ordered_join(&self, order: JoinOrder) -> JoinRequest {
        // An SDK has no word for it if what was missed cannot be had, so the application hears of it.
        let must_recover = order.since.is_some() && self.dialect.has_offsets();
        JoinRequest { must_recover, ..order.request(&self.identity.user) }
    }

    /// Goes on with the client's token until another time, if it has a token, and with other information about the client.
    pub(super) fn refresh(&mut self, expires_at: Option<UnixSeconds>, info: Option<Arc<str>>) {
        if let (Some(lease), Some(expires_at)) = (&self.lease, expires_at) {
            lease.prolong(expires_at);
        }
        if info.is_some() {
            Arc::make_mut(&mut self.identity).info = info;
        }
    }
}
