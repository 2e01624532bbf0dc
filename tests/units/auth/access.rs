//! The files that the settings name: what is read from them, and what an error says.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use roomcast::access::Access;
use roomcast::protocol::names::RoomName;
use serde_json::json;
use tempfile::TempDir;

use super::keys::Pair;
use super::{NOW, SECRET, access_rules, ada, signed_with};

fn load(folder: &TempDir, settings: &str) -> Result<Access, String> {
    let settings = settings.replace("FOLDER", folder.path().to_str().expect("a path in UTF-8"));
    Access::load(&access_rules(&settings)).map_err(|error| error.to_string())
}

fn folder_with(files: &[(&str, &[u8])]) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, bytes) in files {
        write(&folder.path().join(name), bytes);
    }
    folder
}

fn write(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).expect("a file");
    fs::set_permissions(path, Permissions::from_mode(0o600)).expect("a file");
}

#[test]
fn keys_of_all_files_verify_under_the_names_of_the_files() {
    let pair = Pair::p256();
    let set = json!({"keys": [{"kty": "oct", "kid": "of-set", "k": "eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHg"}]});
    let folder = folder_with(&[
        ("old.key", SECRET),
        ("new.key", &[b'n'; 40]),
        ("web.pem", pair.public.as_bytes()),
        ("set.json", set.to_string().as_bytes()),
    ]);
    let access = load(
        &folder,
        "token-secret-file = ['FOLDER/old.key', 'FOLDER/new.key']\ntoken-public-key-file = ['FOLDER/web.pem']\n\
         token-jwks-file = ['FOLDER/set.json']\nanonymous = 'deny'\n",
    )
    .unwrap();
    let keys = "old (HS256, HS384, HS512), new (HS256, HS384, HS512), web (ES256), of-set (HS256, HS384, HS512)";
    assert_eq!((access.tokens.describe().as_str(), access.warnings.len()), (keys, 0));
    let header = Header { kid: Some("web".into()), ..Header::new(Algorithm::ES256) };
    let token = signed_with(&header, &ada(), &pair.signer(Algorithm::ES256));
    assert!(access.tokens.verify(&token, NOW).is_ok());
    let header = Header { kid: Some("old".into()), ..Header::new(Algorithm::HS512) };
    let token = signed_with(&header, &ada(), &EncodingKey::from_secret(SECRET));
    assert!(access.tokens.verify(&token, NOW).is_ok());
}

#[test]
fn without_settings_everything_is_open_and_no_file_is_read() {
    let access = load(&tempfile::tempdir().unwrap(), "").unwrap();
    assert!(access.rooms.is_open() && access.tokens.is_empty() && access.api_keys.is_empty());
    assert!(access.rooms.rule_of(&RoomName::parse("a").unwrap()).is_none());
}

#[test]
fn an_error_names_the_setting_the_file_and_what_would_be_right() {
    let long = vec![b'x'; 1024 * 1024 + 1];
    let folder =
        folder_with(&[("short.key", b"sesame"), ("long.key", &long), ("not-utf8", b"\xff"), ("keys", b"a = {}")]);
    for (settings, parts) in [
        ("token-secret-file = ['FOLDER/none.key']", ["token-secret-file /", "none.key: cannot be read: No such file"]),
        ("token-secret-file = ['FOLDER']", ["token-secret-file /", ": is no file"]),
        ("token-secret-file = ['FOLDER/short.key']", ["short.key: a secret of 6 bytes: at least 32", "openssl rand"]),
        ("token-secret-file = ['FOLDER/long.key']", ["long.key: is longer than 1048576 bytes", ""]),
        ("token-public-key-file = ['FOLDER/short.key']", ["token-public-key-file /", "one public key"]),
        ("token-public-key-file = ['FOLDER/not-utf8']", ["token-public-key-file /", "is no text"]),
        ("token-jwks-file = ['FOLDER/short.key']", ["token-jwks-file /", "line 1 column 1: a key set is"]),
        ("api-keys-file = 'FOLDER/not-utf8'", ["api-keys-file /", "is not UTF-8"]),
        ("api-keys-file = 'FOLDER/keys'", ["api-keys-file /", "keys: line 1: a name, =,"]),
        ("anonymous = 'deny'", ["anonymous deny: needs token-secret-file, ", "or nobody can connect"]),
        ("[[rule]]\nrooms = 'a b'\njoin = 'anyone'", ["rule \"a b\": no room matches \"a b\"", "no spaces"]),
    ] {
        let error = load(&folder, settings).err().expect(settings);
        for part in parts {
            assert!(error.contains(part), "{error}");
        }
        assert!(!error.contains("sesame"), "{error}");
    }
}

#[test]
fn a_secret_that_every_user_can_read_is_warned_about() {
    let folder = folder_with(&[("main.key", SECRET)]);
    fs::set_permissions(folder.path().join("main.key"), Permissions::from_mode(0o644)).unwrap();
    let access = load(&folder, "token-secret-file = ['FOLDER/main.key']").unwrap();
    assert!(access.warnings[0].contains("chmod o-r"), "{:?}", access.warnings);
    for (key, warnings) in [
        (json!({"kty": "oct", "kid": "a", "k": "eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHg"}), 1),
        (Pair::p256().jwk("a"), 0),
    ] {
        let path = folder.path().join("set.json");
        write(&path, json!({"keys": [key]}).to_string().as_bytes());
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        let access = load(&folder, "token-jwks-file = ['FOLDER/set.json']").unwrap();
        assert_eq!(access.warnings.len(), warnings);
    }
}
