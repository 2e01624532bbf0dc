//! Which keys are taken, and which tokens each of them verifies.

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header};
use rcgen::{
    KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ECDSA_P521_SHA512, PKCS_ED25519, PKCS_RSA_SHA256,
    PublicKeyData, RsaKeySize,
};
use roomcast::auth::tokens::{TokenChecks, TokenVerifier};
use serde_json::{Value, json};

use super::{NOW, SECRET, ada, signed_with};

/// A pair of keys, as PEM files have them.
pub(super) struct Pair {
    pub(super) private: String,
    pub(super) public: String,
}

impl Pair {
    pub(super) fn rsa() -> Self {
        Self::of(&KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).expect("a key"))
    }

    pub(super) fn p256() -> Self {
        Self::of(&KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key"))
    }

    fn p384() -> Self {
        Self::of(&KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).expect("a key"))
    }

    fn of(pair: &KeyPair) -> Self {
        let pem = |what, der: &[u8]| {
            format!("-----BEGIN {what} KEY-----\n{}\n-----END {what} KEY-----\n", BASE64_STANDARD.encode(der))
        };
        Self { private: pem("PRIVATE", &pair.serialize_der()), public: pem("PUBLIC", &pair.subject_public_key_info()) }
    }

    /// The key that signs with this algorithm.
    pub(super) fn signer(&self, algorithm: Algorithm) -> EncodingKey {
        let pem = self.private.as_bytes();
        match algorithm {
            Algorithm::ES256 | Algorithm::ES384 => EncodingKey::from_ec_pem(pem).expect("a private key"),
            _ => EncodingKey::from_rsa_pem(pem).expect("a private key"),
        }
    }

    /// The public key as a member of a key set, under this name.
    pub(super) fn jwk(&self, kid: &str) -> Value {
        let pem = self.public.as_bytes();
        let key = DecodingKey::from_rsa_pem(pem).and_then(|key| Jwk::from_decoding_key(&key, None));
        let key = key
            .or_else(|_| Jwk::from_decoding_key(&DecodingKey::from_ec_pem(pem).expect("a public key"), None))
            .expect("a public key");
        let mut key = serde_json::to_value(key).expect("a value");
        key["kid"] = json!(kid);
        key
    }
}

fn verifier_of_set(keys: &[Value]) -> Result<TokenVerifier, String> {
    let mut verifier = TokenVerifier::new(TokenChecks::default());
    verifier.add_key_set(json!({"keys": keys}).to_string().as_bytes()).map_err(|error| error.to_string())?;
    Ok(verifier)
}

fn verifies(verifier: &TokenVerifier, algorithm: Algorithm, kid: Option<&str>, key: &EncodingKey) -> bool {
    let header = Header { kid: kid.map(str::to_owned), ..Header::new(algorithm) };
    verifier.verify(&signed_with(&header, &ada(), key), NOW).is_ok()
}

const HMAC: [Algorithm; 3] = [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512];
const RSA: [Algorithm; 6] =
    [Algorithm::RS256, Algorithm::RS384, Algorithm::RS512, Algorithm::PS256, Algorithm::PS384, Algorithm::PS512];

#[test]
fn every_key_verifies_the_algorithms_of_its_type_from_a_file_and_from_a_key_set() {
    let (rsa, p256, p384) = (Pair::rsa(), Pair::p256(), Pair::p384());
    let mut files = TokenVerifier::new(TokenChecks::default());
    for (kid, pair) in [("rsa", &rsa), ("p256", &p256), ("p384", &p384)] {
        files.add_public_key(kid, pair.public.as_bytes()).unwrap();
    }
    files.add_secret("secret", SECRET).unwrap();
    let secret = json!({"kty": "oct", "kid": "secret", "k": BASE64_URL_SAFE_NO_PAD.encode(SECRET)});
    let set = verifier_of_set(&[rsa.jwk("rsa"), p256.jwk("p256"), p384.jwk("p384"), secret]).unwrap();
    assert_eq!(files.describe(), set.describe());
    let signers = RSA.map(|algorithm| ("rsa", algorithm, rsa.signer(algorithm)));
    let secrets = HMAC.map(|algorithm| ("secret", algorithm, EncodingKey::from_secret(SECRET)));
    let curves = [("p256", Algorithm::ES256, &p256), ("p384", Algorithm::ES384, &p384)]
        .map(|(kid, algorithm, pair)| (kid, algorithm, pair.signer(algorithm)));
    for (kid, algorithm, key) in signers.into_iter().chain(secrets).chain(curves) {
        for verifier in [&files, &set] {
            assert!(verifies(verifier, algorithm, Some(kid), &key), "{algorithm:?}");
            assert!(verifies(verifier, algorithm, None, &key), "{algorithm:?} without kid");
            for other in ["rsa", "p256", "p384", "secret"].into_iter().filter(|other| *other != kid) {
                assert!(!verifies(verifier, algorithm, Some(other), &key), "{algorithm:?} as {other}");
            }
        }
    }
}

