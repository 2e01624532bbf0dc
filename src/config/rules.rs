//! The rules of rooms, as the settings file gives them and as they are validated: who may do what in which rooms, and the
//! limits of these rooms.

use std::fmt;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Arg, Args, Command, ValueEnum};
use serde::Serialize;
use strum::IntoStaticStr;

use super::validate::{history_age, history_messages, room_members, within};
use super::{ConfigError, Span};

/// The most rules. They are looked through in order when a client joins.
const RULES_MAX: usize = 1_000;

/// The longest name and pattern of a rule, in bytes.
const TEXT_BYTES_MAX: usize = 128;

/// A `[[rule]]` of the settings file, not validated yet. The doc comments are the help of its keys.
#[derive(Clone, Debug, PartialEq, Args, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct RuleSettings {
    /// Name that a refusal tells; the pattern if it is missing.
    #[arg(long, value_name = "TEXT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Rooms of the rule: `*` stands for any characters, also for none, and every other character for itself.
    #[arg(long, value_name = "PATTERN")]
    pub rooms: String,
    /// Who may join.
    #[arg(long, value_name = "WHO", value_parser = anyone_but_members())]
    pub join: Who,
    /// Who may publish; members if it is missing.
    #[arg(long, value_name = "WHO")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub publish: Option<Who>,
    /// Who may read what was published before; as `join` if it is missing.
    #[arg(long, value_name = "WHO", value_parser = anyone_but_members())]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history: Option<Who>,
    /// Who may read who is in; as `join` if it is missing.
    #[arg(long, value_name = "WHO", value_parser = anyone_but_members())]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub presence: Option<Who>,
    /// Members of one room, in place of the setting of the same name.
    #[arg(long, value_name = "COUNT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub room_members: Option<usize>,
    /// Newest messages that each room retains, in place of the setting of the same name.
    #[arg(long, value_name = "COUNT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history_messages: Option<usize>,
    /// Longest time that a message is retained, in place of the setting of the same name.
    #[arg(long, value_name = "DURATION")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history_age: Option<Span>,
    /// Whether members are told who joins and who leaves, in place of the setting of the same name.
    #[arg(long, value_name = "BOOL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub presence_events: Option<bool>,
}

impl RuleSettings {
    /// The keys of a rule with their help, as if they were flags.
    pub(super) fn arguments() -> Vec<Arg> {
        Self::augment_args(Command::new("")).get_arguments().cloned().collect()
    }

    /// A rule by which these clients may join these rooms, and which says nothing else.
    pub fn new(rooms: &str, join: Who) -> Self {
        Self {
            name: None,
            rooms: rooms.to_owned(),
            join,
            publish: None,
            history: None,
            presence: None,
            room_members: None,
            history_messages: None,
            history_age: None,
            presence_events: None,
        }
    }
}

/// The clients that have a right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Who {
    /// Every client.
    Anyone,
    /// Clients whose token names a user.
    User,
    /// Clients whose token grants the right in that room.
    Token,
    /// Clients that are in the room; for publishing only.
    Member,
    /// No client. An application may.
    Nobody,
}

/// Parses the clients that may have a right which all members have or none.
fn anyone_but_members() -> impl TypedValueParser<Value = Who> {
    let clients = Who::value_variants().iter().filter(|who| **who != Who::Member);
    PossibleValuesParser::new(clients.filter_map(ValueEnum::to_possible_value))
        .try_map(|who| Who::from_str(&who, false))
}

/// A rule, every value within its bounds.
#[derive(Clone, Debug, PartialEq)]
pub struct RoomRule {
    /// The name that a refusal tells.
    pub name: Box<str>,
    /// The rooms of the rule: `*` stands for any characters.
    pub rooms: Box<str>,
    /// Who may join.
    pub join: Who,
    /// Who may publish.
    pub publish: Who,
    /// Who may read what was published before.
    pub history: Who,
    /// Who may read who is in.
    pub presence: Who,
    /// The limits of the rooms.
    pub limits: LimitsOfRoom,
}

/// What holds for one room, by its rule and by the settings where the rule says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitsOfRoom {
    /// Members.
    pub members_max: usize,
    /// Publications that the room retains; 0 is no history.
    pub history_messages_max: usize,
    /// Longest time that a publication is retained.
    pub history_age_max: Duration,
    /// Whether members are told who joins and who leaves.
    pub presence_events: bool,
    /// Who may join.
    pub joined_by: Who,
}

/// The rules of the settings file, in their order.
pub(super) fn room_rules(rules: &[RuleSettings], default: LimitsOfRoom) -> Result<Vec<RoomRule>, ConfigError> {
    within("rule", rules.len(), 0..=RULES_MAX)?;
    let rule = |(number, rule)| room_rule(rule, default).map_err(|error| error.of_rule(number));
    (1..).zip(rules).map(rule).collect()
}

fn room_rule(rule: &RuleSettings, default: LimitsOfRoom) -> Result<RoomRule, ConfigError> {
    let name = rule.name.as_ref().unwrap_or(&rule.rooms);
    let wrong = |value: &dyn fmt::Display, what: &str| Err(ConfigError::new("rule", value, what));
    for (text, what) in [(&rule.rooms, "rooms"), (name, "name")] {
        if text.is_empty() || text.len() > TEXT_BYTES_MAX || text.contains(char::is_control) {
            return wrong(&format_args!("{text:?}"), &format!("{what} is 1 to {TEXT_BYTES_MAX} bytes of one line"));
        }
    }
    let are_told = rule.presence_events.unwrap_or(default.presence_events);
    if are_told && rule.presence.is_some_and(|presence| presence != Who::Anyone && presence != rule.join) {
        let what =
            "presence keeps from some members who is in, and presence-events tells every member: set it to false";
        return wrong(&format_args!("{name:?}"), what);
    }
    let named = |error: ConfigError| error.because(&format!("in the rule {name:?}"));
    let (members, messages, age) = (rule.room_members, rule.history_messages, rule.history_age);
    let members = members.map(room_members).transpose().map_err(named)?;
    let messages = messages.map(history_messages).transpose().map_err(named)?;
    let age = age.map(history_age).transpose().map_err(named)?;
    Ok(RoomRule {
        name: name.as_str().into(),
        rooms: rule.rooms.as_str().into(),
        join: rule.join,
        publish: rule.publish.unwrap_or(Who::Member),
        history: rule.history.unwrap_or(rule.join),
        presence: rule.presence.unwrap_or(rule.join),
        limits: LimitsOfRoom {
            members_max: members.unwrap_or(default.members_max),
            history_messages_max: messages.unwrap_or(default.history_messages_max),
            history_age_max: age.unwrap_or(default.history_age_max),
            presence_events: are_told,
            joined_by: rule.join,
        },
    })
}
