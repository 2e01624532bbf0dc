//! Tokens, rules and servers that know them, for the tests of who may do what.

use std::fs;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use roomcast::config::Settings;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::server::{Shape, TestServer};

/// The secret of the key `main`.
pub const SECRET: &[u8] = b"a secret of the tests that is long enough";

/// A server that verifies tokens with [`SECRET`], and the folder of its secret.
pub struct Guarded {
    pub server: TestServer,
    pub folder: TempDir,
}

impl Guarded {
    /// Starts a server with these further settings.
    pub fn start(shape: Shape, change: impl FnOnce(&mut Settings)) -> Self {
        let (folder, secret) = secret_file();
        let server = TestServer::start(shape, |settings| {
            settings.token_secret_file = vec![secret.to_str().expect("a path in UTF-8").into()];
            change(settings);
        });
        Self { server, folder }
    }
}

/// A folder with the file of [`SECRET`].
pub fn secret_file() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("main.secret");
    fs::write(&path, SECRET).expect("a file");
    (folder, path)
}

/// A token of these claims, which does not expire unless they say so.
pub fn token(claims: &Value) -> String {
    signed(SECRET, Algorithm::HS256, claims)
}

/// A token of a user that does not expire.
pub fn token_of(user: &str) -> String {
    token(&json!({ "sub": user }))
}

/// A token that is signed with this secret.
pub fn signed(secret: &[u8], algorithm: Algorithm, claims: &Value) -> String {
    encode(&Header::new(algorithm), claims, &EncodingKey::from_secret(secret)).expect("a token")
}

/// The time that is that many seconds from now, as tokens have it.
pub fn seconds_from_now(seconds: i64) -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time after 1970");
    i64::try_from(now.as_secs()).expect("a time") + seconds
}
