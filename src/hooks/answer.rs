//! What the application answers: one JSON object, each member of which is checked. An answer that breaks a rule is as
//! good as none; why goes to the log and never to the client.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Allowed, Decision, Hook, Question, Refusal};
use crate::auth::UnixSeconds;
use crate::auth::tokens::{identity_of_application, membership_of_application};
use crate::protocol::command::{CommandError, parse_message};
use crate::protocol::json::{DEPTH_MAX, depth, on_one_line};
use crate::protocol::names::{Label, RoomName, unseen};
use crate::protocol::publication::{Data, UserId};
use crate::protocol::text::check_length;

/// The longest reason that a client is told, in bytes.
const REASON_BYTES_MAX: usize = 256;

/// The question that an answer is checked against.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub hook: Hook,
    pub user: UserId,
    pub label: Label,
    pub room: Option<RoomName>,
    pub message_bytes_max: usize,
}

/// Members of the answer; others are ignored. `null` is as good as missing.
#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    refuse: Option<&'a RawValue>,
    claims: Option<&'a RawValue>,
    membership: Option<&'a RawValue>,
    data: Option<&'a RawValue>,
    text: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Refuse {
    reason: String,
}

impl Asked {
    /// What of a question its answer is checked against.
    pub(super) fn of(question: &Question<'_>, message_bytes_max: usize) -> Self {
        Self {
            hook: question.wish.hook(),
            user: question.publisher.user.clone(),
            label: question.publisher.label.clone(),
            room: question.wish.room().cloned(),
            message_bytes_max,
        }
    }

