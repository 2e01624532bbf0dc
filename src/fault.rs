//! Deliberate faults, for tests of the built binary: what becomes of the process if a task panics, or never returns. Not
//! in release builds.

use std::sync::LazyLock;
use std::{env, thread};

/// The kind of task that is to fail, by the name that it passes to `inject`; behind `stuck-` if it is to get stuck.
static FAULTY: LazyLock<Option<String>> = LazyLock::new(|| env::var("ROOMCAST_FAULT").ok());

/// Panics if `ROOMCAST_FAULT` names this kind of task, and blocks its thread for ever if it says that it is stuck.
pub fn inject(task: &str) {
    if cfg!(debug_assertions)
        && let Some(fault) = FAULTY.as_deref()
    {
        assert!(fault != task, "a fault was put into this task: {task}");
        while fault.strip_prefix("stuck-") == Some(task) {
            thread::park();
        }
    }
}
