//! A descriptor table of its own for a worker, so that a process holds as many sockets per worker as the system allows
//! one process: 50 000 clients on a machine with 20 000 descriptors per process. Never moves a descriptor to another
//! thread.

use std::io;

use rustix::thread::{UnshareFlags, unshare_unsafe};
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// The right of one worker to a table of its own, to be used once its runtime is built.
#[derive(Debug)]
pub struct DescriptorTable {
    runtimes: TaskTracker,
    building: TaskTrackerToken,
}

impl DescriptorTable {
    /// One for each worker.
    pub fn for_each(workers: u16) -> Vec<Self> {
        let runtimes = TaskTracker::new();
        runtimes.close();
        (0..workers).map(|_| Self { building: runtimes.token(), runtimes: runtimes.clone() }).collect()
    }

    /// Waits until every worker has its runtime or has given up, then gives the current thread a copy of the table that
    /// all shared. To be called on the worker's own runtime, before it has a client.
    ///
    /// # Errors
    /// The system refuses, as the seccomp profile of a container may.
    pub async fn unshare(self) -> io::Result<()> {
        let Self { runtimes, building } = self;
        drop(building);
        // Workers wake each other through descriptors of their runtimes, which every table must have.
        runtimes.wait().await;
        unshare_descriptors()
    }
}

#[allow(unsafe_code)]
fn unshare_descriptors() -> io::Result<()> {
    // SAFETY: no thread uses a descriptor of another thread's table. Descriptors that were open before (runtimes,
    // listeners, standard streams) have the same number in every table; each has one owner, which closes it in one
    // table, so no other table gives its number to another file. Descriptors that this thread opens from here on are
    // clients, held only by tasks of its `LocalRuntime`, which never leave the thread.
    let unshared = unsafe { unshare_unsafe(UnshareFlags::FILES) };
    unshared.map_err(|error| {
        let rule = "the system must allow unshare(CLONE_FILES), or --descriptor-tables be shared";
        let error = io::Error::from(error);
        io::Error::new(error.kind(), format!("no descriptor table of its own: {error}: {rule}"))
    })
}
