//! What one client may do in one room, as bits.

use std::fmt;

use strum::{Display, EnumString, VariantArray};

/// Something that a client may or may not do in a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Display, EnumString, VariantArray)]
#[strum(serialize_all = "kebab-case")]
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

impl Rights {
    /// Every right.
    pub const ALL: Self = Self(0b1_1111);
    /// No right.
    pub const NONE: Self = Self(0);

    /// To join, and to read what was published before and who is in: what a token gives in a room that it names as a
    /// channel.
    pub const JOIN_AND_READ: Self =
        Self(1 << Action::Join as u8 | 1 << Action::History as u8 | 1 << Action::Presence as u8);

    const PUBLISH_FROM_OUTSIDE: u8 = 1 << 4;

    /// Marks rights that hold whatever the rule of the room says.
    const BY_APPLICATION: u8 = 1 << 5;

    /// To join and to read, given by the application itself, whatever the rule of the room says.
    pub const GIVEN_BY_APPLICATION: Self = Self(Self::JOIN_AND_READ.0 | Self::BY_APPLICATION);

    /// These rights of a member.
    pub fn of(actions: impl IntoIterator<Item = Action>) -> Self {
        Self(actions.into_iter().fold(0, |bits, action| bits | 1 << action as u8))
    }

    /// Whether a member has the right, or for [`Action::Join`] a client that may become one.
    pub fn allow(self, action: Action) -> bool {
        self.0 & (1 << action as u8) != 0
    }

    /// Whether the application itself gives this right.
    pub(super) fn give(self, action: Action) -> bool {
        self.0 & Self::BY_APPLICATION != 0 && self.allow(action)
    }

    /// These rights, and that to publish without being a member.
    pub(super) fn with_publish_from_outside(self) -> Self {
        Self(self.0 | Self::PUBLISH_FROM_OUTSIDE)
    }

    /// Whether a client that is no member may publish.
    pub fn allow_publish_from_outside(self) -> bool {
        self.0 & Self::PUBLISH_FROM_OUTSIDE != 0
    }
}

impl fmt::Display for Rights {
    /// Lists the rights of a member, as in `join, publish`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let actions = Action::VARIANTS.iter().filter(|&&action| self.allow(action));
        out.write_str(&actions.map(ToString::to_string).collect::<Vec<_>>().join(", "))
    }
}
