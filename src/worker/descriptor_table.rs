//! A descriptor table of its own for a worker, so that a process holds as many sockets per worker as the system allows one
//! process. Never closes or opens anything; never moves a descriptor to another thread.

use std::io;

use rustix::thread::{UnshareFlags, unshare_unsafe};
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// A worker's right to a table of its own, to be used once its runtime is built.
#[derive(Debug)]
pub struct DescriptorTable {
    runtimes: TaskTracker,
    building: TaskTrackerToken,
}

impl DescriptorTable {
    /// One for each of so many workers.
    pub fn for_each(workers: u16) -> Vec<Self> {
        let runtimes = TaskTracker::new();
        runtimes.close();
        (0..workers).map(|_| Self { building: runtimes.token(), runtimes: runtimes.clone() }).collect()
    }

    /// Waits until every worker has its runtime or has given up, then gives the thread that runs this a copy of the table
    /// that all shared. To be called on the worker's own runtime, before it has a client.
    ///
    /// # Errors
    /// The system refuses, as a container's seccomp profile may.
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
    // SAFETY: no thread meets a descriptor of another's table. What was open before (runtimes, listeners, standard streams)
    // has the same number in every table; it has one owner, who closes it in one of them, so in no other is its number ever
    // given to something else. What this thread opens from here on are clients, held by tasks of its `LocalRuntime` alone,
    // which never leave it.
    let unshared = unsafe { unshare_unsafe(UnshareFlags::FILES) };
    unshared.map_err(|error| {
        let rule = "the system must allow unshare(CLONE_FILES), or --descriptor-tables be shared";
        let error = io::Error::from(error);
        io::Error::new(error.kind(), format!("no descriptor table of its own: {error}: {rule}"))
    })
}

#[cfg(test)]
mod tests {
    use std::fs::{File, read_link};
    use std::os::fd::AsRawFd;
    use std::pin::pin;

    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn who_has_split_off_opens_what_no_other_table_holds_but_not_before_all_are_ready_or_gone() {
        let mut tables = DescriptorTable::for_each(2);
        let other = tables.pop();
        let mut split = pin!(tables.remove(0).unshare());
        assert!(split.as_mut().now_or_never().is_none());
        drop(other);
        split.await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().canonicalize().unwrap().join("own");
        let file = File::create(&path).unwrap();
        let opened = |table: &str| read_link(format!("/proc/{table}/fd/{}", file.as_raw_fd())).ok();
        assert_eq!(opened("thread-self"), Some(path.clone()));
        assert_ne!(opened("self"), Some(path));
    }
}
