//! A panic anywhere ends the process: never a server with a dead shard.

use std::process::Command;
use std::{env, thread};

use roomcast::process::{EXIT_PANIC, end_on_panic};

use crate::harness::{Client, Shape, TestServer, Transport, run_to_end};

/// Set in the process that is to panic.
const TO_PANIC: &str = "ROOMCAST_TEST_TO_PANIC";

const MESSAGE: &str = "a shard has lost its way";

#[test]
fn a_panic_on_any_thread_ends_the_process_with_a_message_and_exit_code_70() {
    if env::var_os(TO_PANIC).is_some() {
        return serve_and_panic();
    }
    let name = "panics::a_panic_on_any_thread_ends_the_process_with_a_message_and_exit_code_70";
    let mut this_test_again = Command::new(env::current_exe().unwrap());
    this_test_again.args(["--exact", name, "--nocapture"]);
    let output = run_to_end(this_test_again.env(TO_PANIC, "yes"));
    assert_eq!(output.status.code(), Some(EXIT_PANIC), "{output:?}");
    assert_eq!(EXIT_PANIC, 70);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains(MESSAGE), "{said}");
}

/// In a process of its own: a server that works until another thread panics.
fn serve_and_panic() {
    end_on_panic();
    let server = TestServer::plain(Shape::MANY);
    let mut member = Client::member(&server, Transport::Tcp, "a", "alice");
    assert_eq!(member.ask("hello"), "[alice] hello");
    let panicking = thread::Builder::new().name("worker-0".into()).spawn(|| panic!("{MESSAGE}"));
    let ended = panicking.expect("a thread").join();
    unreachable!("the process has outlived a panic: {ended:?}");
}
