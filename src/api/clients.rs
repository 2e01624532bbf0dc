//! What an application has connected clients do, and the tokens that it takes back.

use std::sync::Arc;

use super::errors::wrong;
use super::requests::{
    DisconnectRequest, DisconnectWords, InvalidateUserTokensRequest, Json, RefreshRequest, RevokeTokenRequest,
    StreamPosition, SubscribeRequest, UnsubscribeRequest,
};
use super::results::EmptyResult;
use super::{Api, ApiError, json_on_one_line, raw, to_json};
use crate::auth::api_keys::ApiRight;
use crate::auth::revocations::Revocation;
use crate::auth::{INFO_BYTES_MAX, UnixSeconds};
use crate::backplane::questions::{Answer, Question};
use crate::broker::Now;
use crate::protocol::centrifuge::command::Resume;
use crate::protocol::command::CommandError;
use crate::protocol::disconnect::Disconnect;
use crate::protocol::position::Since;
use crate::protocol::publication::{ClientId, UserId};
use crate::session::centrifuge::commands::since;
use crate::session::orders::{Addressee, CloseWords, Duty, JoinOrder, Order};

impl Api<'_> {
    pub(super) async fn subscribe(&self, request: SubscribeRequest) -> Result<EmptyResult, ApiError> {
        let room = self.room(ApiRight::Subscribe, request.channel)?;
        let addressee = addressee(request.user, request.client, request.session, None)?;
        let join = JoinOrder {
            room,
            info: short_json("info", request.info, request.b64info)?,
            data: short_json("data", request.data, request.b64data)?,
            expires_at: time("expire_at", request.expire_at)?,
            since: request.recover_since.as_ref().and_then(since_position),
        };
        self.order(addressee, Order::Obey(Duty::Join(join.into()))).await
    }

    pub(super) async fn unsubscribe(&self, request: UnsubscribeRequest) -> Result<EmptyResult, ApiError> {
        let room = self.room(ApiRight::Subscribe, request.channel)?;
        let addressee = addressee(request.user, request.client, request.session, None)?;
        self.order(addressee, Order::Obey(Duty::Leave(room))).await
    }

    pub(super) async fn disconnect(&self, request: DisconnectRequest) -> Result<EmptyResult, ApiError> {
        self.permit(ApiRight::Disconnect, None)?;
        let addressee = addressee(request.user, request.client, request.session, request.whitelist)?;
        let words = request.disconnect.map(close_words).transpose()?.flatten();
        self.order(addressee, Order::End(Disconnect::Kicked, words)).await
    }

    pub(super) async fn refresh(&self, request: RefreshRequest) -> Result<EmptyResult, ApiError> {
        self.permit(ApiRight::Disconnect, None)?;
        let addressee = addressee(request.user, request.client, request.session, None)?;
        let expires_at = time("expire_at", request.expire_at)?;
        let info = short_json("info", request.info, None)?;
        let order = match request.expired {
            Some(true) => Order::End(Disconnect::TokenExpired, None),
            _ => Order::Obey(Duty::Refresh { expires_at, info }),
        };
        self.order(addressee, order).await
    }

    pub(super) async fn revoke_token(&self, request: RevokeTokenRequest) -> Result<EmptyResult, ApiError> {
        let uid =
            request.uid.filter(|uid| !uid.is_empty()).ok_or_else(|| wrong("uid is missing: the jti of a token"))?;
        self.revoke(&Revocation::Token(uid.into())).await
    }

    pub(super) async fn invalidate_user_tokens(
        &self,
        request: InvalidateUserTokensRequest,
    ) -> Result<EmptyResult, ApiError> {
        let user = request.user.filter(|user| !user.is_empty()).ok_or_else(|| wrong("user is missing"))?;
        let now = Now::read().unix_seconds();
        let before = time("issued_before", request.issued_before)?.unwrap_or(now);
        self.revoke(&Revocation::User(UserId::new(&user), before)).await
    }

    async fn revoke(&self, revocation: &Revocation) -> Result<EmptyResult, ApiError> {
        self.permit(ApiRight::Disconnect, None)?;
        let elsewhere = self.have_peers_do(Question::Revoke(revocation.clone()));
        let (is_remembered, elsewhere) = tokio::join!(self.context.workers.revoke(revocation), elsewhere);
        if is_remembered { elsewhere } else { Err(ApiError::not_remembered()) }
    }

    /// Has clients obey; nobody does if the client is none of this server.
    async fn order(&self, addressee: Option<Addressee>, order: Order) -> Result<EmptyResult, ApiError> {
        if let Some(addressee) = addressee {
            let elsewhere = self.have_peers_do(Question::Order(raw(to_json(&(&addressee, &order)))));
            let everywhere = async {
                let (here, elsewhere) = tokio::join!(self.context.workers.order(addressee, order), elsewhere);
                here.map_err(ApiError::from).and(elsewhere)
            };
            return tokio::select! {
                biased;
                obeyed = everywhere => obeyed,
                // Everybody waits for this call to end before they leave.
                () = self.context.drain.stopping() => Err(ApiError::stopping()),
            };
        }
        Ok(EmptyResult {})
    }

    /// Has all other nodes do something, if there are others.
    ///
    /// # Errors
    /// The first of those why a node has not done it, or a node has not answered.
    async fn have_peers_do(&self, question: Question) -> Result<EmptyResult, ApiError> {
        let Some(peers) = self.context.broker.peers() else { return Ok(EmptyResult {}) };
        if !self.context.broker.reaches_peers() {
            return Err(ApiError::internal("NATS is unavailable, and other nodes did not hear of it: try again"));
        }
        let nodes = peers.nodes().len();
        let answers = peers.ask(question.encode()).await;
        for answer in &answers {
            match Answer::decode(answer) {
                Answer::Done => {}
                Answer::Refused { code, message } => return Err(ApiError { code, message }),
                _ => return Err(ApiError::internal("a node of another version cannot do it")),
            }
        }
        if answers.len() < nodes { Err(ApiError::unanswered(nodes - answers.len())) } else { Ok(EmptyResult {}) }
    }
}

