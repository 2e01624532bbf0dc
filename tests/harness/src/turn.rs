//! Tests that take turns: those with thousands of clients share the descriptors of the process, others the processor.

use std::sync::LazyLock;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Holds one message while a test has its turn. (Locks are not allowed here either.)
static TURNS: LazyLock<(flume::Sender<()>, flume::Receiver<()>)> = LazyLock::new(|| flume::bounded(1));

/// The turn of one test, until dropped.
pub struct Turn(());

impl Turn {
    /// Waits for the turn, and raises the limit of descriptors to the hard limit.
    pub fn take() -> Self {
        let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
        let raised = Rlimit { current: maximum, maximum };
        setrlimit(Resource::Nofile, raised).expect("a process may raise its limit to the hard limit");
        TURNS.0.send(()).expect("both ends are static");
        Self(())
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        TURNS.1.recv().expect("both ends are static");
    }
}
