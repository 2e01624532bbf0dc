//! The keys that verify tokens. Each is bound to the algorithms of its type, so that a token cannot choose another use
//! of it. Nothing here shows a key.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256,
    RsaPublicKeyComponents,
};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;

use super::token::KeyError;
use crate::protocol::names::{shortened, unseen};

/// The shortest secret, in bytes: as long as the hash of HS256 (RFC 7518 §3.2).
const SECRET_BYTES_MIN: usize = 32;

/// The lengths of an RSA modulus, in bytes: 2048 to 8192 bits.
const MODULUS_BYTES: std::ops::RangeInclusive<usize> = 256..=1024;

const HMAC: &[Algorithm] = &[Algorithm::HS256, Algorithm::HS384, Algorithm::HS512];
const RSA: &[Algorithm] =
    &[Algorithm::RS256, Algorithm::RS384, Algorithm::RS512, Algorithm::PS256, Algorithm::PS384, Algorithm::PS512];

/// A key and what it verifies.
pub(super) struct Key {
    pub(super) kid: String,
    pub(super) algorithms: Vec<Algorithm>,
    key: DecodingKey,
}

/// A set of keys (RFC 7517 §5).
#[derive(Deserialize)]
struct KeySet {
    keys: Vec<KeyOfSet>,
}

/// A key of a set, with the members of all types that verify tokens (RFC 7518 §6).
#[derive(Deserialize)]
struct KeyOfSet {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
    k: Option<String>,
}

impl Key {
    fn new(kid: &str, algorithms: &[Algorithm], key: DecodingKey) -> Result<Self, KeyError> {
        if kid.is_empty() || kid.len() > 128 || unseen(kid).is_some() {
            return Err(wrong(format!("the kid {:?}: 1 to 128 bytes, no control characters", shortened(kid))));
        }
        Ok(Self { kid: kid.to_owned(), algorithms: algorithms.to_vec(), key })
    }

    /// Whether the signature, as it stands in a token, is that of this text by this key.
    pub(super) fn verifies(&self, text: &str, signature: &str, algorithm: Algorithm) -> bool {
        jsonwebtoken::crypto::verify(signature, text.as_bytes(), &self.key, algorithm).unwrap_or(false)
    }

    pub(super) fn describe(&self) -> String {
        let algorithms: Vec<String> = self.algorithms.iter().map(|algorithm| format!("{algorithm:?}")).collect();
        format!("{} ({})", self.kid, algorithms.join(", "))
    }
}

/// The secret in the bytes of its file: one line end behind it does not count.
pub fn secret_in(file: &[u8]) -> &[u8] {
    file.strip_suffix(b"\n").map_or(file, |secret| secret.strip_suffix(b"\r").unwrap_or(secret))
}

/// The key of a PEM file, which holds one public key.
pub(super) fn public_key(kid: &str, pem: &[u8]) -> Result<Key, KeyError> {
    let text = str::from_utf8(pem).map_err(|_| wrong("is no text, and a PEM file is one"))?;
    if text.contains("PRIVATE KEY-----") {
        return Err(wrong("holds a private key: give its public key, as `openssl pkey -pubout` prints it"));
    }
    if text.contains("CERTIFICATE-----") {
        return Err(wrong("holds a certificate: give its key, as `openssl x509 -pubkey -noout` prints it"));
    }
    if text.matches("-----BEGIN ").count() != 1 {
        return Err(wrong("a PEM file holds one public key, from -----BEGIN PUBLIC KEY----- on"));
    }
    if let Ok(key) = DecodingKey::from_ec_pem(pem) {
        return ec_key(kid, key.try_get_as_bytes().unwrap_or_default());
    }
    let key = DecodingKey::from_rsa_pem(pem).and_then(|key| Jwk::from_decoding_key(&key, None));
    match key.map(|key| key.algorithm) {
        Ok(AlgorithmParameters::RSA(key)) => rsa_key(kid, &key.n, &key.e),
        _ => Err(wrong("holds no RSA or ECDSA public key")),
    }
}

/// The keys of a JSON Web Key Set that verify signatures.
pub(super) fn keys_of_set(json: &[u8]) -> Result<Vec<Key>, KeyError> {
    // The error of the library may repeat a secret.
    let set: KeySet = serde_json::from_slice(json).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        wrong(format!("line {line} column {column}: a key set is a JSON object, its keys a list of objects with kty"))
    })?;
    let mut keys = Vec::new();
    for (index, key) in set.keys.iter().enumerate() {
        let named = |KeyError(why): KeyError| match &key.kid {
            Some(kid) => wrong(format!("the key {:?}: {why}", shortened(kid))),
            None => wrong(format!("key number {}: {why}", index + 1)),
        };
        keys.extend(key.read().map_err(named)?);
    }
    if keys.is_empty() { Err(wrong("no key in it can verify tokens: RSA, EC or oct, with use sig")) } else { Ok(keys) }
}

