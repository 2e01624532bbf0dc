//! `roomcast gen-key`: a new API key.

use anyhow::anyhow;
use aws_lc_rs::rand;

use crate::auth::api_keys::{KEY_RANDOM_BYTES, new_key};

/// A new API key, and the line for the file of API keys.
///
/// # Errors
/// The name, a right or the pattern breaks its rule, or the system has no random bytes.
pub fn gen_key(name: &str, may: &[String], rooms: Option<&str>) -> anyhow::Result<String> {
    let mut random = [0; KEY_RANDOM_BYTES];
    rand::fill(&mut random).map_err(|_| anyhow!("the system has no random bytes"))?;
    let (key, line) = new_key(&random, name, may, rooms)?;
    Ok(format!("# The key for the application, shown this once:\n{key}\n# The line for api-keys-file:\n{line}\n"))
}
