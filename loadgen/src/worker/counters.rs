//! What one process counts during the load.

use std::time::Duration;

use crate::latency::Latencies;
use crate::messages::WorkerResult;

/// What is counted during the load.
#[derive(Default)]
pub struct Counters {
    pub result: WorkerResult,
    /// Latencies of measured deliveries since the last progress report.
    pub latencies: Latencies,
    pub lags: Latencies,
    /// Time from when a measured message was due until the answer to its publish.
    pub answers: Latencies,
    /// Deliveries at the last progress report.
    pub received_before: u64,
    pub clients: u32,
    /// Processor time when the load began.
    pub processor_before: Duration,
}
