//! The newest samples, one a second: the curves of the dashboard. Columns in JSON, since a page draws columns.

use std::collections::VecDeque;

use serde::ser::{Serialize, SerializeMap, Serializer};

/// Samples that are kept: ten minutes.
pub const SAMPLES_MAX: usize = 600;

/// What one second was like.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Sample {
    /// When it ended, in Unix seconds.
    pub at: u64,
    pub clients: u64,
    /// Rooms that have members.
    pub rooms: u64,
    /// Publications per second.
    pub published: f64,
    /// Deliveries per second.
    pub delivered: f64,
    /// The time in seconds that half of the deliveries took at most; `None` if there were none.
    pub p50: Option<f64>,
    /// The time in seconds that 99 % of the deliveries took at most.
    pub p99: Option<f64>,
    pub pending_bytes: u64,
    pub memory_bytes: u64,
    /// The load of the busiest worker, from 0 to 1; `None` where it is unknown.
    pub load: Option<f64>,
    /// Clients that were cut, since they were too slow.
    pub cut: u64,
}

/// The newest samples, oldest first.
#[derive(Clone, Debug, Default)]
pub(super) struct Samples {
    ring: VecDeque<Sample>,
    /// The number of the newest sample. They are numbered without holes.
    newest: u64,
}

impl Samples {
    /// No samples. The first one gets the number behind this. The Unix time in seconds does well: a server that starts
    /// later then begins above every number of the one before, so that a page which still asks with such a number gets
    /// all that there is.
    pub fn numbered_from(number: u64) -> Self {
        Self { ring: VecDeque::new(), newest: number }
    }

    pub fn push(&mut self, sample: Sample) {
        if self.ring.len() == SAMPLES_MAX {
            self.ring.pop_front();
        }
        self.ring.push_back(sample);
        self.newest += 1;
    }

    pub fn len(&self) -> usize {
        self.ring.len()
    }

    /// The newest samples first.
    pub fn newest_first(&self) -> impl Iterator<Item = &Sample> {
        self.ring.iter().rev()
    }

    /// The samples behind a number, or all of them, if that one is not among those which are kept.
    pub fn since(&self, since: Option<u64>) -> Columns<'_> {
        let first = since.and_then(|since| self.index_behind(since)).unwrap_or_default();
        Columns { samples: self, first }
    }

    /// The index of the sample behind a number; `None` if one of those between is not kept.
    pub fn index_behind(&self, number: u64) -> Option<usize> {
        let behind = usize::try_from(self.newest.checked_sub(number)?).ok()?;
        self.ring.len().checked_sub(behind)
    }
}

/// Samples in JSON: one array for each figure.
pub(super) struct Columns<'a> {
    samples: &'a Samples,
    /// The index of the first sample.
    first: usize,
}

impl Columns<'_> {
    fn column<T: Serialize>(&self, figure: fn(&Sample) -> T) -> Column<'_, T> {
        Column { samples: self, figure }
    }
}

impl Serialize for Columns<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("next", &self.samples.newest)?;
        map.serialize_entry("at", &self.column(|sample| sample.at))?;
        map.serialize_entry("clients", &self.column(|sample| sample.clients))?;
        map.serialize_entry("rooms", &self.column(|sample| sample.rooms))?;
        map.serialize_entry("published", &self.column(|sample| sample.published))?;
        map.serialize_entry("delivered", &self.column(|sample| sample.delivered))?;
        map.serialize_entry("p50", &self.column(|sample| sample.p50))?;
        map.serialize_entry("p99", &self.column(|sample| sample.p99))?;
        map.serialize_entry("pending_bytes", &self.column(|sample| sample.pending_bytes))?;
        map.serialize_entry("memory_bytes", &self.column(|sample| sample.memory_bytes))?;
        map.serialize_entry("load", &self.column(|sample| sample.load))?;
        map.serialize_entry("cut", &self.column(|sample| sample.cut))?;
        map.end()
    }
}

/// One figure of all samples.
struct Column<'a, T> {
    samples: &'a Columns<'a>,
    figure: fn(&Sample) -> T,
}

impl<T: Serialize> Serialize for Column<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Columns { samples, first } = self.samples;
        serializer.collect_seq(samples.ring.range(first..).map(self.figure))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: u64 = 1_000;

    fn samples(count: u64) -> Samples {
        let mut samples = Samples::numbered_from(START);
        (1..=count).for_each(|number| samples.push(Sample { at: START + number, ..Sample::default() }));
        samples
    }

    #[test]
    fn a_page_gets_the_samples_behind_its_newest_one_or_all_that_there_are() {
        let max = SAMPLES_MAX as u64;
        for (count, since, first) in [
            (0, None, 1),
            (3, None, 1),
            (3, Some(START), 1),
            (3, Some(START + 1), 2),
            (3, Some(START + 3), 4),
            // Of a server that was there before: it counts from an earlier time, or from a later one, if the clock was
            // set back.
            (3, Some(START - 1), 1),
            (3, Some(0), 1),
            (3, Some(START + 4), 1),
            (3, Some(u64::MAX), 1),
            (max + 5, None, 6),
            (max + 5, Some(START + 5), 6),
            (max + 5, Some(START + 4), 6),
            (max + 5, Some(START + 6), 7),
        ] {
            let samples = samples(count);
            let json = serde_json::to_value(samples.since(since)).unwrap();
            let expected: Vec<u64> = (first..=count).map(|number| START + number).collect();
            assert_eq!(json["at"], serde_json::json!(expected), "{since:?} of {count}");
            assert_eq!(json["next"], START + count);
        }
    }

    #[test]
    fn every_column_has_as_many_figures_and_what_is_unknown_is_null() {
        let json = serde_json::to_value(samples(2).since(None)).unwrap();
        let columns = json.as_object().unwrap();
        assert_eq!(columns.len(), 12);
        assert!(columns.iter().all(|(name, column)| name == "next" || column.as_array().unwrap().len() == 2), "{json}");
        assert_eq!((&json["p99"][0], &json["load"][0]), (&serde_json::Value::Null, &serde_json::Value::Null));
    }
}
