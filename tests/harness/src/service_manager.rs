//! A service manager, as systemd is one: it starts servers and hears what they say by sd_notify(3).

use std::net::Shutdown;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use tempfile::TempDir;

use super::{FAILSAFE, Program};

/// What the manager sends to itself.
const FENCE: &str = "FENCE=1";

/// A service manager. It reads at once, since a socket holds few messages.
pub struct ServiceManager {
    socket: UnixDatagram,
    address: String,
    notices: Receiver<Notice>,
    folder: TempDir,
}

/// A message to the manager, line by line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice(Vec<String>);

impl ServiceManager {
    /// A manager whose socket is a file.
    #[track_caller]
    pub fn at_a_path() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).expect("a socket");
        Self::bound(socket, path.to_str().expect("text").to_owned(), folder)
    }

    /// A manager whose socket has a name and no file.
    #[track_caller]
    pub fn without_a_path() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        // No other test has this folder.
        let name = folder.path().to_str().expect("text").to_owned();
        let address = SocketAddr::from_abstract_name(&name).expect("a name");
        Self::bound(UnixDatagram::bind_addr(&address).expect("a socket"), format!("@{name}"), folder)
    }

    fn bound(socket: UnixDatagram, address: String, folder: TempDir) -> Self {
        let (sender, notices) = channel();
        let reader = socket.try_clone().expect("a descriptor");
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            // Nothing is read once the test has ended.
            while let Ok(length @ 1..) = reader.recv(&mut bytes) {
                let text = String::from_utf8_lossy(&bytes[..length]);
                let _ = sender.send(Notice(text.lines().map(str::to_owned).collect()));
            }
        });
        Self { socket, address, notices, folder }
    }

    /// A folder of its own.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The command of a server that it starts.
    #[track_caller]
    pub fn command(&self, arguments: &[&str]) -> Command {
        self.starting(Program::command(arguments))
    }

    /// The command of a server that it starts, and of which it expects to hear in this time.
    #[track_caller]
    pub fn watching_command(&self, microseconds: u32, arguments: &[&str]) -> Command {
        let mut command = self.command(arguments);
        command.env("WATCHDOG_USEC", microseconds.to_string());
        command
    }

    /// The same command, of a process that it starts.
    pub fn starting(&self, mut command: Command) -> Command {
        command.env("NOTIFY_SOCKET", &self.address);
        command
    }

    /// The next notice.
    #[track_caller]
    pub fn notice(&self) -> Notice {
        self.notices.recv_timeout(FAILSAFE).expect("a notice in time")
    }

    /// The notices up to the first with this line.
    #[track_caller]
    pub fn until(&self, line: &str) -> Vec<Notice> {
        let mut notices = Vec::new();
        while !notices.last().is_some_and(|notice: &Notice| notice.has(line)) {
            notices.push(self.notice());
        }
        notices
    }

    /// The first notice with this line.
    #[track_caller]
    pub fn notice_with(&self, line: &str) -> Notice {
        self.until(line).pop().expect("a notice with the line")
    }

    /// The notices that were sent before and were not taken yet.
    #[track_caller]
    pub fn up_to_now(&self) -> Vec<Notice> {
        // A datagram of its own comes behind all of them.
        let address = self.socket.local_addr().expect("an address");
        let sender = UnixDatagram::unbound().expect("a socket");
        sender.send_to_addr(FENCE.as_bytes(), &address).expect("room for a datagram");
        let mut notices = self.until(FENCE);
        notices.pop();
        notices
    }
}

impl Drop for ServiceManager {
    fn drop(&mut self) {
        // Ends the thread that reads.
        let _ = self.socket.shutdown(Shutdown::Both);
    }
}

impl Notice {
    /// Whether it has this line.
    pub fn has(&self, line: &str) -> bool {
        self.0.iter().any(|found| found == line)
    }

    /// The value of a variable.
    #[track_caller]
    pub fn value(&self, variable: &str) -> &str {
        let value = self.0.iter().find_map(|line| line.strip_prefix(variable)?.strip_prefix('='));
        value.unwrap_or_else(|| panic!("no {variable} in {self:?}"))
    }
}