    /// Reads an answer.
    ///
    /// # Errors
    /// It breaks a rule, which the text names.
    pub(super) fn decision(&self, answer: &[u8], now: UnixSeconds) -> Result<Decision, String> {
        let object = answer.trim_ascii_start().starts_with(b"{");
        let answer = object.then(|| serde_json::from_slice::<Answer<'_>>(answer).ok()).flatten();
        let answer = answer.ok_or("the answer is no JSON object in UTF-8 that has each member once")?;
        if let Some(refuse) = answer.refuse {
            let rule = "refuse must be an object with the text reason, as in {\"reason\": \"…\"}";
            let refuse: Refuse = object_of(refuse).ok_or(rule)?;
            return Ok(Decision::Refused(Refusal::ByApplication(shown(&refuse.reason).into())));
        }
        self.allowed(&answer, now).map(Decision::Allowed)
    }

    fn allowed(&self, answer: &Answer<'_>, now: UnixSeconds) -> Result<Allowed, String> {
        let Answer { claims, membership, data, text, .. } = *answer;
        let of_others = match self.hook {
            Hook::Connect => [("membership", membership), ("data", data), ("text", text)],
            Hook::Join => [("claims", claims), ("data", data), ("text", text)],
            Hook::Publish => [("claims", claims), ("membership", membership), ("data and text", data.and(text))],
        };
        if let Some((name, _)) = of_others.into_iter().find(|(_, value)| value.is_some()) {
            return Err(format!("an answer to {} must not have {name}", self.hook.word()));
        }
        let invalid = |name: &'static str| move |error| format!("{name}: {error}");
        Ok(if let Some(claims) = claims {
            let token = identity_of_application(claims.get(), now).map_err(invalid("claims"))?;
            Allowed::Identity(Box::new(token))
        } else if let (Some(membership), Some(room)) = (membership, &self.room) {
            let token = membership_of_application(membership.get(), room.clone(), self.user.clone(), now);
            Allowed::Membership(Box::new(token.map_err(invalid("membership"))?))
        } else if let Some(data) = data {
            Allowed::Data(self.json(data.get())?)
        } else if let Some(text) = text {
            let text: String = serde_json::from_str(text.get()).map_err(|_| "text must be a text")?;
            Allowed::Data(self.text(&text)?)
        } else {
            Allowed::AsAsked
        })
    }

    fn json(&self, json: &str) -> Result<Data, String> {
        if depth(json) > DEPTH_MAX {
            return Err(format!("data is nested more than {DEPTH_MAX} levels deep"));
        }
        let json = on_one_line(json);
        let (bytes, bytes_max) = (json.len(), self.message_bytes_max);
        if bytes > bytes_max {
            return Err(format!("data of {bytes} bytes exceeds {bytes_max}, as message-bytes says"));
        }
        self.checked("data", Data::Json(json.into()))
    }

    /// Text under the rules of what a client says, without its end.
    fn text(&self, text: &str) -> Result<Data, String> {
        match parse_message(text) {
            Ok(None) => return Err("text is empty".to_owned()),
            Err(
                error @ (CommandError::TooManyLines { .. }
                | CommandError::ControlCharacter { .. }
                | CommandError::LoneReturn { .. }),
            ) => return Err(format!("text: {error}")),
            // A text that reads like a command, well-formed or not, is none here.
            Ok(Some(_)) | Err(_) => {}
        }
        let text = text.strip_suffix('\n').unwrap_or(text);
        let text = text.strip_suffix('\r').unwrap_or(text);
        self.checked("text", Data::Text(text.into()))
    }

    fn checked(&self, what: &str, data: Data) -> Result<Data, String> {
        let checked = check_length(&self.label, &data, self.message_bytes_max);
        checked.map(|()| data).map_err(|error| format!("{what}: {error}, as message-bytes says"))
    }
}

/// The value if it is an object of this type: serde would take a list for one, too.
fn object_of<'a, T: Deserialize<'a>>(value: &'a RawValue) -> Option<T> {
    value.get().starts_with('{').then(|| serde_json::from_str(value.get()).ok()).flatten()
}

/// A reason as a client may see it: on one line, not too long, and never empty.
fn shown(reason: &str) -> String {
    let end = reason.floor_char_boundary(REASON_BYTES_MAX);
    let blank = |character: char| if unseen(character.encode_utf8(&mut [0; 4])).is_some() { ' ' } else { character };
    let text: String = reason[..end].chars().map(blank).collect();
    let text = text.trim();
    if text.is_empty() { "the application refuses it".to_owned() } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixSeconds = UnixSeconds(1_000);

    fn asked(hook: Hook) -> Asked {
        Asked {
            hook,
            user: UserId::new("alice"),
            label: Label::nick("al").unwrap(),
            room: RoomName::parse("a").ok().filter(|_| hook != Hook::Connect),
            message_bytes_max: 100,
        }
    }

    fn answer(hook: Hook, answer: &str) -> Result<Decision, String> {
        asked(hook).decision(answer.as_bytes(), NOW)
    }

    fn allowed(hook: Hook, text: &str) -> Allowed {
        match answer(hook, text) {
            Ok(Decision::Allowed(allowed)) => allowed,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn an_empty_object_allows_and_what_is_not_known_or_null_changes_nothing() {
        for hook in [Hook::Connect, Hook::Join, Hook::Publish] {
            let null = r#"{"refuse":null,"claims":null,"membership":null,"data":null,"text":null}"#;
            for text in ["{}", " {} ", r#"{"more":[1]}"#, null] {
                assert_eq!(allowed(hook, text), Allowed::AsAsked, "{text}");
            }
        }
    }

    #[test]
    fn a_reason_is_one_line_of_bounded_length() {
        let reason = |reason: &str| {
            let text = serde_json::json!({ "refuse": { "reason": reason }, "data": 1 }).to_string();
            match answer(Hook::Join, &text) {
                Ok(Decision::Refused(Refusal::ByApplication(reason))) => reason.into_string(),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(reason("not a member"), "not a member");
        assert_eq!(reason(" a\r\nERR b\u{1b}[2J\u{202e}\u{85}c "), "a  ERR b [2J  c");
        assert_eq!(reason(""), "the application refuses it");
        assert_eq!(reason(&"ä".repeat(300)), "ä".repeat(128));
        assert_eq!(reason(&format!("x{}", "ä".repeat(300))).len(), 255);
    }

    #[test]
    fn claims_and_a_membership_are_checked_like_those_of_tokens() {
        let Allowed::Identity(token) = allowed(Hook::Connect, r#"{"claims":{"sub":"u","name":"n","exp":1001}}"#) else {
            panic!()
        };
        assert_eq!((token.user.as_str(), token.expires_at), ("u", Some(UnixSeconds(1_001))));
        let text = r#"{"membership":{"info":{"a": 1},"data":[],"expire_at":1001}}"#;
        let Allowed::Membership(token) = allowed(Hook::Join, text) else { panic!() };
        assert_eq!(
            (token.user.as_str(), token.room.as_str(), token.info.as_deref()),
            ("alice", "a", Some(r#"{"a":1}"#))
        );
        for (hook, wrong, why) in [
            (Hook::Connect, r#"{"claims":{"sub":7}}"#, "claims: the claim sub must be a string"),
            (Hook::Connect, r#"{"claims":{"sub":"u","exp":999}}"#, "claims: expired 1 s ago"),
            (Hook::Connect, r#"{"claims":"u"}"#, "claims: the claims are no JSON object"),
            (Hook::Connect, r#"{"claims":{"sub":"u","channel":"a"}}"#, "claims: it has the claim channel"),
            (Hook::Join, r#"{"membership":{"channel":"b"}}"#, "membership: it has channel, sub or client"),
            (Hook::Join, r#"{"membership":{"sub":"bob"}}"#, "membership: it has channel, sub or client"),
            (Hook::Join, r#"{"membership":{"info":{},"b64info":7}}"#, "membership: the claim b64info"),
            (Hook::Join, r#"{"claims":{}}"#, "an answer to join must not have claims"),
            (Hook::Connect, r#"{"data":1}"#, "an answer to connect must not have data"),
            (Hook::Publish, r#"{"membership":{}}"#, "an answer to publish must not have membership"),
            (Hook::Publish, r#"{"data":1,"text":"a"}"#, "an answer to publish must not have data and text"),
        ] {
            let error = answer(hook, wrong).unwrap_err();
            assert!(error.starts_with(why), "{wrong}: {error}");
        }
    }

    #[test]
    fn changed_data_obeys_the_limits_of_messages() {
        let data = |text: &str| allowed(Hook::Publish, text);
        assert_eq!(data(r#"{"data": {"a": [1,  2]} }"#), Allowed::Data(Data::Json(r#"{"a":[1,2]}"#.into())));
        assert_eq!(data(r#"{"text":"JOIN a b\n\tc"}"#), Allowed::Data(Data::Text("JOIN a b\n\tc".into())));
        assert_eq!(data(r#"{"text":"a\r\n"}"#), Allowed::Data(Data::Text("a".into())));
        assert_eq!(data(r#"{"text":"NICK"}"#), Allowed::Data(Data::Text("NICK".into())));
        let deep = |levels: usize| format!(r#"{{"data":{}{}}}"#, "[".repeat(levels), "]".repeat(levels));
        let mut most = asked(Hook::Publish);
        most.message_bytes_max = 1_000;
        assert!(most.decision(deep(DEPTH_MAX).as_bytes(), NOW).is_ok());
        let too_deep = format!("data is nested more than {DEPTH_MAX} levels deep");
        assert_eq!(most.decision(deep(100_000).as_bytes(), NOW).unwrap_err(), too_deep);
        let long = "x".repeat(99);
        for (wrong, why) in [
            (format!(r#"{{"data":"{long}"}}"#), "data of 101 bytes exceeds 100"),
            (format!(r#"{{"text":"{long}"}}"#), "text: message of 104 bytes with its label exceeds 100"),
            (
                format!(r#"{{"data":"{}"}}"#, "\u{7f}".repeat(20)),
                "data: message of 127 bytes with its label exceeds 100",
            ),
            (r#"{"text":7}"#.to_owned(), "text must be a text"),
            (r#"{"text":""}"#.to_owned(), "text is empty"),
            (r#"{"text":"\n"}"#.to_owned(), "text is empty"),
            (r#"{"text":"a\u001bb"}"#.to_owned(), "text: U+001B"),
            (r#"{"text":"a\rb"}"#.to_owned(), "text: U+000D"),
            (format!(r#"{{"text":"a{}b"}}"#, "\\n".repeat(64)), "text: message of 65 lines"),
        ] {
            let error = answer(Hook::Publish, &wrong).unwrap_err();
            assert!(error.starts_with(why), "{wrong}: {error}");
        }
    }

    #[test]
    fn what_is_no_object_or_has_wrong_types_is_no_answer() {
        let no_object = "the answer is no JSON object in UTF-8 that has each member once";
        for wrong in ["", "[]", "null", "7", "{", "{}{}", r#"{"data":1,"data":2}"#, "[null,null,null,null,null]"] {
            assert_eq!(answer(Hook::Publish, wrong).unwrap_err(), no_object, "{wrong}");
        }
        assert_eq!(asked(Hook::Publish).decision(b"{\"text\":\"\xff\"}", NOW).unwrap_err(), no_object);
        for wrong in [r#"{"refuse":"no"}"#, r#"{"refuse":{}}"#, r#"{"refuse":{"reason":7}}"#, r#"{"refuse":["no"]}"#] {
            assert!(answer(Hook::Join, wrong).unwrap_err().starts_with("refuse must be an object"), "{wrong}");
        }
    }
}
