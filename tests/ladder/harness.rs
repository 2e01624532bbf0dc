//! An example as a process that ends with its test, and a client that reads and writes lines. Never waits for time.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use flume::Receiver;
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use socket2::{Domain, SockRef, Socket, Type};

/// Stages 1 and 2.
pub const ECHOES: [&str; 2] = ["echo_blocking", "echo_threaded"];

/// The stages that serve clients at once.
pub const CONCURRENT: [&str; 3] = ["echo_threaded", "chat_broadcast", "chat_rooms_locked"];

/// Stages 1 to 4.
pub const STAGES: [&str; 4] = ["echo_blocking", "echo_threaded", "chat_broadcast", "chat_rooms_locked"];

/// The longest line that any of them takes, without its end.
pub const LINE_BYTES_MAX: usize = 64 * 1024;

/// What stage 4 says first.
pub const WELCOME: &str = "Welcome! Commands: JOIN <room>, LEAVE, LIST";

/// A failsafe: no test waits that long unless it fails.
const GETS_THERE_WITHIN: Duration = Duration::from_secs(30);

/// Enough memory for a line, not for a thread.
const SPARE_BYTES: u64 = 512 * 1024;

/// What a client that is to fall behind lets the kernel hold for it.
const SHORT_RECEIVE_BYTES: usize = 4 * 1024;

/// A serving example.
pub struct Example {
    name: &'static str,
    child: Child,
    stdout: BufReader<ChildStdout>,
    reports: Receiver<String>,
    pub address: SocketAddr,
}

impl Example {
    /// The example on a free port, once it listens.
    #[track_caller]
    pub fn start(name: &'static str) -> Self {
        let mut child = command(name, "127.0.0.1:0")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("a binary that was built");
        let mut stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut line = String::new();
        stdout.read_line(&mut line).expect("a line or the end");
        let address = line.strip_prefix("listening on ").and_then(|rest| rest.strip_suffix('\n'));
        let address = address.unwrap_or_else(|| panic!("{name} begins with {line:?}")).parse().expect("an address");
        let reports = lines_of(child.stderr.take().expect("it is piped"));
        Self { name, child, stdout, reports, address }
    }

    /// A client that is served.
    #[track_caller]
    pub fn client(&self) -> Client {
        self.served(Client::connect(self.address))
    }

    /// The client once it is served: it was welcomed, or its own line has come back.
    #[track_caller]
    pub fn served(&self, mut client: Client) -> Client {
        if self.name == "chat_rooms_locked" {
            client.expect(WELCOME);
            return client;
        }
        let hello = format!("hello from {}", client.label());
        client.send(format!("{hello}\n"));
        while client.line() != hello {}
        client
    }

    /// A client of stage 4 in this room.
    #[track_caller]
    pub fn member(&self, room: &str) -> Client {
        let mut client = self.client();
        client.join(room);
        client
    }

    /// From here on it may hold no more descriptors than this.
    pub fn limit_descriptors(&self, count: u64) {
        self.limit(Resource::Nofile, Rlimit { current: Some(count), maximum: Some(count) });
    }

    /// For this long it gets hardly more memory than it has, not enough for a stack.
    pub fn while_short_of_memory(&self, behaviour: impl FnOnce()) {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("a child of ours");
        let size = status.lines().find_map(|line| line.strip_prefix("VmSize:")?.trim().strip_suffix(" kB"));
        let bytes = size.and_then(|size| size.parse::<u64>().ok()).expect("a size in kB") * 1024 + SPARE_BYTES;
        let before = self.limit(Resource::As, Rlimit { current: Some(bytes), maximum: None });
        behaviour();
        self.limit(Resource::As, before);
    }

    fn limit(&self, resource: Resource, limit: Rlimit) -> Rlimit {
        prlimit(Some(Pid::from_child(&self.child)), resource, limit).expect("a child of ours")
    }

    /// The next line that it writes to stderr.
    #[track_caller]
    pub fn report(&self) -> String {
        self.reports.recv_timeout(GETS_THERE_WITHIN).expect("a report")
    }

    /// Ends it; what it printed after its first line.
    pub fn end(mut self) -> String {
        self.child.kill().expect("it still runs");
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).expect("text");
        rest
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        // Fails for one that has ended, which is as well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The lines of a pipe, which never fills.
fn lines_of(pipe: ChildStderr) -> Receiver<String> {
    let (tell, lines) = flume::unbounded();
    thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            // The test may have ended first.
            let _ = tell.send(line);
        }
    });
    lines
}

