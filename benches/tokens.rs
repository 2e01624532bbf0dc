//! How many tokens can one worker verify, by the algorithm that signed them? A reconnect storm brings as many tokens as
//! clients, and each is verified once.
//!
//! `cargo bench --bench tokens`

mod common;
#[path = "common/measuring.rs"]
mod measuring;

use std::hint::black_box;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use criterion::Throughput;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, PublicKeyData, RsaKeySize};
use roomcast::auth::UnixSeconds;
use roomcast::auth::tokens::{TokenChecks, TokenVerifier};
use serde_json::json;

const NOW: UnixSeconds = UnixSeconds(1_800_000_000);

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

fn main() {
    let mut criterion = measuring::criterion();
    let mut group = criterion.benchmark_group("verify");
    group.throughput(Throughput::Elements(1));
    let es256 = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key");
    let rs256 = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).expect("a key");
    let cases = [
        ("hs256", Algorithm::HS256, EncodingKey::from_secret(SECRET)),
        ("es256", Algorithm::ES256, EncodingKey::from_ec_der(&es256.serialize_der())),
        (
            "rs256",
            Algorithm::RS256,
            EncodingKey::from_rsa_pem(pem("PRIVATE", &rs256.serialize_der()).as_bytes()).expect("a key"),
        ),
    ];
    let mut verifier = TokenVerifier::new(TokenChecks::default());
    verifier.add_secret("hs256", SECRET).expect("a secret");
    for (kid, pair) in [("es256", &es256), ("rs256", &rs256)] {
        verifier.add_public_key(kid, pem("PUBLIC", &pair.subject_public_key_info()).as_bytes()).expect("a key");
    }
    for (kid, algorithm, key) in cases {
        let header = Header { kid: Some(kid.to_owned()), ..Header::new(algorithm) };
        let claims = json!({ "sub": "user-4711", "name": "Ada Lovelace", "exp": NOW.0 + 3_600, "iat": NOW.0 });
        let token = encode(&header, &claims, &key).expect("a token");
        group.bench_function(kid, |bencher| {
            bencher.iter(|| verifier.verify(black_box(&token), NOW).expect("it is valid"))
        });
    }
    group.finish();
    criterion.final_summary();
}

fn pem(what: &str, der: &[u8]) -> String {
    format!("-----BEGIN {what} KEY-----\n{}\n-----END {what} KEY-----\n", BASE64_STANDARD.encode(der))
}
