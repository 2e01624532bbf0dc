//! The built binary under a service manager: what it is told over the socket of sd_notify(3), and its watchdog.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};

use harness::{Http, Lines, Notice, Process, Program, ServiceManager, Signal, WELCOME, at_once, built, until};

#[test]
fn the_manager_hears_that_the_server_is_ready_once_both_ports_accept() {
    for manager in [ServiceManager::at_a_path(), ServiceManager::without_a_path()] {
        let ready_file = manager.folder().join("ready");
        let mut command = manager.command(&["--tcp", "127.0.0.1:0", "--http", "127.0.0.1:0", "--workers", "2"]);
        let process = Process::start(command.arg("--ready-file").arg(&ready_file).stderr(Stdio::null()));
        let ready = manager.notice();
        assert!(ready.has("READY=1"), "{ready:?}");
        assert_eq!(ready.value("MAINPID"), process.id().as_raw_pid().to_string());
        assert_eq!(ready.value("STATUS"), "serving 0 clients, 0 rooms");
        let addresses = fs::read_to_string(ready_file).expect("it was written before");
        let address = |listener: &str| -> SocketAddr {
            let address = addresses.lines().find_map(|line| line.strip_prefix(listener));
            address.and_then(|address| address.parse().ok()).expect("an address")
        };
        Lines::connect(address("tcp ")).expect(WELCOME);
        assert_eq!(Http::get(address("http "), "/ready").0.status, 200);
    }
}

#[test]
fn of_a_start_that_fails_the_manager_hears_nothing() {
    let manager = ServiceManager::at_a_path();
    let running = Program::start(&[]);
    let address = running.http.to_string();
    let failed = Process::run(&mut manager.command(&["--tcp", "127.0.0.1:0", "--http", &address]));
    assert_eq!(failed.code, Some(2));
    assert_eq!(manager.up_to_now(), Vec::<Notice>::new());
}

#[test]
fn the_manager_hears_how_many_clients_there_are() {
    let manager = ServiceManager::at_a_path();
    let program = Program::start_command(manager.command(&["--workers", "2"]));
    let _members = ["a", "a", "b"].map(|room| Lines::member(program.tcp, room));
    manager.until("STATUS=serving 3 clients, 2 rooms");
}

#[test]
fn a_reload_is_told_with_its_time_and_its_end_also_when_it_fails() {
    let manager = ServiceManager::at_a_path();
    let file = manager.folder().join("roomcast.toml");
    fs::write(&file, "backlog = 100\n").expect("a settings file");
    let program = Program::start_command(manager.command(&["--config", file.to_str().expect("text")]));
    manager.until("READY=1");
    let _member = Lines::member(program.tcp, "a");
    let mut last = 0;
    for (settings, phrase) in [("backlog = 100\n", "reloaded"), ("backlog = 'what'\n", "nothing has changed")] {
        fs::write(&file, settings).expect("a settings file");
        program.signal(Signal::HUP);
        let reloading = manager.notice_with("RELOADING=1");
        let at: u64 = reloading.value("MONOTONIC_USEC").parse().expect("a number");
        assert!(at > last && at <= microseconds_since_boot(), "{reloading:?} after {last}");
        last = at;
        assert_eq!(manager.notice_with("READY=1").value("STATUS"), "serving 1 clients, 1 rooms");
        program.log.until(phrase);
    }
}

/// The clock that the manager compares with, or a later time where the machine has slept.
fn microseconds_since_boot() -> u64 {
    let uptime = fs::read_to_string("/proc/uptime").expect("a figure");
    let seconds: f64 = uptime.split(' ').next().and_then(|figure| figure.parse().ok()).expect("seconds");
    // It has two digits.
    (seconds * 1e6) as u64 + 10_000
}

#[test]
fn while_it_stops_the_manager_is_asked_for_time_and_hears_who_is_left_and_that_all_threads_run() {
    let manager = ServiceManager::at_a_path();
    let command = manager.watching_command(1_000_000, &["--workers", "2"]);
    let _program = Program::start_command_that_drains_for_hours(command, |program| program.signal(Signal::TERM));
    assert_eq!(manager.notice_with("STOPPING=1").value("EXTEND_TIMEOUT_USEC"), "15000000");
    for _ in 0..2 {
        let draining = manager.notice_with("STATUS=draining: 1 clients left");
        assert_eq!(draining.value("EXTEND_TIMEOUT_USEC"), "15000000");
    }
    // The threads are probed anew after the first of these.
    for _ in 0..2 {
        manager.until("WATCHDOG=1");
    }
}

