//! The rules of hooks: which application is asked, and before what.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use hyper::Uri;
use ipnet::IpNet;
use serde::Serialize;

use super::validate::within;
use super::{ConfigError, Span, hosts};

const TIMEOUT_MIN: Span = Span(Duration::from_millis(1));
const TIMEOUT_MAX: Span = Span(Duration::from_secs(60));
const CONCURRENCY_MAX: usize = 1 << 16;

/// The settings of hooks, not validated yet.
#[derive(Clone, Debug, PartialEq, Args, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct HookSettings {
    /// URL at which the application is asked before clients connect, join or publish.
    ///
    /// As in `https://app.example/hook`. docs/hooks.md describes questions and answers. A change of any of these settings needs
    /// a restart.
    #[arg(long, help_heading = "Hooks", value_name = "URL")]
    pub hook_url: Option<String>,
    /// File of the secret that signs the questions, of at least 32 bytes.
    ///
    /// As `openssl rand -base64 32` prints it. The secret is the text of the file without the line end, and is not decoded.
    #[arg(long, help_heading = "Hooks", value_name = "PATH")]
    pub hook_secret_file: Option<PathBuf>,
    /// Whether the application is asked before a client connects: off, deny or allow.
    #[arg(long, help_heading = "Hooks", value_enum, value_name = "POLICY", default_value = "off")]
    pub hook_connect: HookPolicy,
    /// Whether the application is asked before a client joins a room: off, deny or allow.
    #[arg(long, help_heading = "Hooks", value_enum, value_name = "POLICY", default_value = "off")]
    pub hook_join: HookPolicy,
    /// Whether the application is asked before a client publishes: off, deny or allow.
    #[arg(long, help_heading = "Hooks", value_enum, value_name = "POLICY", default_value = "off")]
    pub hook_publish: HookPolicy,
    /// Longest time from a question to its answer, at most 1m.
    #[arg(long, help_heading = "Hooks", value_name = "DURATION", default_value = "2s")]
    pub hook_timeout: Span,
    /// Questions at once; further ones wait in order.
    #[arg(long, help_heading = "Hooks", value_name = "COUNT", default_value = "64")]
    pub hook_concurrency: usize,
    /// CIDRs of networks that are not public and in which the application may be, as in 127.0.0.1,10.1.0.0/16.
    #[arg(long, help_heading = "Hooks", value_name = "CIDR", value_delimiter = ',')]
    pub hook_networks: Vec<String>,
}

/// The application that is asked before clients connect, join or publish.
#[derive(Clone, Debug)]
pub struct HookRules {
    /// Where it is asked.
    pub url: Uri,
    /// File of the secret that signs the questions.
    pub secret_file: PathBuf,
    /// Before a client connects.
    pub connect: HookPolicy,
    /// Before a client joins a room.
    pub join: HookPolicy,
    /// Before a client publishes.
    pub publish: HookPolicy,
    /// Longest time from a question to its answer.
    pub timeout: Duration,
    /// Questions at once, over all workers.
    pub concurrency: usize,
    /// Networks in which the application may be, besides the public ones.
    pub networks: Vec<IpNet>,
}

/// Whether the application is asked, and what holds when it gives no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum HookPolicy {
    /// It is not asked.
    Off,
    /// It is asked, and what it does not answer is refused.
    Deny,
    /// It is asked, and what it does not answer is allowed.
    Allow,
}

