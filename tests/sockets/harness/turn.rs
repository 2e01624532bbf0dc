//! What all tests of this process share: its descriptors. A test with thousands of clients waits for its turn.

use std::sync::LazyLock;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Holds one message while a test has its turn.
static TURNS: LazyLock<(flume::Sender<()>, flume::Receiver<()>)> = LazyLock::new(|| flume::bounded(1));

/// A turn, until dropped.
pub struct Turn(());

impl Turn {
    /// Waits for it.
    pub fn take() -> Self {
        raise_descriptor_limit();
        TURNS.0.send(()).expect("both ends are static");
        Self(())
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        TURNS.1.recv().expect("both ends are static");
    }
}

/// To the hard limit.
fn raise_descriptor_limit() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: maximum, maximum };
    setrlimit(Resource::Nofile, raised).expect("up to the hard limit it is allowed");
}