/// The example's binary, with nothing in its environment.
pub fn command(name: &str, address: &str) -> Command {
    let mut command = Command::new(binary(name));
    command.arg(address).env_clear().stdin(Stdio::null());
    command
}

/// The binary beside this one, that a plain `cargo test` has built. One that is older than its source would test nothing.
#[track_caller]
fn binary(name: &str) -> PathBuf {
    let this = std::env::current_exe().expect("a path");
    let profile = this.ancestors().nth(2).expect("this is in target/<profile>/deps");
    let binary = profile.join("examples").join(name);
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name).with_extension("rs");
    let changed = |path: &Path| path.metadata().and_then(|file| file.modified());
    let is_fresh = changed(&binary).is_ok_and(|built| built >= changed(&source).expect("a source"));
    assert!(is_fresh, "{name} is not built as it stands: cargo build --examples");
    binary
}

/// Asks again and again until it is so.
#[track_caller]
pub fn until(mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < GETS_THERE_WITHIN, "the example does not get there");
        thread::yield_now();
    }
}

/// A connection, written as bytes and read as lines.
pub struct Client(BufReader<TcpStream>);

impl Client {
    /// A connection that has read nothing yet; whether it is served is not known.
    #[track_caller]
    pub fn connect(address: SocketAddr) -> Self {
        Self::of(TcpStream::connect(address).expect("one that accepts"))
    }

    /// The same with a kernel that takes only a few KiB for it.
    #[track_caller]
    pub fn connect_short_of_buffer(address: SocketAddr) -> Self {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).expect("a socket");
        socket.set_recv_buffer_size(SHORT_RECEIVE_BYTES).expect("an option");
        socket.connect(&address.into()).expect("one that accepts");
        Self::of(socket.into())
    }

    fn of(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(GETS_THERE_WITHIN)).expect("an option");
        stream.set_nodelay(true).expect("an option");
        Self(BufReader::new(stream))
    }

    /// What stage 4 calls this client.
    pub fn label(&self) -> SocketAddr {
        self.0.get_ref().local_addr().expect("a connected socket")
    }

    pub fn stream(&self) -> &TcpStream {
        self.0.get_ref()
    }

    /// Writes all of it in one call.
    #[track_caller]
    pub fn send(&self, bytes: impl AsRef<[u8]>) {
        self.stream().write_all(bytes.as_ref()).expect("one that reads");
    }

    /// The end of the input.
    pub fn end_input(&self) {
        self.stream().shutdown(Shutdown::Write).expect("a connected socket");
    }

    /// Closes with a reset.
    pub fn reset(self) {
        SockRef::from(self.stream()).set_linger(Some(Duration::ZERO)).expect("an option");
    }

    /// The next line without its end.
    #[track_caller]
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("a line or the end");
        assert_eq!(line.pop(), Some('\n'), "{line:?} has no end");
        line
    }

    #[track_caller]
    pub fn expect(&mut self, line: &str) {
        assert_eq!(self.line(), line);
    }

    /// Exactly these bytes come next.
    #[track_caller]
    pub fn expect_bytes(&mut self, bytes: &[u8]) {
        let mut heard = vec![0; bytes.len()];
        self.0.read_exact(&mut heard).expect("as many bytes");
        assert_eq!(heard, bytes);
    }

    /// A line of its own comes back as it was said, and nothing before it.
    #[track_caller]
    pub fn expect_echo(&mut self, line: &str) {
        self.send(format!("{line}\n"));
        self.expect(line);
    }

    /// Enters a room of stage 4.
    #[track_caller]
    pub fn join(&mut self, room: &str) {
        self.send(format!("JOIN {room}\n"));
        self.expect(&format!("Joined {room}"));
    }

    /// Everything up to the end of the stream, or up to where a reset has destroyed it.
    pub fn rest(&mut self) -> String {
        let mut rest = Vec::new();
        match self.0.read_to_end(&mut rest) {
            Err(error) if error.kind() != io::ErrorKind::ConnectionReset => panic!("{error}"),
            _ => String::from_utf8_lossy(&rest).into_owned(),
        }
    }
}
