//! What a client may do in a room, by the first rule that names the room.

use std::fmt::Write;

use strum::VariantArray;

use super::pattern::Pattern;
use super::rights::{Action, Rights};
use super::token::Token;
use crate::config::{LimitsOfRoom, RoomRule, Span, Who};
use crate::protocol::names::RoomName;

/// The rules of all rooms, in their order.
#[derive(Debug)]
pub struct RoomRules {
    rules: Vec<(Pattern, RoomRule)>,
    default_limits: LimitsOfRoom,
}

impl RoomRules {
    /// Rules of the settings.
    pub fn new(rules: Vec<RoomRule>, default_limits: LimitsOfRoom) -> Self {
        let rules = rules.into_iter().map(|rule| (Pattern::new(&rule.rooms), rule)).collect();
        Self { rules, default_limits }
    }

    /// Whether there is no rule, so that everybody may do everything.
    pub fn is_open(&self) -> bool {
        self.rules.is_empty()
    }

    /// The rule of a room. `None` where no rule names it: then nobody may do anything there, unless the rules are open.
    /// Linear in the rules.
    pub fn rule_of(&self, room: &RoomName) -> Option<&RoomRule> {
        self.rules.iter().find(|(rooms, _)| rooms.matches(room)).map(|(_, rule)| rule)
    }

    /// What a client may do in a room. Linear in the rules.
    pub fn rights(&self, room: &RoomName, token: Option<&Token>) -> Rights {
        if self.is_open() {
            return Rights::ALL;
        }
        let Some(rule) = self.rule_of(room) else { return Rights::NONE };
        let has = |action: Action| match who(rule, action) {
            Who::Anyone => true,
            Who::User => token.is_some_and(|token| token.names_user()),
            Who::Token => token.is_some_and(|token| token.grants.allow(room, action)),
            Who::Member => action == Action::Publish,
            Who::Nobody => false,
        };
        let mut rights = Rights::of(Action::VARIANTS.iter().copied().filter(|&action| has(action)));
        if rights.allow(Action::Publish) && rule.publish != Who::Member {
            rights = rights.with_publish_from_outside();
        }
        rights
    }

    /// The limits of a room. Linear in the rules.
    pub fn limits_of(&self, room: &RoomName) -> LimitsOfRoom {
        self.rule_of(room).map_or(self.default_limits, |rule| rule.limits)
    }

    /// The most publications that any room may retain. Linear in the rules.
    pub fn history_messages_max(&self) -> usize {
        let of_rules = self.rules.iter().map(|(_, rule)| rule.limits.history_messages_max);
        of_rules.fold(self.default_limits.history_messages_max, usize::max)
    }

    /// Why a client may not do something in a room, for its user: names the rule and who has the right.
    pub fn refusal(&self, room: &RoomName, action: Action) -> String {
        let room_name = room.as_str();
        match self.rule_of(room) {
            Some(rule) => {
                format!("{action} {room_name:?}: the rule {:?} lets {}", rule.name, holders(who(rule, action)))
            }
            None => format!("{action} {room_name:?}: no rule names the room"),
        }
    }

    /// Which rule applies to a room, what a client may do there and why, and the limits of the room: lines for an
    /// operator.
    pub fn explain(&self, room: &RoomName, token: Option<&Token>) -> String {
        let mut text = format!("room: {:?}\nrule: ", room.as_str());
        let place = self.rules.iter().position(|(rooms, _)| rooms.matches(room));
        let rule = place.map(|index| (index + 1, &self.rules[index].1));
        text += &match rule {
            Some((number, rule)) => format!("number {number}, {:?}, for the rooms {:?}\n", rule.name, rule.rooms),
            None if self.is_open() => "there is none, so everybody may do everything\n".to_owned(),
            None => "none names the room, so nobody may do anything there\n".to_owned(),
        };
        text += &match token {
            None => "client: without a token\n".to_owned(),
            Some(token) if !token.names_user() => "client: with a token that names no user\n".to_owned(),
            Some(token) => format!("client: with a token of the user {:?}\n", token.user.as_str()),
        };
        let rights = self.rights(room, token);
        for &action in Action::VARIANTS {
            let answer = match rights.allow(action) {
                true if action == Action::Publish && !rights.allow_publish_from_outside() => "yes, as a member",
                true => "yes",
                false => "no",
            };
            let why =
                rule.map(|(_, rule)| format!("; the rule lets {}", holders(who(rule, action)))).unwrap_or_default();
            let _ = writeln!(text, "{action}: {answer}{why}");
        }
        text + &limits_in_words(self.limits_of(room))
    }
}

fn who(rule: &RoomRule, action: Action) -> Who {
    match action {
        Action::Join => rule.join,
        Action::Publish => rule.publish,
        Action::History => rule.history,
        Action::Presence => rule.presence,
    }
}

/// The clients to which a rule gives a right, in words.
fn holders(who: Who) -> &'static str {
    match who {
        Who::Anyone => "everybody",
        Who::User => "only clients whose token names a user",
        Who::Token => "only tokens that grant it",
        Who::Member => "only members",
        Who::Nobody => "nobody",
    }
}

fn limits_in_words(limits: LimitsOfRoom) -> String {
    let LimitsOfRoom { members_max, history_messages_max, history_age_max, presence_events, .. } = limits;
    let told = if presence_events { "told" } else { "not told" };
    format!(
        "limits: {members_max} members; the newest {history_messages_max} messages for {}; members are {told} who comes \
         and goes\n",
        Span(history_age_max)
    )
}
