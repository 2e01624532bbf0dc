//! The settings file. A file is refused with one line, or gives settings that are the same when they are printed and read
//! again.

use std::fs;
use std::path::Path;

use roomcast::config::{Config, Invocation, InvocationError, Settings};
use tempfile::NamedTempFile;

thread_local! {
    /// The file that all inputs of a thread are written to, one after the other.
    static FILE: NamedTempFile = NamedTempFile::new().expect("a folder for temporary files");
}

/// Any text as a settings file.
pub fn settings_file(input: &[u8]) {
    FILE.with(|file| match read(file.path(), input) {
        Err(error) => check_error(&error),
        Ok(settings) => check_settings(file.path(), settings),
    });
}

fn read(path: &Path, text: &[u8]) -> Result<Settings, String> {
    fs::write(path, text).expect("there is room for the file");
    match Invocation::parse([Path::new("roomcast"), Path::new("--config"), path]) {
        Ok(invocation) => Ok(invocation.settings),
        Err(InvocationError::Wrong(error)) => Err(error),
        Err(InvocationError::Print(text)) => panic!("nobody has asked for {text:?}"),
    }
}

fn check_settings(path: &Path, mut settings: Settings) {
    // The URLs of NATS are left out, whose passwords are not printed.
    settings.nats.cluster.clear();
    let printed = toml::to_string(&settings).expect("settings can be printed");
    assert_eq!(read(path, printed.as_bytes()).as_ref(), Ok(&settings), "{printed}");
    // The names of hosts are left out, which would be looked up.
    let (tcp, http) = (Settings::default().tcp, Settings::default().http);
    if let Err(error) = Config::try_from(Settings { tcp, http, ..settings }) {
        check_error(&error.to_string());
    }
}

/// An error is one line, since it is one of the log.
fn check_error(error: &str) {
    assert!(!error.is_empty() && !error.contains('\n'), "{error:?}");
}
