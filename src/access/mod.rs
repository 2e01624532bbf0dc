//! Who may do what, read from the settings and the files that they name.

use crate::auth::rights::RoomRules;
use crate::auth::tokens::{TokenChecks, TokenVerifier};
use crate::config::{AccessRules, Anonymous};
use std::sync::Arc;

/// Everything that decides what a client may do.
pub struct Access {
    /// The rules of rooms.
    pub rooms: Arc<RoomRules>,
    /// What makes a token valid.
    pub tokens: TokenVerifier,
    /// Clients without a token.
    pub anonymous: Anonymous,
}

impl Access {
    /// Reads the files.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn load(rules: &AccessRules) -> anyhow::Result<Self> {
        Ok(Self {
            rooms: Arc::new(RoomRules::new(rules.rooms.clone(), rules.default_limits)),
            tokens: TokenVerifier::new(TokenChecks::default()),
            anonymous: rules.anonymous,
        })
    }
}