#[test]
fn the_watchdog_hears_again_and_again_that_all_threads_run() {
    let manager = ServiceManager::at_a_path();
    let program = Program::start_command(manager.watching_command(100_000, &["--workers", "2"]));
    for _ in 0..5 {
        manager.until("WATCHDOG=1");
    }
    program.signal(Signal::TERM);
    assert_eq!(program.end().0, Some(0));
}

#[test]
fn a_watchdog_is_heeded_by_the_process_that_it_is_for() {
    let manager = ServiceManager::at_a_path();
    let started_for = |process: &str| {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", &format!("WATCHDOG_PID={process} exec \"$0\"")]).arg(built("roomcast")).env_clear();
        command.env("WATCHDOG_USEC", "2");
        Program::start_command(manager.starting(command))
    };
    let other = started_for("1");
    let mut heard = manager.until("READY=1");
    // A round takes a millisecond, and many would have ended before the reload.
    other.signal(Signal::HUP);
    other.log.until("reloaded");
    heard.extend(manager.until("READY=1"));
    assert!(!heard.iter().any(|notice| notice.has("WATCHDOG=1")), "{heard:?}");
    drop(other);
    let _own = started_for("$$");
    manager.until("WATCHDOG=1");
}

/// The binary gets stuck on request in debug builds alone.
#[cfg(debug_assertions)]
#[test]
fn of_a_server_with_a_stuck_worker_the_watchdog_hears_nothing_and_the_log_names_the_worker() {
    let manager = ServiceManager::at_a_path();
    let mut command = manager.watching_command(8_000_000, &["--workers", "2", "--shards", "1"]);
    command.env("ROOMCAST_FAULT", "stuck-shard");
    let program = Program::start_command(command);
    manager.until("WATCHDOG=1");
    let client = Lines::connect(program.tcp);
    client.send("JOIN a\n");
    let line = program.log.line_with("threads do not answer");
    assert!(line.contains("worker-0") && !line.contains("worker-1"), "{line}");
    manager.up_to_now();
    program.signal(Signal::HUP);
    let heard = manager.until("RELOADING=1");
    assert!(!heard.iter().any(|notice| notice.has("WATCHDOG=1")), "{heard:?}");
}

#[test]
fn a_manager_that_does_not_read_or_is_gone_or_has_a_wrong_address_stops_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name| folder.path().join(name).to_str().expect("text").to_owned();
    let _full = full_socket(&path("full"));
    let cannot_tell = "cannot tell the service manager";
    at_once(
        [
            (path("full"), cannot_tell),
            (path("gone"), cannot_tell),
            ("@nobody/listens/there".to_owned(), cannot_tell),
            ("vsock:2:1".to_owned(), "cannot use NOTIFY_SOCKET"),
        ],
        |(address, phrase)| {
            let mut command = Program::command(&["--workers", "2"]);
            command.env("NOTIFY_SOCKET", address).env("WATCHDOG_USEC", "1000000");
            let program = Program::start_command(command);
            program.log.until(phrase);
            program.signal(Signal::HUP);
            program.log.until("reloaded");
            let mut client = Lines::member(program.tcp, "a");
            client.send("hello\n");
            assert!(client.line().ends_with("] hello"));
            client.send("QUIT\n");
            client.expect("Bye");
            drop(client);
            let log = program.stop_and_read_log();
            assert!(!log.iter().any(|line| line.contains("service manager")), "it is said once: {log:?}");
        },
    );
}

/// A socket whose owner reads nothing, and has got as much as it holds.
fn full_socket(path: &str) -> UnixDatagram {
    let socket = UnixDatagram::bind(path).expect("a socket");
    let sender = UnixDatagram::unbound().expect("a socket");
    sender.connect(path).expect("an address");
    sender.set_nonblocking(true).expect("a socket");
    while sender.send(b"STATUS=full").is_ok() {}
    socket
}

#[test]
fn a_manager_costs_no_thread_and_no_descriptor() {
    let alone = Program::start(&["--workers", "2"]);
    let manager = ServiceManager::at_a_path();
    let managed = Program::start_command(manager.watching_command(10_000_000, &["--workers", "2"]));
    manager.until("WATCHDOG=1");
    let count = |program: &Program, folder: &str| {
        fs::read_dir(format!("/proc/{}/{folder}", program.id().as_raw_pid())).expect("a child that runs").count()
    };
    for folder in ["task", "fd"] {
        // The client that asked whether they are ready may be on its way out.
        until(|| count(&managed, folder) == count(&alone, folder));
    }
}