#[test]
fn a_token_without_kid_is_tried_with_each_key_and_one_with_kid_with_that_key_alone() {
    let (old, new) = ([b'o'; 32], [b'n'; 64]);
    let mut verifier = TokenVerifier::new(TokenChecks::default());
    verifier.add_secret("old", &old).unwrap();
    verifier.add_secret("new", &[&new[..], b"\n"].concat()).unwrap();
    for (kid, secret) in [("old", &old[..]), ("new", &new)] {
        let key = EncodingKey::from_secret(secret);
        assert!(verifies(&verifier, Algorithm::HS256, None, &key));
        assert!(verifies(&verifier, Algorithm::HS256, Some(kid), &key));
        let other = if kid == "old" { "new" } else { "old" };
        assert!(!verifies(&verifier, Algorithm::HS256, Some(other), &key));
        assert!(!verifies(&verifier, Algorithm::HS256, Some("older"), &key));
    }
    assert_eq!(verifier.describe(), "old (HS256, HS384, HS512), new (HS256, HS384, HS512)");
}

#[test]
fn one_line_end_behind_a_secret_does_not_count() {
    for (file, is_long_enough) in [
        ("x".repeat(32), true),
        ("x".repeat(31) + "\n", false),
        ("x".repeat(32) + "\r\n", true),
        ("x".repeat(30) + "\r\n", false),
        ("x".repeat(31) + "\n\n", true),
    ] {
        let mut verifier = TokenVerifier::new(TokenChecks::default());
        assert_eq!(verifier.add_secret("a", file.as_bytes()).is_ok(), is_long_enough, "{file:?}");
        assert_eq!(verifier.is_empty(), !is_long_enough);
    }
}

#[test]
fn a_file_that_is_no_public_key_says_what_would_be_right() {
    let pair = Pair::p256();
    let other_curve = Pair::of(&KeyPair::generate_for(&PKCS_ECDSA_P521_SHA512).unwrap());
    let edwards = Pair::of(&KeyPair::generate_for(&PKCS_ED25519).unwrap());
    let certificate = pair.public.replace("PUBLIC KEY", "CERTIFICATE");
    let cut = pair.public.replace(&pair.public[40..60], "");
    for (pem, part) in [
        (pair.private.as_str(), "holds a private key"),
        (&certificate, "holds a certificate"),
        (&(pair.public.clone() + &pair.public), "one public key"),
        (&other_curve.public, "another curve: P-256 or P-384"),
        (&edwards.public, "no RSA or ECDSA public key"),
        (&cut, "no RSA or ECDSA public key"),
        ("", "one public key"),
    ] {
        let error = TokenVerifier::new(TokenChecks::default()).add_public_key("a", pem.as_bytes()).unwrap_err();
        assert!(error.to_string().contains(part), "{error}");
    }
}

#[test]
fn a_key_set_may_hold_keys_for_others_and_says_which_of_its_keys_is_wrong() {
    let good = Pair::p256().jwk("good");
    let with = |name: &str, value: Value| {
        let mut key = good.clone();
        key[name] = value;
        key
    };
    for other in [
        with("use", json!("enc")),
        with("key_ops", json!(["sign"])),
        with("crv", json!("secp256k1")),
        json!({"kty": "OKP", "crv": "Ed25519", "x": "AA"}),
        json!({"kty": "AKP"}),
    ] {
        assert_eq!(verifier_of_set(&[good.clone(), other.clone()]).unwrap().describe(), "good (ES256)");
        assert!(verifier_of_set(&[other]).err().unwrap().starts_with("no key in it can verify"));
    }
    let rsa = Pair::rsa().jwk("rsa");
    let short = json!({"kty": "RSA", "kid": "short", "n": BASE64_URL_SAFE_NO_PAD.encode([0xff; 128]), "e": "AQAB"});
    let mut one = rsa.clone();
    one["alg"] = json!("PS256");
    assert_eq!(verifier_of_set(&[one]).unwrap().describe(), "rsa (PS256)");
    for (key, part) in [
        (with("kid", json!(null)), "key number 2: has no kid"),
        (with("kid", json!("")), "the kid \"\": 1 to 128 bytes"),
        (with("x", json!("A")), "the key \"good\": its x is not base64url"),
        (with("x", json!("AAAA")), "another curve"),
        (with("y", good["x"].clone()), "another curve"),
        (with("crv", json!("P-384")), "crv must be P-256"),
        (with("alg", json!("ES384")), "alg \"ES384\" is none of its type EC"),
        (with("alg", json!("HS256")), "alg \"HS256\" is none of its type EC"),
        (short, "an RSA key of 1024 bits: 2048 to 8192"),
        (json!({"kty": "RSA", "kid": "a", "n": "AQAB"}), "has no e"),
        (json!({"kty": "oct", "kid": "a", "k": "c2VjcmV0"}), "a secret of 6 bytes: at least 32"),
    ] {
        let error = verifier_of_set(&[good.clone(), key]).err().unwrap();
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn the_error_of_a_key_set_never_shows_a_key() {
    for text in [r#"{"keys": "sesame"}"#, r#"{"keys": [{"kty": "oct", "k": ["sesame"]}]}"#, "sesame", r#"["sesame"]"#] {
        let error = TokenVerifier::new(TokenChecks::default()).add_key_set(text.as_bytes()).unwrap_err().to_string();
        assert!(error.starts_with("line 1 column ") && !error.contains("sesame"), "{error}");
    }
}
