//! The echo server as a child process, that ends with its test.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

pub struct Echo {
    child: Child,
    pub address: SocketAddr,
}

impl Echo {
    /// With the limit that it has by default, 16 MiB.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    pub fn start_with(arguments: &[&str]) -> Self {
        let mut command = Command::new(program());
        command.args(["--listen", "127.0.0.1:0"]).args(arguments).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("an example that was built");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("it is piped")).read_line(&mut line).expect("a line");
        let address = line.trim_end().strip_prefix("listening on ").expect("the address first");
        Self { address: address.parse().expect("an address"), child }
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.child.kill().expect("it does not end by itself");
        self.child.wait().expect("a child of ours");
    }
}

/// Beside this test, where Cargo puts what it builds. `cargo test` builds it as well, but not where it is given `--test` or
/// the name of a test: what would be found then may be of old.
fn program() -> PathBuf {
    let test = std::env::current_exe().expect("a path");
    let built = test.parent().and_then(Path::parent).expect("target/<profile>/deps");
    let program = built.join("examples/ws_echo");
    assert!(is_up_to_date(&program), "cargo build --example ws_echo comes first");
    program
}

/// Whether nothing that it was built from was changed since. Cargo has written down beside it what that is.
fn is_up_to_date(program: &Path) -> bool {
    let changed_at = |path: &Path| fs::metadata(path).and_then(|found| found.modified());
    let (Ok(built_at), Ok(list)) = (changed_at(program), fs::read_to_string(program.with_extension("d"))) else {
        return false;
    };
    let sources = list.split_whitespace().filter(|path| path.ends_with(".rs"));
    sources.map(Path::new).all(|source| changed_at(source).is_ok_and(|changed_at| changed_at <= built_at))
}