pub(super) fn hooks(settings: &HookSettings) -> Result<Option<HookRules>, ConfigError> {
    let on = [
        ("hook-connect", settings.hook_connect),
        ("hook-join", settings.hook_join),
        ("hook-publish", settings.hook_publish),
    ];
    let first_on = on.into_iter().find(|(_, policy)| *policy != HookPolicy::Off);
    let (url, secret_file) = match (first_on, &settings.hook_url, &settings.hook_secret_file) {
        (None, None, None) => return Ok(None),
        (Some(_), Some(url), Some(secret_file)) => (url, secret_file),
        (Some((name, policy)), None, _) => {
            let value = policy.to_possible_value().expect("no value is hidden");
            let rule = "needs {hook-url}, where the application is asked, as in https://app.example/hook";
            return Err(ConfigError::new(name, value.get_name(), rule));
        }
        (_, Some(url), _) => {
            url_of(url)?;
            let rule = "needs {hook-secret-file}, and {hook-connect}, {hook-join} or {hook-publish} as deny or allow";
            return Err(ConfigError::new("hook-url", url, rule));
        }
        (None, None, Some(file)) => {
            return Err(ConfigError::new("hook-secret-file", file.display(), "needs {hook-url}"));
        }
    };
    Ok(Some(HookRules {
        url: url_of(url)?,
        secret_file: secret_file.clone(),
        connect: settings.hook_connect,
        join: settings.hook_join,
        publish: settings.hook_publish,
        timeout: within("hook-timeout", settings.hook_timeout, TIMEOUT_MIN..=TIMEOUT_MAX)?.0,
        concurrency: within("hook-concurrency", settings.hook_concurrency, 1..=CONCURRENCY_MAX)?,
        networks: hosts::networks("hook-networks", &settings.hook_networks)?,
    }))
}

/// A URL of HTTP. One with a user or a password is not repeated.
fn url_of(text: &str) -> Result<Uri, ConfigError> {
    const RULE: &str = "a URL without a user and a password, as in https://app.example/hook";
    let without_credentials = || if text.contains('@') { "…" } else { text };
    let wrong = || ConfigError::new("hook-url", without_credentials(), RULE);
    let url: Uri = text.parse().map_err(|_| wrong())?;
    let has_scheme = matches!(url.scheme_str(), Some("http" | "https"));
    let is_plain = url.authority().is_some_and(|authority| !authority.as_str().contains('@'));
    if has_scheme && is_plain && !url.host().unwrap_or_default().is_empty() { Ok(url) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Settings};

    fn settings() -> Settings {
        let mut settings = Settings::default();
        settings.hooks.hook_url = Some("https://app.example/hook".into());
        settings.hooks.hook_secret_file = Some("hook.secret".into());
        settings.hooks.hook_join = HookPolicy::Deny;
        settings
    }

    fn refused(change: impl FnOnce(&mut HookSettings)) -> String {
        let mut settings = settings();
        change(&mut settings.hooks);
        Config::try_from(settings).unwrap_err().to_string()
    }

    #[test]
    fn hooks_are_off_by_default_and_on_with_all_that_they_need() {
        assert!(Config::try_from(Settings::default()).unwrap().hooks.is_none());
        let rules = Config::try_from(settings()).unwrap().hooks.unwrap();
        assert_eq!(
            (rules.url.host(), rules.timeout, rules.concurrency),
            (Some("app.example"), Duration::from_secs(2), 64)
        );
    }

    #[test]
    fn a_hook_without_its_url_or_secret_is_refused_and_the_other_way_round() {
        let url = "needs hook-url, where the application is asked, as in https://app.example/hook";
        assert_eq!(refused(|settings| settings.hook_url = None), format!("hook-join deny: {url}"));
        let rest = "needs hook-secret-file, and hook-connect, hook-join or hook-publish as deny or allow";
        let with_rest = format!("hook-url https://app.example/hook: {rest}");
        assert_eq!(refused(|settings| settings.hook_secret_file = None), with_rest);
        assert_eq!(refused(|settings| settings.hook_join = HookPolicy::Off), with_rest);
        let secret_alone = refused(|settings| (settings.hook_url, settings.hook_join) = (None, HookPolicy::Off));
        assert_eq!(secret_alone, "hook-secret-file hook.secret: needs hook-url");
    }

    #[test]
    fn a_url_is_of_http_and_holds_no_credentials_which_the_error_does_not_repeat() {
        let rule = "a URL without a user and a password, as in https://app.example/hook";
        for url in ["app.example", "/hook", "ftp://app.example/", "https://", "https:///hook", "", "http://a b/"] {
            assert_eq!(refused(|settings| settings.hook_url = Some(url.into())), format!("hook-url {url}: {rule}"));
        }
        let with_password = refused(|settings| settings.hook_url = Some("https://me:word@app.example/".into()));
        assert_eq!(with_password, format!("hook-url …: {rule}"));
    }
}
