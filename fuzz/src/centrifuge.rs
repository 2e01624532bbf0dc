//! Commands of the Centrifuge protocol. A command that is read from one encoding is read alike from the other, and from
//! its own plainest form.

use harness::protobuf_command;
use roomcast::protocol::centrifuge::command::{Command, Connect, History, Parsed, Resume, Subscribe};
use roomcast::protocol::centrifuge::{json, protobuf};
use roomcast::protocol::command::TokenText;
use roomcast::protocol::event::RequestId;
use roomcast::protocol::json::{DEPTH_MAX, depth};
use serde_json::value::RawValue;
use serde_json::{Value, json};

/// The longest error that a client is told, in bytes. Names of fields and rules, and never what the client has sent.
const ERROR_BYTES_MAX: usize = 1024;

/// Takes the first command of a frame.
type NextCommand = for<'f> fn(&'f [u8]) -> Option<(Parsed<'f>, usize)>;

/// Any bytes as a frame of JSON.
pub fn centrifuge_json(input: &[u8]) {
    check_frame(input, json::next_command);
    if str::from_utf8(input).is_ok() {
        check_syntax(input);
    }
}

/// Any bytes as a frame of Protobuf.
pub fn centrifuge_protobuf(input: &[u8]) {
    check_frame(input, protobuf::next_command);
}

fn check_frame(mut frame: &[u8], next_command: NextCommand) {
    while let Some((parsed, consumed)) = next_command(frame) {
        assert!((1..=frame.len()).contains(&consumed), "each step goes on, and not beyond the frame");
        match parsed {
            Parsed::Command(id, command) => check_command(id, command),
            Parsed::Refused(_, error) => assert!(error.to_string().len() <= ERROR_BYTES_MAX, "{error}"),
            Parsed::Malformed => return,
            Parsed::Pong | Parsed::Send => {}
        }
        frame = &frame[consumed..];
    }
}

/// What is taken for commands is text of JSON objects.
fn check_syntax(mut frame: &[u8]) {
    while let Some((parsed, consumed)) = json::next_command(frame) {
        if parsed == Parsed::Malformed {
            return;
        }
        let object: Result<&RawValue, _> = serde_json::from_slice(&frame[..consumed]);
        assert!(object.expect("it is JSON").get().starts_with('{'));
        frame = &frame[consumed..];
    }
}

fn check_command(id: RequestId, command: Command<'_>) {
    if let Command::Publish { data, .. } = &command {
        assert!(serde_json::from_str::<&RawValue>(data).is_ok() && depth(data) <= DEPTH_MAX);
        assert!(!data.contains(['\n', '\r']), "it stands on one line");
    }
    let text = text_of(id, &command);
    let parsed = Parsed::Command(id, command);
    let from_json = json::next_command(text.as_bytes());
    assert_eq!(from_json.as_ref().map(|(command, length)| (command, *length)), Some((&parsed, text.len())));
    let binary = protobuf_command(&text);
    assert_eq!(protobuf::next_command(&binary), Some((parsed, binary.len())));
}

/// The command in JSON.
fn text_of(id: RequestId, command: &Command<'_>) -> String {
    let request = match command {
        Command::Connect(Connect { token, subs }) => {
            let subs = subs.iter().map(|(channel, resume)| (channel.to_string(), resumed(resume)));
            json!({"token": secret(token), "subs": Value::Object(subs.collect())})
        }
        Command::Subscribe(subscribe) => subscribed(subscribe),
        Command::Unsubscribe(channel) | Command::Presence(channel) | Command::PresenceStats(channel) => {
            json!({ "channel": channel })
        }
        // The data stay as they are written: a number keeps its digits.
        Command::Publish { channel, data } => {
            let channel = json!(channel);
            return format!(r#"{{"id":{},"publish":{{"channel":{channel},"data":{data}}}}}"#, id.get());
        }
        Command::History(History { channel, limit, since, reverse }) => {
            let mut request = json!({"channel": channel, "limit": limit, "reverse": reverse});
            if let Some((offset, epoch)) = since {
                request["since"] = json!({"offset": offset, "epoch": epoch});
            }
            request
        }
        Command::Refresh(TokenText(token)) => json!({ "token": token }),
        Command::SubRefresh(channel, TokenText(token)) => json!({"channel": channel, "token": token}),
        Command::Ping => json!({}),
        Command::Nick(nick) => json!({"method": "nick", "data": {"nick": nick}}),
        Command::Rpc => json!({"method": "other"}),
    };
    json!({"id": id.get(), (method(command)): request}).to_string()
}

fn method(command: &Command<'_>) -> &'static str {
    match command {
        Command::Connect(_) => "connect",
        Command::Subscribe(_) => "subscribe",
        Command::Unsubscribe(_) => "unsubscribe",
        Command::Publish { .. } => "publish",
        Command::Presence(_) => "presence",
        Command::PresenceStats(_) => "presence_stats",
        Command::History(_) => "history",
        Command::Refresh(_) => "refresh",
        Command::SubRefresh(..) => "sub_refresh",
        Command::Ping => "ping",
        Command::Nick(_) | Command::Rpc => "rpc",
    }
}

fn subscribed(subscribe: &Subscribe<'_>) -> Value {
    let mut request = resumed(&subscribe.resume);
    request["channel"] = json!(subscribe.channel);
    request["token"] = json!(secret(&subscribe.token));
    request["type"] = json!(i32::from(subscribe.is_of_other_type));
    request["flag"] = json!(if subscribe.must_recover { 2 } else { 0 });
    if subscribe.has_filter {
        request["tf"] = json!({});
    }
    request
}

fn resumed(Resume { recover, epoch, offset }: &Resume<'_>) -> Value {
    json!({"recover": recover, "epoch": epoch, "offset": offset})
}

/// A token, or the empty text that means none.
fn secret<'t>(token: &'t Option<TokenText<'_>>) -> &'t str {
    token.as_ref().map_or("", |TokenText(token)| token)
}
