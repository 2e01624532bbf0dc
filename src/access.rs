//! Who may do what, read from the files that the settings name: at the start, at each reload, and by the commands that
//! check settings. Nothing of a file's text reaches an error.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};

use crate::auth::api_keys::ApiKeys;
use crate::auth::pattern::Pattern;
use crate::auth::rules::RoomRules;
use crate::auth::tokens::{TokenChecks, TokenVerifier};
use crate::config::{AccessRules, Anonymous, ConfigError, RoomRule, TokenRules, Who, exposure, read_file};

/// The type of a secret in a key set.
const SECRET_IN_SET: &[u8] = b"\"oct\"";

/// Who may do what: the rules, and the keys by which clients and applications prove who they are.
pub struct Access {
    /// What clients may do in rooms.
    pub rooms: Arc<RoomRules>,
    /// Verifies the tokens of clients.
    pub tokens: TokenVerifier,
    /// Verifies the keys of applications.
    pub api_keys: ApiKeys,
    /// Whether there are users, with whom nobody else is to be confused.
    pub has_users: bool,
    /// Clients without a token.
    pub anonymous: Anonymous,
    /// Time for a client whose token has expired to present another.
    pub token_grace: Duration,
    /// Whether a token may stand in the query of a handshake.
    pub token_in_query: bool,
    /// The files that were read, each with the SHA-256 of its text, so that a reload can say which have changed.
    pub files: BTreeMap<PathBuf, Vec<u8>>,
    /// Lines to log about what may be a mistake.
    pub warnings: Vec<String>,
}

impl Access {
    /// Reads all files of the settings.
    ///
    /// # Errors
    /// A file cannot be read or holds something else, or nobody could ever connect. The text names the setting, the file
    /// and what would be right.
    pub fn load(rules: &AccessRules) -> Result<Self, ConfigError> {
        let AccessRules { rooms, anonymous, tokens, api_keys_file, .. } = rules;
        for (number, rule) in (1..).zip(rooms) {
            let wrong = |what| ConfigError::verbatim("rule", format_args!("{:?}", rule.name), what).of_rule(number);
            Pattern::parse(&rule.rooms).map_err(|error| wrong(format!("no room matches {error}")))?;
        }
        if *anonymous == Anonymous::Deny && !rules.have_users() {
            let what = "needs {token-secret-file}, {token-public-key-file}, {token-jwks-file} or {hook-connect}, or nobody \
                        can connect";
            return Err(ConfigError::new("anonymous", "deny", what));
        }
        let mut files = Files::default();
        files.warnings.extend(rooms.iter().filter(|_| !rules.have_users()).filter_map(unreachable));
        let rooms = RoomRules::from(rules);
        files.warnings.extend(rooms.shadowed());
        let tokens = verifier(tokens, &mut files)?;
        let api_keys = api_keys_file.as_deref().map(|path| api_keys(path, &mut files)).transpose()?;
        let Files { digests: files, warnings } = files;
        Ok(Self {
            rooms: Arc::new(rooms),
            tokens,
            api_keys: api_keys.unwrap_or_default(),
            has_users: rules.have_users(),
            anonymous: *anonymous,
            token_grace: rules.token_grace,
            token_in_query: rules.token_in_query,
            files,
            warnings,
        })
    }

    /// The files that do not hold what `before` has read from them, by their names.
    pub fn files_changed_since(&self, before: &Self) -> Vec<String> {
        let is_changed = |(path, digest): &(&PathBuf, &Vec<u8>)| before.files.get(*path) != Some(*digest);
        self.files.iter().filter(is_changed).map(|(path, _)| path.display().to_string()).collect()
    }
}

/// What came of reading the files.
#[derive(Default)]
struct Files {
    digests: BTreeMap<PathBuf, Vec<u8>>,
    warnings: Vec<String>,
}

impl Files {
    /// Reads a file of a setting.
    fn read(&mut self, setting: &'static str, path: &Path) -> Result<(Vec<u8>, Metadata), ConfigError> {
        let (bytes, metadata) = read_file(setting, path)?;
        self.digests.insert(path.to_owned(), digest(&SHA256, &bytes).as_ref().to_vec());
        Ok((bytes, metadata))
    }
}

/// A warning of a rule by which nobody can join, since no token can be valid.
fn unreachable(rule: &RoomRule) -> Option<String> {
    matches!(rule.join, Who::User | Who::Token).then(|| {
        let name = &rule.name;
        format!("rule {name:?}: nobody can join its rooms without a key for tokens, as in token-secret-file")
    })
}

fn verifier(rules: &TokenRules, files: &mut Files) -> Result<TokenVerifier, ConfigError> {
    let TokenRules { secret_files, public_key_files, jwks_files, issuer, audience, leeway } = rules;
    let checks = TokenChecks { issuer: issuer.clone(), audience: audience.clone(), leeway: *leeway };
    let mut tokens = TokenVerifier::new(checks);
    for path in secret_files {
        let setting = "token-secret-file";
        let (secret, metadata) = files.read(setting, path)?;
        files.warnings.extend(exposure(setting, path, &metadata));
        tokens.add_secret(&kid(setting, path)?, &secret).map_err(|error| wrong(setting, path, error))?;
    }
    for path in public_key_files {
        let setting = "token-public-key-file";
        let (pem, _) = files.read(setting, path)?;
        tokens.add_public_key(&kid(setting, path)?, &pem).map_err(|error| wrong(setting, path, error))?;
    }
    for path in jwks_files {
        let setting = "token-jwks-file";
        let (json, metadata) = files.read(setting, path)?;
        // Only a set with secrets has to be kept from others.
        if json.windows(SECRET_IN_SET.len()).any(|text| text == SECRET_IN_SET) {
            files.warnings.extend(exposure(setting, path, &metadata));
        }
        tokens.add_key_set(&json).map_err(|error| wrong(setting, path, error))?;
    }
    Ok(tokens)
}

fn api_keys(path: &Path, files: &mut Files) -> Result<ApiKeys, ConfigError> {
    let setting = "api-keys-file";
    let (text, _) = files.read(setting, path)?;
    let text = String::from_utf8(text).map_err(|_| wrong(setting, path, "is not UTF-8"))?;
    ApiKeys::parse(&text).map_err(|error| wrong(setting, path, error))
}

/// The name of a key: that of its file, without the extension.
pub fn kid(setting: &'static str, path: &Path) -> Result<String, ConfigError> {
    let stem = path.file_stem().and_then(|stem| stem.to_str());
    stem.map(str::to_owned).ok_or_else(|| wrong(setting, path, "its name is the kid of the key, so it must be UTF-8"))
}

fn wrong(setting: &'static str, path: &Path, what: impl Display) -> ConfigError {
    ConfigError::verbatim(setting, path.display(), what)
}
