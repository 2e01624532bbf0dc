//! What the clients of one worker may do and for how long: the rules of the moment, what is revoked, and the lease of
//! each client that has a token or needs one. Synchronous, and never waits; the worker sweeps it once a second.

use std::cell::{Cell, Ref, RefCell};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::debug;

use super::pass::PassExpiry;
use crate::access::Access;
use crate::auth::UnixSeconds;
use crate::auth::revocations::{Revocation, Revocations};
use crate::auth::rights::Rights;
use crate::auth::tokens::{ServerSideSubscription, SubscriptionToken, Token, TokenError};
use crate::broker::Now;
use crate::config::{Anonymous, Config, Settings};
use crate::metrics::{Counter, Exposition};
use crate::protocol::dialect::Dialect;
use crate::protocol::disconnect::Disconnect;
use crate::protocol::event::Event;
use crate::protocol::names::RoomName;
use crate::writer::Slot;
use crate::writer::handle::WriterHandle;

/// What the clients of one worker may do.
pub struct WorkerAccess {
    access: RefCell<Arc<Access>>,
    /// Goes up when the rules change, so that each session notices.
    generation: Cell<u32>,
    revocations: RefCell<Revocations>,
    leases: RefCell<Vec<Weak<Lease>>>,
    passes: RefCell<Vec<Weak<PassExpiry>>>,
    /// Time for a client to present its first token, where every client needs one.
    token_within: Duration,
    metrics: Arc<AccessMetrics>,
}

/// The tokens that clients of one worker have presented, by what came of them.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct AccessMetrics {
    valid: Counter,
    expired: Counter,
    invalid: Counter,
}

impl AccessMetrics {
    fn count<T>(&self, verified: &Result<T, TokenError>) {
        let count = match verified {
            Ok(_) => &self.valid,
            Err(TokenError::OutOfTime(_)) => &self.expired,
            Err(TokenError::Invalid(_)) => &self.invalid,
        };
        count.add(1);
    }