/// The clients that a call is for; `None` for a client that cannot be one of this server.
fn addressee(
    user: Option<String>,
    client: Option<String>,
    session: Option<String>,
    whitelist: Option<Vec<String>>,
) -> Result<Option<Addressee>, ApiError> {
    if session.is_some_and(|session| !session.is_empty()) {
        return Err(CommandError::NotAvailable("session: clients are named by client").into());
    }
    let user = UserId::new(user.as_deref().unwrap_or_default());
    let client = client.filter(|client| !client.is_empty());
    if user.as_str().is_empty() && client.is_none() {
        return Err(wrong("user is missing, and client as well"));
    }
    let except = whitelist.unwrap_or_default().iter().filter_map(|client| ClientId::parse(client)).collect();
    Ok(match client.as_deref().map(ClientId::parse) {
        Some(None) => None,
        client => Some(Addressee { user, client: client.flatten(), except }),
    })
}

/// JSON that presence and events repeat, so that it is not long.
fn short_json(name: &str, plain: Json, encoded: Option<String>) -> Result<Option<Arc<str>>, ApiError> {
    let json = json_on_one_line(name, plain, encoded)?;
    match json {
        Some(json) if json.len() > INFO_BYTES_MAX => {
            Err(wrong(format_args!("{name} of {} bytes exceeds {INFO_BYTES_MAX}", json.len())))
        }
        json => Ok(json.map(Arc::from)),
    }
}

/// A time in seconds since 1970; 0 is none.
fn time(name: &str, seconds: Option<i64>) -> Result<Option<UnixSeconds>, ApiError> {
    let seconds = u64::try_from(seconds.unwrap_or_default());
    let seconds = seconds.map_err(|_| wrong(format_args!("{name} is a time in seconds since 1970")))?;
    Ok((seconds > 0).then_some(UnixSeconds(seconds)))
}

fn since_position(StreamPosition { offset, epoch }: &StreamPosition) -> Option<Since> {
    let epoch = epoch.as_deref().unwrap_or_default().into();
    since(&Resume { recover: true, epoch, offset: offset.unwrap_or_default() })
}

/// What clients are told, if the application has said something.
fn close_words(DisconnectWords { code, reason }: DisconnectWords) -> Result<Option<CloseWords>, ApiError> {
    let (code, reason) = (code.unwrap_or_default(), reason.unwrap_or_default());
    if code == 0 && reason.is_empty() {
        return Ok(None);
    }
    let code = u16::try_from(code).unwrap_or(u16::MAX);
    CloseWords::new(code, &reason).map(Some).map_err(wrong)
}
