//! Why a call was refused, with the codes of Centrifugo, which its libraries know.

use std::fmt::Display;

use serde::Serialize;
use utoipa::ToSchema;

use super::results::{Answer, EmptyResult};
use super::to_json;
use crate::broker::PublishError;
use crate::protocol::centrifuge::codes::error_code;
use crate::protocol::command::CommandError;
use crate::session::orders::NotObeyed;

/// Why a call was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Error)]
pub struct ApiError {
    /// 100 internal, 103 permission denied, 104 method not found, 106 limit exceeded, 107 bad request, 108 not
    /// available, 112 unrecoverable position, 113 conflict.
    #[schema(example = 107)]
    pub code: u32,
    /// What was wrong, with the value and the rule.
    #[schema(example = "bad request: channel is missing")]
    pub message: String,
}

impl ApiError {
    /// A method that the server does not have, or not there.
    pub(super) fn no_method(text: impl Display) -> Self {
        Self { code: 104, message: format!("method not found: {text}") }
    }

    /// The answer would be too long.
    pub(super) fn limit(text: impl Display) -> Self {
        Self { code: 106, message: format!("limit exceeded: {text}") }
    }

    /// Something else was done by this name before.
    pub(super) fn conflict(text: impl Display) -> Self {
        Self { code: 113, message: format!("conflict: {text}") }
    }

    /// The server could not do it now; another try may help.
    pub(super) fn internal(text: impl Display) -> Self {
        Self { code: 100, message: format!("internal server error: {text}") }
    }

    /// Some nodes may not have done it. Whoever asks again does no harm.
    pub(super) fn unanswered(nodes: usize) -> Self {
        Self::internal(format_args!("{nodes} of the other nodes did not answer: try again"))
    }

    /// A token that is revoked can be used again.
    pub fn not_remembered() -> Self {
        Self::limit("too much is revoked: connections have ended, but the token is valid for new ones")
    }

    /// The server stops, and does not begin or wait for it.
    pub(super) fn stopping() -> Self {
        Self::internal("the server is stopping")
    }

    /// The answer that says so.
    pub fn answer(self) -> String {
        to_json(&Answer::<EmptyResult>::Error(self))
    }

    /// The error alone, for clients that want errors as statuses.
    pub fn bare(&self) -> String {
        to_json(self)
    }

    /// The status of the answer for clients that want errors as statuses.
    pub fn status(&self) -> u16 {
        match self.code {
            104 => 404,
            103 => 403,
            106..=108 => 400,
            109 => 401,
            111 => 429,
            112 => 416,
            113 => 409,
            _ => 500,
        }
    }
}

impl From<CommandError> for ApiError {
    fn from(error: CommandError) -> Self {
        let (code, words, _) = error_code(&error);
        Self { code, message: format!("{words}: {error}") }
    }
}

impl From<PublishError> for ApiError {
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::KeyReused(error) => Self::conflict(error),
            PublishError::Unavailable(error) => error.into(),
        }
    }
}

impl From<NotObeyed> for ApiError {
    fn from(error: NotObeyed) -> Self {
        match error {
            NotObeyed::Busy => Self::internal("a client has too much else to do"),
            NotObeyed::Refused(error) => error.into(),
        }
    }
}

/// The error of parameters that break this rule.
pub(super) fn wrong(rule: impl Display) -> ApiError {
    CommandError::Parameters(rule.to_string().into()).into()
}
