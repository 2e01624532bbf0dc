//! A node under a service manager.

use std::process::Command;

use harness::{Lines, NatsServer, Program, ServiceManager};

/// The command of a node of which its manager expects to hear in this time. Its stream takes little of the disk.
fn node(manager: &ServiceManager, microseconds: u32, nats: &NatsServer) -> Command {
    manager.watching_command(microseconds, &["--cluster", &nats.url(), "--cluster-stream-bytes", "64MiB"])
}

#[test]
fn a_node_that_follows_is_ready_and_the_watchdog_hears_that_its_threads_run() {
    let Some(nats) = NatsServer::start() else { return };
    let manager = ServiceManager::at_a_path();
    let node = Program::start_command(node(&manager, 100_000, &nats));
    manager.until("READY=1");
    let mut client = Lines::member(node.tcp, "a");
    client.send("hello\n");
    assert!(client.line().ends_with("] hello"));
    for _ in 0..3 {
        manager.until("WATCHDOG=1");
    }
}

/// The binary gets stuck on request in debug builds alone.
#[cfg(debug_assertions)]
#[test]
fn of_a_node_whose_thread_for_nats_is_stuck_the_watchdog_hears_nothing_and_the_log_names_it() {
    let Some(nats) = NatsServer::start() else { return };
    let manager = ServiceManager::at_a_path();
    let mut command = node(&manager, 12_000_000, &nats);
    command.env("ROOMCAST_FAULT", "stuck-proposals");
    let node = Program::start_command(command);
    manager.until("WATCHDOG=1");
    let client = Lines::member(node.tcp, "a");
    client.send("hello\n");
    let line = node.log.line_with("threads do not answer");
    assert!(line.contains("backplane") && !line.contains("worker"), "{line}");
}
