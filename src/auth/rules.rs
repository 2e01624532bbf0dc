//! What a client may do in a room, by the first rule that names the room.

use std::fmt::Write;

use strum::VariantArray;

use super::pattern::Pattern;
use super::rights::{Action, Rights};
use super::token::Token;
use crate::config::{AccessRules, LimitsOfRoom, RoomRule, Span, Who};
use crate::protocol::names::RoomName;

/// What the name of a private room begins with. Clients and applications of Centrifugo expect that such a room needs a
/// token.
const PRIVATE_PREFIX: char = '$';

/// The rules of all rooms, in their order.
#[derive(Debug)]
pub struct RoomRules {
    rules: Vec<(Pattern, RoomRule)>,
    /// The rule of private rooms that no other rule names; `None` where no token can be valid.
    private: Option<RoomRule>,
    default_limits: LimitsOfRoom,
}

impl From<&AccessRules> for RoomRules {
    /// The rules of the settings. Where there are users, private rooms need a token.
    fn from(access: &AccessRules) -> Self {
        let rules = Self::new(access.rooms.clone(), access.default_limits);
        let private = access.have_users().then(|| private_rooms(access.default_limits));
        Self { private, ..rules }
    }
}

impl RoomRules {
    /// These rules and no others.
    pub fn new(rules: Vec<RoomRule>, default_limits: LimitsOfRoom) -> Self {
        let rules = rules.into_iter().map(|rule| (Pattern::new(&rule.rooms), rule)).collect();
        Self { rules, private: None, default_limits }
    }

    /// Whether the operator has given no rule, so that everybody may do everything, but for private rooms where there are
    /// keys for tokens.
    pub fn is_open(&self) -> bool {
        self.rules.is_empty()
    }

    /// A warning of each rule that never applies, since an earlier one names all of its rooms. Rules that earlier ones make
    /// useless only together are not found. Quadratic in the rules.
    pub fn shadowed(&self) -> Vec<String> {
        let shadow = |(place, (rooms, rule)): (usize, &(Pattern, RoomRule))| {
            let earlier = self.rules[..place].iter().position(|(earlier, _)| earlier.covers(rooms))?;
            let [number, earlier_number] = [place, earlier].map(|place| place + 1);
            let (name, earlier_name) = (&rule.name, &self.rules[earlier].1.name);
            Some(format!(
                "rule {number} {name:?} never applies: rule {earlier_number} {earlier_name:?} names its rooms first"
            ))
        };
        self.rules.iter().enumerate().filter_map(shadow).collect()
    }

    /// The rule of a room. `None` where no rule names it: then nobody may do anything there, unless the rules are open.
    /// Linear in the rules.
    pub fn rule_of(&self, room: &RoomName) -> Option<&RoomRule> {
        self.numbered_rule_of(room).map(|(_, rule)| rule).or_else(|| self.private_rule_of(room))
    }

    /// The rule of the operator that names a room, with its number, counted from 1.
    fn numbered_rule_of(&self, room: &RoomName) -> Option<(usize, &RoomRule)> {
        let place = self.rules.iter().position(|(rooms, _)| rooms.matches(room))?;
        Some((place + 1, &self.rules[place].1))
    }

    fn private_rule_of(&self, room: &RoomName) -> Option<&RoomRule> {
        self.private.as_ref().filter(|_| room.as_str().starts_with(PRIVATE_PREFIX))
    }

    /// What a client may do in a room. Linear in the rules.
    pub fn rights(&self, room: &RoomName, token: Option<&Token>) -> Rights {
        self.rights_with_grant(room, token, Rights::NONE)
    }

    /// What a client may do in a room in which it has been granted more than its token says, as by a token for one
    /// subscription. The grant counts where the rule asks for a token, and that of the application everywhere. Linear in the
    /// rules.
    pub fn rights_with_grant(&self, room: &RoomName, token: Option<&Token>, grant: Rights) -> Rights {
        let rule = match self.rule_of(room) {
            Some(rule) => rule,
            None if self.is_open() => return Rights::ALL,
            None => return Rights::of(Action::VARIANTS.iter().copied().filter(|&action| grant.give(action))),
        };
        let has = |action: Action| match who(rule, action) {
            _ if grant.give(action) => true,
            Who::Anyone => true,
            Who::User => token.is_some_and(|token| token.names_user()),
            Who::Token => grant.allow(action) || token.is_some_and(|token| token.grants.allow(room, action)),
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
        let rule = self.rule_of(room);
        text += &match (self.numbered_rule_of(room), rule) {
            (Some((number, rule)), _) => format!("number {number}, {:?}, for the rooms {:?}\n", rule.name, rule.rooms),
            (None, Some(rule)) => format!(
                "{:?}, for the rooms {:?} that no rule of the settings names, where there are keys for tokens\n",
                rule.name, rule.rooms
            ),
            (None, None) if self.is_open() => "there is none, so everybody may do everything\n".to_owned(),
            (None, None) => "none names the room, so nobody may do anything there\n".to_owned(),
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
            let why = rule.map(|rule| format!("; the rule lets {}", holders(who(rule, action)))).unwrap_or_default();
            let _ = writeln!(text, "{action}: {answer}{why}");
        }
        text + &limits_in_words(self.limits_of(room))
    }
}

/// The rule of private rooms: a token says who may join and read, and members may publish.
fn private_rooms(default_limits: LimitsOfRoom) -> RoomRule {
    RoomRule {
        name: format!("rooms that begin with {PRIVATE_PREFIX}").into(),
        rooms: format!("{PRIVATE_PREFIX}*").into(),
        join: Who::Token,
        publish: Who::Member,
        history: Who::Token,
        presence: Who::Token,
        limits: LimitsOfRoom { joined_by: Who::Token, ..default_limits },
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
