//! The commands of the program that print something and end: each makes a text, and `main` prints it. Those that wait are
//! given the means to print.

mod ask_server;
mod check_token;
mod drain;
mod gen_key;
mod gen_token;
mod health;
mod http_client;
mod man;
mod own_tls;
mod running;

use std::fs::File;
use std::io::{Read, stdin};
use std::path::Path;

use anyhow::{Context, anyhow, ensure};

pub use ask_server::{publish, rooms};
pub use check_token::check_token;
pub use drain::drain;
pub use gen_key::gen_key;
pub use gen_token::{TokenRequest, gen_token};
pub use health::health;
pub use man::write_man_pages;

use crate::access::Access;
use crate::auth::UnixSeconds;
use crate::auth::tokens::TOKEN_BYTES_MAX;
use crate::broker::Now;
use crate::config::Anonymous;
use crate::protocol::names::RoomName;

/// Which rule applies to a room, and what a client without a token, or with that of a file, may do there.
///
/// # Errors
/// The name is no room's, or the token is not valid.
pub fn explain(access: &Access, room: &str, token: Option<&Path>) -> anyhow::Result<String> {
    let room = RoomName::parse(room).map_err(|error| anyhow!("--explain {error}"))?;
    let token = token.map(|path| {
        let token = read_token(path)?;
        access.tokens.verify(token.trim(), now()).with_context(|| format!("the token of {}", path.display()))
    });
    let token = token.transpose()?;
    let text = access.rooms.explain(&room, token.as_ref());
    Ok(match (access.anonymous, &token) {
        (Anonymous::Deny, None) => text + "but it may do nothing before it has a token, by anonymous = deny\n",
        _ => text,
    })
}

/// The text of a file or, for `-`, of standard input. A token never stands on a command line, which others can read.
fn read_token(path: &Path) -> anyhow::Result<String> {
    // More than a token may have, so that its length can be told.
    const BYTES_MAX: u64 = 64 * 1024;
    let mut text = String::new();
    let source: Box<dyn Read> = match path.to_str() {
        Some("-") => Box::new(stdin()),
        _ => Box::new(File::open(path).with_context(|| format!("cannot read {}", path.display()))?),
    };
    source.take(BYTES_MAX).read_to_string(&mut text).with_context(|| format!("cannot read {}", path.display()))?;
    ensure!(!text.trim().is_empty(), "{} holds no token: at most {TOKEN_BYTES_MAX} bytes on one line", path.display());
    Ok(text)
}

fn now() -> UnixSeconds {
    Now::read().unix_seconds()
}