impl KeyOfSet {
    /// The key, or `None` if it is not one for signatures, or of a type that this server does not know.
    fn read(&self) -> Result<Option<Key>, KeyError> {
        let is_for_others = self.usage.as_deref().is_some_and(|usage| usage != "sig")
            || self.key_ops.as_ref().is_some_and(|acts| !acts.iter().any(|act| act == "verify"));
        let is_known = match &*self.kty {
            "EC" => self.crv.as_deref().is_none_or(|curve| ["P-256", "P-384"].contains(&curve)),
            kty => ["RSA", "oct"].contains(&kty),
        };
        if is_for_others || !is_known {
            return Ok(None);
        }
        let kid = self.kid.as_deref().ok_or_else(|| wrong("has no kid, by which tokens choose it"))?;
        let mut key = match &*self.kty {
            "RSA" => rsa_key(kid, member("n", &self.n)?, member("e", &self.e)?)?,
            "oct" => hmac_key(kid, &decoded("k", &self.k)?)?,
            _ => {
                let point = [vec![4], decoded("x", &self.x)?, decoded("y", &self.y)?].concat();
                let key = ec_key(kid, &point)?;
                let curve = if key.algorithms == [Algorithm::ES256] { "P-256" } else { "P-384" };
                if self.crv.as_deref() != Some(curve) {
                    return Err(wrong(format!("crv must be {curve}, the curve of its x and y")));
                }
                key
            }
        };
        if let Some(alg) = &self.alg {
            key.algorithms.retain(|algorithm| format!("{algorithm:?}") == *alg);
            if key.algorithms.is_empty() {
                return Err(wrong(format!("alg {:?} is none of its type {}", shortened(alg), self.kty)));
            }
        }
        Ok(Some(key))
    }
}

fn member<'a>(name: &str, value: &'a Option<String>) -> Result<&'a str, KeyError> {
    value.as_deref().ok_or_else(|| wrong(format!("has no {name}")))
}

fn decoded(name: &str, value: &Option<String>) -> Result<Vec<u8>, KeyError> {
    BASE64_URL_SAFE_NO_PAD.decode(member(name, value)?).map_err(|_| wrong(format!("its {name} is not base64url")))
}

/// The key of a secret.
pub(super) fn hmac_key(kid: &str, secret: &[u8]) -> Result<Key, KeyError> {
    if secret.len() < SECRET_BYTES_MIN {
        let bytes = secret.len();
        return Err(wrong(format!(
            "a secret of {bytes} bytes: at least {SECRET_BYTES_MIN}, as `openssl rand -base64 32` prints"
        )));
    }
    Key::new(kid, HMAC, DecodingKey::from_secret(secret))
}

/// A key from the base64url of its modulus and exponent.
fn rsa_key(kid: &str, n: &str, e: &str) -> Result<Key, KeyError> {
    let [n, e] = [n, e].map(|part| BASE64_URL_SAFE_NO_PAD.decode(part).unwrap_or_default());
    let without_zeros = |bytes: &[u8]| bytes.iter().position(|&byte| byte != 0).map_or(0, |at| bytes.len() - at);
    if !MODULUS_BYTES.contains(&without_zeros(&n)) {
        return Err(wrong(format!("an RSA key of {} bits: 2048 to 8192", without_zeros(&n) * 8)));
    }
    RsaPublicKeyComponents { n: &n, e: &e }
        .to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256)
        .map_err(|_| wrong("its n and e are no RSA key"))?;
    Key::new(kid, RSA, DecodingKey::from_rsa_raw_components(&n, &e))
}

/// A key from its point (SEC 1 §2.3.3, not compressed), which tells the curve.
fn ec_key(kid: &str, point: &[u8]) -> Result<Key, KeyError> {
    let algorithm = match point.len() {
        65 if ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).is_ok() => Algorithm::ES256,
        97 if ParsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, point).is_ok() => Algorithm::ES384,
        _ => return Err(wrong("an ECDSA key of another curve: P-256 or P-384")),
    };
    Key::new(kid, &[algorithm], DecodingKey::from_ec_der(point))
}

fn wrong(why: impl Into<String>) -> KeyError {
    KeyError(why.into())
}
