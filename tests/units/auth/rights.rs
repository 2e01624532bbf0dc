//! Which rule applies to a room, and who has which right by it.

use roomcast::auth::rights::{Action, Rights};
use roomcast::auth::rules::RoomRules;
use roomcast::auth::tokens::Token;
use roomcast::config::{Config, RoomRule, RuleSettings, Settings, Who};
use roomcast::protocol::names::RoomName;
use serde_json::json;

use super::{accepted, access_rules};

fn room(name: &str) -> RoomName {
    RoomName::parse(name).expect("a name within the rule")
}

/// The rules of a settings file.
fn rules(text: &str) -> RoomRules {
    RoomRules::from(&access_rules(text))
}

/// Which of join, publish, history and presence a client has, and whether it may publish from outside.
fn rights(rules: &RoomRules, room_name: &str, token: Option<&Token>) -> [bool; 5] {
    let rights = rules.rights(&room(room_name), token);
    let [join, publish, history, presence] =
        [Action::Join, Action::Publish, Action::History, Action::Presence].map(|action| rights.allow(action));
    [join, publish, history, presence, rights.allow_publish_from_outside()]
}

#[test]
fn without_rules_everybody_may_do_everything() {
    let rules = rules("");
    assert!(rules.is_open());
    assert_eq!(rules.rights(&room("a"), None), Rights::ALL);
    assert!(rules.explain(&room("a"), None).contains("everybody may do everything"));
}

#[test]
fn the_first_rule_that_names_the_room_applies_and_no_other() {
    let rules = rules(
        "[[rule]]\nrooms = 'team:*'\njoin = 'nobody'\n[[rule]]\nrooms = '*:log'\njoin = 'anyone'\n\
         [[rule]]\nname = 'cafés'\nrooms = 'cafe\u{301}*'\njoin = 'anyone'\n",
    );
    let rule = |name: &str| rules.rule_of(&room(name)).map(|rule| rule.name.to_string());
    assert_eq!(rule("team:log").unwrap(), "team:*");
    assert_eq!(rule("team:").unwrap(), "team:*");
    assert_eq!(rule("other:log").unwrap(), "*:log");
    assert_eq!(rule("caf\u{e9}:a").unwrap(), "cafés");
    assert_eq!(rule("team"), None);
    assert_eq!(rights(&rules, "team:log", None), [false, true, false, false, false]);
    assert_eq!(rights(&rules, "elsewhere", None), [false; 5]);
    assert_eq!(rules.refusal(&room("elsewhere"), Action::Join), "join \"elsewhere\": no rule names the room");
    assert!(rules.explain(&room("elsewhere"), None).contains("nobody may do anything"));
}

