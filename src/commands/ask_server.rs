//! `roomcast publish` and `roomcast rooms`: small clients of the server API of a server that runs.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::time::Duration;

use anyhow::{Context, anyhow, bail, ensure};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use serde_json::value::RawValue;

use super::http_client::{Patience, Target};
use crate::auth::api_keys::KEY_PREFIX;
use crate::config::{API_KEY_VARIABLE, Config, ServerToAsk};
use crate::protocol::position::{Epoch, Offset, Position};

/// How long the server may take to accept the connection, and for each part of its answer.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// What the server answers to a call.
#[derive(Deserialize)]
struct Answer<T> {
    result: Option<T>,
    error: Option<Refusal>,
}

#[derive(Deserialize)]
struct Refusal {
    message: String,
}

#[derive(Deserialize)]
struct Published {
    offset: Option<u64>,
    epoch: Option<String>,
}

#[derive(Deserialize)]
struct Rooms {
    channels: BTreeMap<String, Room>,
}

#[derive(Deserialize)]
struct Room {
    num_clients: usize,
}

/// Publishes to a room, and returns the position of the publication, if the room retains it.
///
/// # Errors
/// The text is not the JSON that it should be, the server cannot be asked, or it refuses.
pub fn publish(config: &Config, server: &ServerToAsk, room: &str, text: &str, is_json: bool) -> anyhow::Result<String> {
    let data = match is_json {
        true => serde_json::from_str::<&RawValue>(text).context("--json: the text is not JSON")?.get().to_owned(),
        false => json!({ "text": text }).to_string(),
    };
    let body = format!("{{\"channel\":{},\"data\":{data}}}", json!(room));
    let Published { offset, epoch } = ask(config, server, "publish", &body)?;
    let epoch = epoch.as_deref().and_then(Epoch::parse);
    Ok(match offset.zip(epoch) {
        Some((offset, epoch)) => format!("{}\n", Position { epoch, offset: Offset(offset) }),
        None => String::new(),
    })
}

/// The rooms of the server and the number of their members, one room on each line.
///
/// # Errors
/// The server cannot be asked, or it refuses.
pub fn rooms(config: &Config, server: &ServerToAsk, pattern: Option<&str>) -> anyhow::Result<String> {
    let Rooms { channels } = ask(config, server, "channels", &json!({ "pattern": pattern }).to_string())?;
    Ok(channels.into_iter().map(|(name, Room { num_clients })| format!("{name} {num_clients}\n")).collect())
}

/// The result of a call.
fn ask<T: DeserializeOwned>(
    config: &Config,
    ServerToAsk { url, key_file }: &ServerToAsk,
    method: &str,
    body: &str,
) -> anyhow::Result<T> {
    let (text, source) = match key_file {
        Some(path) => {
            let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
            (text, path.display().to_string())
        }
        None => {
            let lacks_key = |_| anyhow!("no API key: --key-file PATH, or {API_KEY_VARIABLE}");
            (env::var(API_KEY_VARIABLE).map_err(lacks_key)?, API_KEY_VARIABLE.to_owned())
        }
    };
    let key = key_in(&text).context(source)?;
    let target = url.as_deref().map_or_else(|| Ok(Target::of_settings(config)), Target::at)?;
    let (status, answer) =
        target.connect(Patience::ForEachPart(SILENCE_MAX))?.post(&format!("/api/{method}"), key, body)?;
    let url = &target.url;
    match status {
        200 => {}
        401 => bail!("{url} knows no such API key: see api-keys-file of the server"),
        _ => bail!("{url} answers with status {status}: {}", answer.lines().next().unwrap_or_default()),
    }
    let answer: Answer<T> = serde_json::from_str(&answer).with_context(|| format!("{url} is no Roomcast server"))?;
    match answer {
        Answer { error: Some(Refusal { message }), .. } => bail!("{message}"),
        Answer { result, .. } => result.with_context(|| format!("{url} is no Roomcast server")),
    }
}

/// The API key in a text: its only word, or the only one that looks like a key in what `roomcast gen-key` has printed.
fn key_in(text: &str) -> anyhow::Result<&str> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let keys: Vec<&str> = words.iter().copied().filter(|word| word.starts_with(KEY_PREFIX)).collect();
    let (([key], _) | (_, [key])) = (&words[..], &keys[..]) else {
        bail!("{} API keys instead of one: the key is the second line that `roomcast gen-key` prints", keys.len());
    };
    ensure!(key.bytes().all(|byte| byte.is_ascii_graphic()), "the API key has characters that no key has");
    Ok(key)
}
