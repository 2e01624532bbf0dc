//! Builds the report of a load.

use std::fs;
use std::time::Duration;

use procfs::{CpuInfo, Current};

use super::merge::{Merged, MergedReconnects};
use super::server::ServerUsage;
use super::{Generator, Measurement, Run};
use crate::assignment::{Assignment, RoomGroup};
use crate::bare::BareLoop;
use crate::latency::{Latencies, Quantiles};
use crate::report::{GeneratorReport, GroupReport, Host, Report};
use crate::workload::Pace;

impl Run<'_> {
    /// Ends the worker processes and builds the report.
    pub(super) fn report(self, command: &str, began: String) -> anyhow::Result<Measurement> {
        let rooms = self.group_report(RoomGroup::Rooms).unwrap_or_default();
        let giant = self.group_report(RoomGroup::Giant);
        let deliveries = rooms.tally.received + giant.as_ref().map_or(0, |giant| giant.tally.received);
        let connected = self.connects.connected;
        let mut report = Report {
            command: command.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            began,
            host: Host::of_this_machine(),
            targets: self.workload.targets.iter().map(|weighted| weighted.target.to_string()).collect(),
            workload: self.workload.clone(),
            connects: self.connects,
            rooms,
            giant,
            server: self.server.as_ref().map(|server: &ServerUsage| server.report(connected, deliveries)),
            generator: self.generator.report(self.processes.len(), self.groups.values(), deliveries),
            timeline: self.timeline.samples,
            interrupted: self.interrupted,
            faults: Vec::new(),
        };
        report.faults = report.find_faults();
        if self.server_is_gone {
            report.faults.insert(0, "the server's process ended under the load".to_owned());
        }
        self.processes.end()?;
        self.bare.map_or(Ok(()), BareLoop::end)?;
        Ok(Measurement { report, latencies: self.timeline.all })
    }

    fn group_report(&self, group: RoomGroup) -> Option<GroupReport> {
        let merged = self.groups.get(&group)?;
        let assignments = || self.assignments.iter().filter(move |assignment| assignment.group == group);
        let first = assignments().next()?;
        let offered = match first.pace {
            Pace::Rate(rate) => Some(rate),
            Pace::InFlight(_) => None,
        };
        let measured = self.measured_for();
        Some(GroupReport {
            rooms: first.rooms_in_group,
            members: assignments().map(Assignment::members).sum(),
            offered,
            achieved: per_second(merged.tally.published + self.published_by_bare_loop, self.sent_for),
            deliveries: per_second(merged.tally.received_in_time, measured),
            expected: merged.tally.received + merged.tally.lost,
            tally: merged.tally,
            disconnected: merged.disconnected.clone(),
            refused: merged.refused.clone(),
            reconnects: merged.reconnects.as_ref().map(MergedReconnects::report),
            latency: merged.latencies.quantiles(),
            curve: merged.latencies.curve(),
            spread: merged.spreads.quantiles(),
            answers: merged.answers.quantiles(),
            unaccepted: merged.unaccepted.quantiles(),
        })
    }

    /// The measured time, which Ctrl-C may have cut short.
    fn measured_for(&self) -> Duration {
        self.sent_for.saturating_sub(self.workload.settings.warmup).min(self.workload.settings.duration)
    }
}

impl Generator {
    fn report<'a>(
        &self,
        processes: usize,
        groups: impl Iterator<Item = &'a Merged>,
        deliveries: u64,
    ) -> GeneratorReport {
        let mut lags = Latencies::default();
        let mut worst_lag = Quantiles::default();
        let (mut reads, mut bytes) = (0, 0);
        for group in groups {
            lags.add(&group.lags.counts());
            let lag = group.lags.quantiles();
            worst_lag = if lag.p99 > worst_lag.p99 { lag } else { worst_lag };
            reads += group.tally.reads;
            bytes += group.tally.bytes;
        }
        let mut report = GeneratorReport {
            processes,
            nanos_per_delivery: self.processor_nanos as f64 / deliveries.max(1) as f64,
            busy: self.busy,
            deliveries_per_read: deliveries as f64 / reads.max(1) as f64,
            bytes_per_delivery: bytes as f64 / deliveries.max(1) as f64,
            lag: lags.quantiles(),
            limited: None,
        };
        report.limited = report.find_faults(&worst_lag);
        report
    }
}

impl Host {
    fn of_this_machine() -> Self {
        let processor = CpuInfo::current().ok();
        let name = processor.as_ref().and_then(|processor| processor.model_name(0)).unwrap_or("unknown processor");
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let cores = processor.as_ref().map_or(0, CpuInfo::num_cores);
        Self { processor: name.to_owned(), cores, kernel: kernel.trim_end().to_owned() }
    }
}

fn per_second(count: u64, time: Duration) -> f64 {
    if time.is_zero() { 0.0 } else { count as f64 / time.as_secs_f64() }
}