    /// Appends the counts of all workers.
    pub(crate) fn expose(all: &[Arc<Self>], out: &mut Exposition) {
        let sum = |counter: fn(&Self) -> &Counter| all.iter().map(|one| counter(one).get()).sum();
        out.counters(
            "roomcast_tokens_total",
            "Tokens that clients have presented, by outcome: valid, expired (or not valid yet), invalid (or revoked).",
            [
                (r#"outcome="valid""#.to_owned(), sum(|one| &one.valid)),
                (r#"outcome="expired""#.to_owned(), sum(|one| &one.expired)),
                (r#"outcome="invalid""#.to_owned(), sum(|one| &one.invalid)),
            ],
        );
    }
}

/// The time for which a client may stay: as long as its token is valid, or until it must have presented one.
pub struct Lease {
    slot: Slot,
    dialect: Dialect,
    token: RefCell<Option<Box<Token>>>,
    /// `None` for a token that does not expire.
    ends_at: Cell<Option<Instant>>,
    /// The token has expired, and the client was told so.
    is_noticed: Cell<bool>,
    /// The client has not begun its connection yet, as its protocol asks.
    awaits_connect: Cell<bool>,
}

impl WorkerAccess {
    /// The access of a worker without clients.
    pub fn new(access: Arc<Access>, token_within: Duration, metrics: Arc<AccessMetrics>) -> Self {
        Self {
            access: RefCell::new(access),
            generation: Cell::new(0),
            revocations: RefCell::default(),
            leases: RefCell::default(),
            passes: RefCell::default(),
            token_within,
            metrics,
        }
    }

    /// The access of a worker on which everybody may do everything for ever, as without any setting.
    ///
    /// # Panics
    /// The default settings break their rules.
    pub fn open() -> Self {
        let config = Config::try_from(Settings::default()).expect("the default settings are within their rules");
        let access = Access::load(&config.access).expect("the default settings name no file");
        Self::new(access.into(), Duration::MAX, Arc::default())
    }

    /// The rules of the moment. Not to be held across an await.
    pub fn rules(&self) -> Ref<'_, Arc<Access>> {
        self.access.borrow()
    }

    /// The number of times that the rules have changed.
    pub(super) fn generation(&self) -> u32 {
        self.generation.get()
    }

    /// Whether a client may do anything without a token.
    pub fn admits_anonymous(&self) -> bool {
        self.rules().anonymous == Anonymous::Allow
    }

    /// Whether there are users, with whom nobody else is to be confused.
    pub fn has_users(&self) -> bool {
        self.rules().has_users
    }

    /// What a client may do in a room, in which a token for the room alone may grant it something.
    pub(super) fn rights(&self, room: &RoomName, lease: Option<&Lease>, grant: Rights) -> Rights {
        let token = lease.map(|lease| lease.token.borrow());
        let token = token.as_ref().and_then(|token| token.as_deref());
        if token.is_none() && !self.admits_anonymous() {
            return Rights::default();
        }
        self.rules().rooms.rights_with_grant(room, token, grant)
    }

    /// Whether a room retains what is published, by its rule.
    pub fn retains(&self, room: &RoomName) -> bool {
        self.rules().rooms.limits_of(room).history_messages_max > 0
    }

    /// What somebody with this token, or without one, may do in a room in which it is granted more than the token says.
    pub(super) fn rights_of(&self, room: &RoomName, token: Option<&Token>, grant: Rights) -> Rights {
        match token {
            None if !self.admits_anonymous() => Rights::default(),
            token => self.rules().rooms.rights_with_grant(room, token, grant),
        }
    }

    /// Verifies a token. Costs up to 0.1 ms, for a signature with an elliptic curve.
    ///
    /// # Errors
    /// The token is not valid, has expired, or is revoked.
    pub fn verify(&self, token: &str) -> Result<Box<Token>, TokenError> {
        self.counted(self.verified(token))
    }

    /// Counts what came of a token, and logs why one is refused.
    fn counted<T>(&self, verified: Result<T, TokenError>) -> Result<T, TokenError> {
        self.metrics.count(&verified);
        verified.inspect_err(log_refusal)
    }

    fn verified(&self, token: &str) -> Result<Box<Token>, TokenError> {
        let token = self.rules().tokens.verify(token, Now::read().unix_seconds())?;
        if self.is_revoked(&token) {
            return Err(TokenError::Invalid("revoked".to_owned()));
        }
        Ok(Box::new(token))
    }

    /// Whether the token of a client has been revoked.
    pub(super) fn has_revoked(&self, lease: &Lease) -> bool {
        lease.token.borrow().as_deref().is_some_and(|token| self.revocations.borrow().cover(token))
    }

    /// Whether a token is revoked that was valid otherwise.
    pub(super) fn is_revoked(&self, token: &Token) -> bool {
        self.revocations.borrow().cover(token)
    }

    /// Verifies a token for one room, as [`Self::verify`] does.
    ///
    /// # Errors
    /// The token is not valid, has expired, or is revoked.
    pub(super) fn verify_subscription(&self, token: &str) -> Result<SubscriptionToken, TokenError> {
        let verified = self.rules().tokens.verify_subscription(token, Now::read().unix_seconds());
        let verified = match verified {
            Ok(token) if self.revocations.borrow().cover_subscription(&token) => {
                Err(TokenError::Invalid("revoked".to_owned()))
            }
            verified => verified,
        };
        self.counted(verified)
    }

    /// Watches the passes of a client, for as long as it holds them.
    pub(super) fn watch_passes(&self, expiry: &Rc<PassExpiry>) {
        self.passes.borrow_mut().push(Rc::downgrade(expiry));
    }

    /// The lease of a client that must begin its connection by a command, and in time.
    pub(super) fn connect_lease(&self, slot: Slot, dialect: Dialect, token: Option<Box<Token>>) -> Rc<Lease> {
        let ends_at = Now::read().instant.checked_add(self.token_within);
        self.add_lease(slot, dialect, token, ends_at, true)
    }

    /// The lease of a new client, if it needs one: it has a token, or must present one in time.
    pub(super) fn lease(&self, slot: Slot, dialect: Dialect, token: Option<Box<Token>>) -> Option<Rc<Lease>> {
        if token.is_none() && self.admits_anonymous() {
            return None;
        }
        let now = Now::read();
        let ends_at = match &token {
            Some(token) => end_of(token, now),
            None => now.instant.checked_add(self.token_within),
        };
        Some(self.add_lease(slot, dialect, token, ends_at, false))
    }

    fn add_lease(
        &self,
        slot: Slot,
        dialect: Dialect,
        token: Option<Box<Token>>,
        ends_at: Option<Instant>,
        awaits_connect: bool,
    ) -> Rc<Lease> {
        let lease = Rc::new(Lease {
            slot,
            dialect,
            token: RefCell::new(token),
            ends_at: Cell::new(ends_at),
            is_noticed: Cell::new(false),
            awaits_connect: Cell::new(awaits_connect),
        });
        self.leases.borrow_mut().push(Rc::downgrade(&lease));
        lease
    }

    /// Makes other rules apply, to clients that are connected as well.
    pub fn replace(&self, access: Arc<Access>, writer: &WriterHandle) {
        self.access.replace(access);
        self.generation.set(self.generation.get().wrapping_add(1));
        writer.wake_all();
    }

    /// Ends the connections of clients that have a revoked token, and refuses the token from here on.
    pub fn revoke(&self, revocation: &Revocation, writer: &WriterHandle) -> bool {
        let is_kept = self.revocations.borrow_mut().add(revocation);
        for lease in self.leases.borrow().iter().filter_map(Weak::upgrade) {
            if lease.token.borrow().as_deref().is_some_and(|token| revocation.covers(token)) {
                writer.disconnect(lease.slot, Disconnect::Kicked);
            }
        }
        is_kept
    }

    /// Tells the clients whose tokens have expired, and disconnects those that have not presented another in time. Linear
    /// in the clients with a lease.
    pub fn sweep(&self, now: Instant, writer: &WriterHandle) {
        let mut expired: Vec<(Dialect, Slot)> = Vec::new();
        let token_grace = self.rules().token_grace;
        let admits_anonymous = self.admits_anonymous();
        self.leases.borrow_mut().retain(|lease| {
            let Some(lease) = lease.upgrade() else { return false };
            let is_needed = lease.has_token() || !admits_anonymous || lease.awaits_connect.get();
            if is_needed && lease.ends_at.get().is_some_and(|ends_at| ends_at <= now) {
                match lease.end() {
                    Some(reason) => writer.disconnect(lease.slot, reason),
                    None => {
                        lease.is_noticed.set(true);
                        lease.ends_at.set(Some(now + token_grace));
                        expired.push((lease.dialect, lease.slot));
                    }
                }
            }
            true
        });
        self.sweep_passes(now, token_grace, writer);
        expired.sort_unstable();
        let seconds = token_grace.as_secs();
        for of_dialect in expired.chunk_by(|(one, _), (other, _)| one == other) {
            let slots: Vec<Slot> = of_dialect.iter().map(|(_, slot)| *slot).collect();
            let notice = of_dialect[0].0.encode(&Event::TokenExpired(seconds));
            // Clients of some dialects know by themselves when to refresh.
            if !notice.is_empty() {
                writer.send_now(&slots, notice);
            }
        }
    }

    /// Has the sessions end the memberships whose passes have ended, and that were not given another one in time. Linear in
    /// the clients with a pass.
    fn sweep_passes(&self, now: Instant, token_grace: Duration, writer: &WriterHandle) {
        self.passes.borrow_mut().retain(|expiry| {
            let Some(expiry) = expiry.upgrade() else { return false };
            if expiry.next.get().is_some_and(|ends_at| ends_at + token_grace <= now) {
                expiry.is_due.set(true);
                writer.wake(expiry.slot);
            }
            true
        });
    }
}

impl Lease {
    /// Goes on with another token.
    pub(super) fn renew(&self, token: Box<Token>) {
        self.ends_at.set(end_of(&token, Now::read()));
        self.is_noticed.set(false);
        self.awaits_connect.set(false);
        self.token.replace(Some(token));
    }

    /// Goes on with the same token until another time.
    pub(super) fn prolong(&self, expires_at: UnixSeconds) {
        if let Some(token) = self.token.borrow_mut().as_deref_mut() {
            token.expires_at = Some(expires_at);
            self.ends_at.set(end_of(token, Now::read()));
            self.is_noticed.set(false);
        }
    }

    /// The client has begun its connection, and goes on with the token that it has.
    pub(super) fn connected(&self) {
        self.awaits_connect.set(false);
        self.ends_at.set(self.token.borrow().as_deref().and_then(|token| end_of(token, Now::read())));
    }

    /// The application is asked whether the client may connect, which has its own time limit.
    pub(super) fn stop_for_question(&self) {
        if self.awaits_connect.get() || !self.has_token() {
            self.ends_at.set(None);
        }
    }

    /// Whether the client has not begun its connection yet.
    pub(super) fn awaits_connect(&self) -> bool {
        self.awaits_connect.get()
    }

    /// The seconds until the client's token expires; `None` is never.
    pub(super) fn expires_in(&self) -> Option<u32> {
        self.ends_at.get().map(|ends_at| seconds_until(ends_at, Now::read().instant))
    }

    /// The rooms that the client's token has it join.
    pub(super) fn server_side(&self) -> Vec<ServerSideSubscription> {
        self.token.borrow().as_deref().map(|token| token.server_side.clone()).unwrap_or_default()
    }

    /// Whether the client has a token.
    pub(super) fn has_token(&self) -> bool {
        self.token.borrow().is_some()
    }

    /// Whether the client's name comes from its token.
    pub(super) fn names_client(&self) -> bool {
        self.token.borrow().as_deref().is_some_and(|token| token.label.is_some())
    }

    /// Why the connection ends where the time is over; `None` if the client may still present another token.
    fn end(&self) -> Option<Disconnect> {
        match (self.has_token(), self.is_noticed.get()) {
            _ if self.awaits_connect.get() => Some(Disconnect::IdleTimeout),
            (false, _) => Some(Disconnect::TokenInvalid),
            (true, true) => Some(Disconnect::TokenExpired),
            (true, false) => None,
        }
    }
}

/// Logs why a token is refused, since clients of some protocols are not told. The text never repeats the token.
pub(super) fn log_refusal(why: &TokenError) {
    debug!(reason = why.to_string(), "token refused");
}

/// When the connection of a token ends, on the clock that never jumps.
fn end_of(token: &Token, now: Now) -> Option<Instant> {
    instant_of(token.expires_at?, now)
}

/// A moment of the calendar on the clock that never jumps.
pub(super) fn instant_of(at: UnixSeconds, now: Now) -> Option<Instant> {
    let left = at.0.saturating_sub(now.unix_seconds().0);
    now.instant.checked_add(Duration::from_secs(left))
}

/// The seconds until a moment, rounded up: a client that counts them down is not early.
pub(super) fn seconds_until(at: Instant, now: Instant) -> u32 {
    let left = at.saturating_duration_since(now);
    u32::try_from(left.as_secs() + u64::from(left.subsec_nanos() > 0)).unwrap_or(u32::MAX)
}