#[test]
fn a_rule_that_never_applies_is_warned_of_and_no_other_is() {
    let warnings = |patterns: &[&str]| {
        let rule = |pattern: &&str| format!("[[rule]]\nrooms = '{pattern}'\njoin = 'anyone'\n");
        rules(&patterns.iter().map(rule).collect::<String>()).shadowed()
    };
    assert_eq!(warnings(&["*", "a"]), [r#"rule 2 "a" never applies: rule 1 "*" names its rooms first"#]);
    assert_eq!(warnings(&["b", "a", "a", "*"]), [r#"rule 3 "a" never applies: rule 2 "a" names its rooms first"#]);
    for (earlier, later) in [("team:*", "team:*:log"), ("*:log", "team:*:log"), ("a*b*", "a*b"), ("a**", "a*")] {
        assert_eq!(warnings(&[earlier, later]).len(), 1, "{earlier} {later}");
        assert_eq!(warnings(&[later, earlier]).len(), usize::from(earlier == "a**"), "{later} {earlier}");
    }
    assert_eq!(warnings(&["team:*", "*:log", "team", "a?", "ab"]), [""; 0]);
}

#[test]
fn a_question_mark_is_a_question_mark() {
    let rules = rules("[[rule]]\nrooms = 'a?'\njoin = 'anyone'\n");
    assert!(rules.rule_of(&room("a?")).is_some());
    assert!(rules.rule_of(&room("ab")).is_none());
}

#[test]
fn each_right_goes_to_those_whom_the_rule_names() {
    let anonymous = None;
    let nameless = accepted(&json!({"rooms": {"a": ["join"]}}));
    let user = accepted(&json!({"sub": "ada"}));
    let granted = accepted(&json!({"sub": "ada", "rooms": {"*": ["join", "publish", "history", "presence"]}}));
    let clients = [anonymous, Some(&nameless), Some(&user), Some(&granted)];
    for (who, has_right) in [
        (Who::Anyone, [true; 4]),
        (Who::User, [false, false, true, true]),
        (Who::Token, [false, false, false, true]),
        (Who::Nobody, [false; 4]),
    ] {
        let word: &str = who.into();
        let text = format!("[[rule]]\nrooms = 'b*'\njoin = '{word}'\npublish = '{word}'\n");
        let rules = rules(&text);
        for (client, has_right) in clients.into_iter().zip(has_right) {
            assert_eq!(rights(&rules, "b1", client), [has_right; 5], "{word} {client:?}");
        }
    }
}

#[test]
fn members_publish_from_inside_alone() {
    let rules = rules("[[rule]]\nrooms = 'a'\njoin = 'user'\nhistory = 'nobody'\n");
    assert_eq!(rights(&rules, "a", None), [false, true, false, false, false]);
    assert_eq!(rights(&rules, "a", Some(&accepted(&json!({"sub": "ada"})))), [true, true, false, true, false]);
}

#[test]
fn a_refusal_names_the_action_the_room_the_rule_and_who_may() {
    for (who, holders) in [
        ("user", "only clients whose token names a user"),
        ("token", "only tokens that grant it"),
        ("nobody", "nobody"),
        ("member", "only members"),
    ] {
        let rules =
            rules(&format!("[[rule]]\nname = 'team rooms'\nrooms = 'team:*'\njoin = 'anyone'\npublish = '{who}'\n"));
        let refusal = format!("publish \"team:a\": the rule \"team rooms\" lets {holders}");
        assert_eq!(rules.refusal(&room("team:a"), Action::Publish), refusal);
    }
}

#[test]
fn the_limits_of_a_room_are_those_of_its_rule() {
    let rules = rules("room-members = 7\n[[rule]]\nrooms = 'a'\njoin = 'anyone'\nroom-members = 3\n");
    assert_eq!(rules.limits_of(&room("a")).members_max, 3);
    assert_eq!(rules.limits_of(&room("b")).members_max, 7);
}

#[test]
fn an_operator_is_told_which_rule_applies_and_why_a_client_may_or_may_not() {
    let rules = rules(
        "[[rule]]\nrooms = 'lobby'\njoin = 'anyone'\n\
         [[rule]]\nname = 'team rooms'\nrooms = 'team:*'\njoin = 'token'\nhistory = 'user'\nhistory-age = '1h'\n",
    );
    let token = accepted(&json!({"sub": "ada", "rooms": {"team:a": ["join"]}}));
    let expected = "room: \"team:a\"\n\
        rule: number 2, \"team rooms\", for the rooms \"team:*\"\n\
        client: with a token of the user \"ada\"\n\
        join: yes; the rule lets only tokens that grant it\n\
        publish: yes, as a member; the rule lets only members\n\
        history: yes; the rule lets only clients whose token names a user\n\
        presence: no; the rule lets only tokens that grant it\n\
        limits: 1000000 members; the newest 100 messages for 1h; members are not told who comes and goes\n";
    assert_eq!(rules.explain(&room("team:a"), Some(&token)), expected);
}

/// A setting by which there are keys for tokens. Rules do not read the file.
const KEYS: &str = "token-secret-file = ['main.key']\n";

#[test]
fn where_there_are_keys_rooms_that_begin_with_a_dollar_need_a_token_and_all_others_stay_open() {
    let rules = rules(KEYS);
    let granted = accepted(&json!({"sub": "ada", "channels": ["$a"]}));
    let user = accepted(&json!({"sub": "ada"}));
    assert!(rules.is_open());
    for token in [None, Some(&user), Some(&granted)] {
        assert_eq!([rights(&rules, "a", token), rights(&rules, "a$", token)], [[true; 5]; 2]);
    }
    for token in [None, Some(&user)] {
        assert_eq!(rights(&rules, "$a", token), [false, true, false, false, false]);
    }
    assert_eq!(rights(&rules, "$a", Some(&granted)), [true, true, true, true, false]);
    assert_eq!(rights(&rules, "$b", Some(&granted)), [false, true, false, false, false]);
    assert_eq!(
        (rules.limits_of(&room("$a")).joined_by, rules.limits_of(&room("a")).joined_by),
        (Who::Token, Who::Anyone)
    );
    let refusal = "join \"$a\": the rule \"rooms that begin with $\" lets only tokens that grant it";
    assert_eq!(rules.refusal(&room("$a"), Action::Join), refusal);
    let expected = "room: \"$a\"\n\
        rule: \"rooms that begin with $\", for the rooms \"$*\" that no rule of the settings names, where there are keys \
        for tokens\n\
        client: without a token\n\
        join: no; the rule lets only tokens that grant it\n\
        publish: yes, as a member; the rule lets only members\n\
        history: no; the rule lets only tokens that grant it\n\
        presence: no; the rule lets only tokens that grant it\n";
    let words = rules.explain(&room("$a"), None);
    assert!(words.starts_with(expected), "{words}");
    assert!(rules.explain(&room("a"), None).contains("everybody may do everything"));
}

#[test]
fn a_rule_of_the_settings_that_names_a_room_with_a_dollar_applies_in_place_of_the_default() {
    let rules = rules(&format!("{KEYS}[[rule]]\nrooms = '$news*'\njoin = 'anyone'\n"));
    assert!(!rules.is_open());
    assert_eq!(rights(&rules, "$news", None), [true, true, true, true, false]);
    assert_eq!(rights(&rules, "$a", None), [false, true, false, false, false]);
    assert_eq!(rights(&rules, "$a", Some(&accepted(&json!({"channels": ["$a"]})))), [true, true, true, true, false]);
    assert_eq!(rights(&rules, "elsewhere", None), [false; 5]);
    assert!(rules.explain(&room("$news"), None).contains("rule: number 1, \"$news*\""));
}

#[test]
fn without_keys_a_dollar_is_a_character_like_any_other() {
    let open = rules("");
    assert_eq!(rights(&open, "$a", None), [true; 5]);
    assert!(open.rule_of(&room("$a")).is_none());
    let ruled = rules("[[rule]]\nrooms = 'a'\njoin = 'anyone'\n");
    assert_eq!(rights(&ruled, "$a", None), [false; 5]);
}

#[test]
fn the_grant_of_a_subscription_counts_where_the_rule_asks_for_a_token() {
    for (who, join) in [("token", true), ("user", false), ("nobody", false), ("anyone", true)] {
        let rules = rules(&format!("[[rule]]\nrooms = 'a'\njoin = '{who}'\n"));
        let rights = rules.rights_with_grant(&room("a"), None, Rights::JOIN_AND_READ);
        assert_eq!([Action::Join, Action::History, Action::Presence].map(|action| rights.allow(action)), [join; 3]);
        assert_eq!((rights.allow(Action::Publish), rights.allow_publish_from_outside()), (true, false));
        assert_eq!(rules.rights_with_grant(&room("b"), None, Rights::JOIN_AND_READ), Rights::NONE);
    }
    let private = rules(KEYS).rights_with_grant(&room("$a"), None, Rights::JOIN_AND_READ);
    assert!(private.allow(Action::Join) && private.allow(Action::Publish));
}

/// A rule for these rooms that lets everybody join.
pub(super) fn rule_for(rooms: &str) -> Option<RoomRule> {
    let rule = RuleSettings::new(rooms, Who::Anyone);
    let config = Config::try_from(Settings { rules: vec![rule], ..Settings::default() }).ok()?;
    config.access.rooms.into_iter().next()
}
