//! `roomcast health`: whether a server that runs is well, or ready for clients.

use std::time::Duration;

use anyhow::ensure;

use super::http_client::{Patience, Target};
use crate::config::Config;

/// How long all of it may take.
const WITHIN: Duration = Duration::from_secs(5);

/// The answer of the server of these settings, or of that at the URL, which is well.
///
/// # Errors
/// The server cannot be asked, or it answers with a status that is not 200.
pub fn health(config: &Config, url: Option<&str>, is_ready: bool) -> anyhow::Result<String> {
    let target = url.map_or_else(|| Ok(Target::of_settings(config)), Target::at)?;
    let path = if is_ready { "/ready" } else { "/health" };
    let (status, answer) = target.connect(Patience::in_all(WITHIN))?.get(path)?;
    let answer = answer.trim_end();
    ensure!(
        status == 200,
        "{}{path} answers with status {status}: {}",
        target.url,
        answer.lines().next().unwrap_or_default()
    );
    Ok(format!("{answer}\n"))
}
