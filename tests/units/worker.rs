//! Each worker has a descriptor table of its own.

use std::fs::{File, read_link};
use std::os::fd::AsRawFd;
use std::pin::pin;

use futures_util::FutureExt;
use roomcast::worker::DescriptorTable;

#[tokio::test]
async fn a_worker_has_a_descriptor_table_of_its_own_once_all_workers_are_ready_or_gone() {
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
