//! What somebody who is no client asks: a part of a room's history, whether it may join the room, and the list of rooms.
//! The rights and the limit of deliveries are those of clients.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use super::SessionContext;
use super::rate_limiter::RateLimiter;
use crate::auth::rights::{Action, Rights};
use crate::auth::tokens::Token;
use crate::broker::{Page, PageOfRoom, Viewer};
use crate::hooks::Hook;
use crate::protocol::listing::Listing;
use crate::protocol::names::RoomName;
use crate::protocol::position::{Position, Since};

/// Somebody who is no client and asks something of a room.
pub struct Outsider<'a> {
    /// The valid token that it has presented.
    pub token: Option<&'a Token>,
    /// Its address, behind trusted proxies.
    pub address: IpAddr,
}

/// Why somebody gets nothing of a room.
#[derive(Debug)]
pub enum NotRead {
    /// It has no token, and one may give the right.
    Unauthenticated(String),
    /// It has not the right.
    Forbidden(String),
    /// The room retains nothing by its rule. An empty page would be taken for a room in which nothing was said.
    NotRetained,
    /// It has caused too many deliveries.
    TooManyDeliveries,
    /// What follows the position cannot all be had; the room's own position, if there is such a room.
    Unrecoverable(Option<Position>),
}

impl SessionContext {
    /// Refuses what somebody has no right to do in a room.
    ///
    /// # Errors
    /// Why it has not the right, in words for its user.
    pub fn permit_outsider(&self, who: &Outsider<'_>, action: Action, room: &RoomName) -> Result<(), NotRead> {
        self.permit_with_grant(who, action, room, Rights::NONE)
    }

    /// Refuses a reader that could not join whatever the application answered, if it is asked.
    ///
    /// # Errors
    /// Why it has not the right, in words for its user.
    pub fn permit_reader(&self, who: &Outsider<'_>, room: &RoomName) -> Result<(), NotRead> {
        let asks = |hook| self.hooks.as_ref().is_some_and(|hooks| hooks.asks(hook));
        // The application may say who the reader is, and what that one may do.
        if asks(Hook::Connect) {
            return Ok(());
        }
        let grant = if asks(Hook::Join) { Rights::JOIN_AND_READ } else { Rights::NONE };
        self.permit_with_grant(who, Action::Join, room, grant)
    }

    fn permit_with_grant(
        &self,
        who: &Outsider<'_>,
        action: Action,
        room: &RoomName,
        grant: Rights,
    ) -> Result<(), NotRead> {
        if self.access.rights_of(room, who.token, grant).allow(action) {
            return Ok(());
        }
        let why = self.access.rules().rooms.refusal(room, action);
        let may_have_token = who.token.is_none() && self.access.has_users();
        Err(if may_have_token { NotRead::Unauthenticated(why) } else { NotRead::Forbidden(why) })
    }

    /// Refuses somebody who may not read the history of a room, and a room that has none by its rule.
    ///
    /// # Errors
    /// The right is missing, or the room retains nothing.
    pub fn permit_history(&self, who: &Outsider<'_>, room: &RoomName) -> Result<(), NotRead> {
        self.permit_outsider(who, Action::History, room)?;
        if self.access.retains(room) { Ok(()) } else { Err(NotRead::NotRetained) }
    }

    /// Returns at most this many publications of a room, oldest first: those behind `since`, or else the newest. They
    /// take no more memory than a replay.
    ///
    /// # Errors
    /// The right is missing, the room retains nothing, too many deliveries were caused, or some of what follows `since` is
    /// gone.
    pub async fn read_history(
        &self,
        who: &Outsider<'_>,
        room: &RoomName,
        since: Option<Position>,
        messages_max: usize,
    ) -> Result<PageOfRoom, NotRead> {
        self.permit_history(who, room)?;
        self.charge(who.address)?;
        let page = Page { since: since.map(Since::from), messages_max, is_reverse: since.is_none() };
        // The only error of a page: the position is of another life of the room.
        let Ok(mut page) = self.broker.page(room.clone(), page).await else {
            let nothing = Page { since: None, messages_max: 0, is_reverse: false };
            let here = self.broker.page(room.clone(), nothing).await;
            return Err(NotRead::Unrecoverable(here.ok().and_then(|page| page.position)));
        };
        self.owe(who.address, page.publications.len().saturating_sub(1));
        match since {
            None => page.publications.reverse(),
            Some(since) if page.position.is_none() || !page.follows(since.offset) => {
                return Err(NotRead::Unrecoverable(page.position));
            }
            Some(_) => {}
        }
        Ok(page)
    }

    /// Lists the rooms with members that somebody may know of, as clients see them.
    ///
    /// # Errors
    /// A token is needed, or too many deliveries were caused.
    pub async fn list_rooms(&self, who: &Outsider<'_>) -> Result<Arc<Listing<RoomName>>, NotRead> {
        if who.token.is_none() && !self.access.admits_anonymous() {
            return Err(NotRead::Unauthenticated("rooms: this server needs a token".to_owned()));
        }
        self.charge(who.address)?;
        Ok(self.broker.rooms(Viewer::of(who.token.map(|token| &token.user))).await)
    }

    /// Charges an address with one delivery. It is recorded at once, since the address may ask again before the room has
    /// answered.
    fn charge(&self, address: IpAddr) -> Result<(), NotRead> {
        let now = Instant::now();
        let Some(mut limiter) = self.limiter_of(address, now) else { return Ok(()) };
        limiter.acquire(1, now).map_err(|_| NotRead::TooManyDeliveries)?;
        limiter.end(&self.spent, address);
        Ok(())
    }

    /// Charges an address with deliveries that it has caused, on top of what was recorded meanwhile.
    fn owe(&self, address: IpAddr, deliveries: usize) {
        if let Some(mut limiter) = self.limiter_of(address, Instant::now()) {
            limiter.owe(deliveries);
            limiter.end(&self.spent, address);
        }
    }

    /// The rate limiter of an address as it was recorded; `None` where there is no limit.
    fn limiter_of(&self, address: IpAddr, now: Instant) -> Option<RateLimiter> {
        self.deliveries.map(|limits| RateLimiter::new(limits, &self.spent, address, now))
    }
}
