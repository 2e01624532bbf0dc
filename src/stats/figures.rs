//! From totals to figures: the recorder keeps what is compared with later moments, and each second makes what HTTP
//! encodes.

use std::time::Duration;

use serde::ser::{Serialize, Serializer};
use strum::VariantArray;

use super::lately::Lately;
use super::samples::{Columns, Sample, Samples};
use super::verdict::{DELIVERIES_SECONDS, LOAD_SAMPLES, Signs, Verdict};
use super::{ClusterFigures, Dropped, Limits, Moment, Totals, rounded};
use crate::protocol::dialect::Transport;
use crate::protocol::disconnect::Disconnect;
use crate::protocol::names::RoomName;

/// An answer with more samples than this is made once for everybody.
const SAMPLES_FEW: usize = 60;

/// The figures of a server, as of its newest sample. Their names in JSON are those of the fields.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Stats {
    /// In milliseconds since 1970-01-01 UTC.
    now: u64,
    /// In seconds since the server started.
    uptime: u64,
    verdict: Verdict,
    clients: ClientFigures,
    rooms: u64,
    published: u64,
    delivered: u64,
    dropped: Dropped,
    refused: u64,
    pending_bytes: u64,
    held_bytes: u64,
    outbox_budget: u64,
    history_bytes: u64,
    history_budget: u64,
    memory_bytes: u64,
    ended: Vec<EndFigures>,
    top_rooms: TopRooms,
    /// Empty while the server stops.
    workers: Vec<WorkerFigures>,
    /// Left out where the server is alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<ClusterFigures>,
    #[serde(skip)]
    samples: Samples,
}

#[derive(Clone, Debug, Default, serde::Serialize)]
struct ClientFigures {
    now: u64,
    max: u64,
    #[serde(serialize_with = "by_transport")]
    by_transport: [u64; Transport::VARIANTS.len()],
    http_connections: u64,
}

/// Clients that have ended in one way.
#[derive(Clone, Debug, serde::Serialize)]
struct EndFigures {
    transport: &'static str,
    reason: &'static str,
    total: u64,
    /// In the last minute.
    lately: u64,
}

#[derive(Clone, Debug, serde::Serialize)]
struct WorkerFigures {
    /// From 0 to 1.
    load: f64,
    clients: u64,
}

/// The busiest rooms of a server.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct TopRooms {
    /// Those with the most members, most first.
    pub by_members: Vec<BusyRoom>,
    /// Those with the most publications per second, most first.
    pub by_rate: Vec<BusyRoom>,
}

/// One of the busiest rooms.
#[derive(Clone, Debug, PartialEq)]
pub struct BusyRoom {
    /// The room.
    pub room: RoomName,
    /// Its members.
    pub members: usize,
    /// Its publications per second.
    pub rate: f64,
}

impl Serialize for BusyRoom {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(serde::Serialize)]
        struct InJson<'a> {
            room: &'a str,
            members: usize,
            rate: f64,
        }
        let Self { room, members, rate } = self;
        InJson { room: room.as_str(), members: *members, rate: rounded(*rate, 2) }.serialize(serializer)
    }
}

/// The whole answer to a page.
#[derive(serde::Serialize)]
struct Answer<'a> {
    version: &'static str,
    node: &'a str,
    #[serde(flatten)]
    stats: &'a Stats,
    samples: Columns<'a>,
}

impl Stats {
    /// Whether few samples are behind this number, and all of them are kept.
    pub fn has_few_behind(&self, number: u64) -> bool {
        self.samples.index_behind(number).is_some_and(|index| self.samples.len() - index <= SAMPLES_FEW)
    }

    /// The figures in JSON, with the samples behind a number, or all of them, if that one is not among those that are
    /// kept. All of them are 40 KiB and take 0.2 ms.
    ///
    /// # Panics
    /// Never: all keys are strings.
    pub fn to_json(&self, node: &str, since: Option<u64>) -> Vec<u8> {
        let answer =
            Answer { version: env!("CARGO_PKG_VERSION"), node, stats: self, samples: self.samples.since(since) };
        serde_json::to_vec(&answer).expect("all keys are strings")
    }
}

/// Makes figures out of the totals of each second.
#[derive(Debug)]
pub struct Recorder {
    limits: Limits,
    lately: Lately,
    samples: Samples,
}

impl Recorder {
    /// A recorder without a past, for a server that starts at this time.
    pub fn new(limits: Limits, unix_seconds: u64) -> Self {
        Self { limits, lately: Lately::default(), samples: Samples::numbered_from(unix_seconds) }
    }

    /// Records a moment, which is a sample unless it is the first.
    pub fn record(&mut self, totals: Totals, moment: &Moment, top_rooms: TopRooms) -> Stats {
        if let Some(before) = self.lately.newest() {
            self.samples.push(sample(before, &totals, moment));
        }
        self.lately.push(totals);
        let totals = self.lately.newest().expect("one was pushed");
        let workers = moment.loads.iter().zip(&totals.clients_by_worker);
        Stats {
            now: moment.unix_millis,
            uptime: moment.uptime,
            verdict: self.signs(totals, moment).verdict(),
            clients: ClientFigures {
                now: totals.clients(),
                max: self.limits.clients_max,
                by_transport: totals.clients,
                http_connections: totals.http_connections,
            },
            rooms: totals.rooms,
            published: totals.published,
            delivered: totals.delivered,
            dropped: totals.dropped,
            refused: totals.refused.sum(),
            pending_bytes: totals.pending_bytes,
            held_bytes: totals.held_bytes,
            outbox_budget: self.limits.outbox_budget,
            history_bytes: totals.history_bytes,
            history_budget: self.limits.history_budget,
            memory_bytes: moment.memory_bytes,
            ended: self.ended(totals),
            top_rooms,
            workers: workers.map(|(&load, &clients)| WorkerFigures { load: rounded(load, 3), clients }).collect(),
            cluster: totals.cluster,
            samples: self.samples.clone(),
        }
    }

    fn ended(&self, totals: &Totals) -> Vec<EndFigures> {
        let pairs = Transport::VARIANTS
            .iter()
            .flat_map(|&transport| Disconnect::VARIANTS.iter().map(move |&end| (transport, end)));
        let ends = pairs.map(|(transport, reason)| EndFigures {
            transport: transport.word(),
            reason: reason.reason(),
            total: totals.ended[transport as usize][reason as usize],
            lately: self.lately.ended(transport, reason),
        });
        let mut ended: Vec<EndFigures> = ends.filter(|end| end.total > 0).collect();
        ended.sort_by_key(|end| std::cmp::Reverse(end.total));
        ended
    }

    fn signs(&self, totals: &Totals, moment: &Moment) -> Signs {
        let loads = self.samples.newest_first().take(LOAD_SAMPLES).map(|sample| sample.load);
        let loads: Vec<f64> = loads.flatten().collect();
        let not_after = i64::try_from(totals.certificate_not_after).unwrap_or(i64::MAX);
        Signs {
            clients: totals.clients(),
            http_connections: totals.http_connections,
            clients_max: self.limits.clients_max,
            load: (loads.len() == LOAD_SAMPLES).then(|| loads.into_iter().fold(1.0, f64::min)),
            p99: self.lately.written(DELIVERIES_SECONDS).percentile(0.99),
            cut: self.lately.rise(Totals::cut),
            refused: self.lately.refused(),
            held_bytes: totals.held_bytes,
            outbox_budget: self.limits.outbox_budget,
            is_draining: moment.is_draining,
            certificate_ends_in: (not_after > 0).then(|| not_after - (moment.unix_millis / 1_000).cast_signed()),
            hooks: self.lately.unanswered(),
            log_lines_dropped: self.lately.rise(|totals| totals.log_lines_dropped),
            cluster: totals.cluster,
        }
    }
}

/// What the time between two moments was like.
fn sample(before: &Totals, after: &Totals, moment: &Moment) -> Sample {
    let per_second =
        |count: fn(&Totals) -> u64| rounded(count(after).saturating_sub(count(before)) as f64 / moment.seconds, 1);
    let written = after.written.since(&before.written);
    let within = |share| written.percentile(share).map(|time: Duration| rounded(time.as_secs_f64(), 6));
    Sample {
        at: moment.unix_millis / 1_000,
        clients: after.clients(),
        rooms: after.rooms,
        published: per_second(|totals| totals.published),
        delivered: per_second(|totals| totals.delivered),
        p50: within(0.5),
        p99: within(0.99),
        pending_bytes: after.pending_bytes,
        memory_bytes: moment.memory_bytes,
        load: moment.loads.iter().copied().reduce(f64::max).map(|load| rounded(load, 3)),
        cut: after.cut().saturating_sub(before.cut()),
    }
}

fn by_transport<S: Serializer>(clients: &[u64; Transport::VARIANTS.len()], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(Transport::VARIANTS.iter().map(|transport| transport.word()).zip(clients))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::metrics::{BucketCounts, Histogram};

    fn record(recorder: &mut Recorder, totals: Totals, loads: &[f64], second: u64) -> Value {
        let moment = Moment {
            unix_millis: 1_000 * (1_700_000_000 + second),
            uptime: second,
            seconds: 2.0,
            loads: loads.to_vec(),
            memory_bytes: 34_000_000,
            is_draining: false,
        };
        let stats = recorder.record(totals, &moment, TopRooms::default());
        serde_json::from_slice(&stats.to_json("host", None)).unwrap()
    }

    #[test]
    fn the_first_moment_is_no_sample_and_the_second_has_the_rates_between_both() {
        let limits = Limits { clients_max: 10, outbox_budget: 1 << 20, history_budget: 2 << 20, ..Limits::default() };
        let mut recorder = Recorder::new(limits, 1_700_000_000);
        let histogram = Histogram::default();
        let first = record(&mut recorder, Totals { published: 7, ..Totals::default() }, &[], 0);
        assert_eq!((&first["published"], &first["samples"]["published"]), (&json!(7), &json!([])));
        assert_eq!(first["samples"]["next"], 1_700_000_000);
        histogram.record(Duration::from_micros(60), 100);
        let mut totals = Totals {
            clients: [2, 1, 0, 0],
            clients_by_worker: vec![1, 2],
            published: 10,
            delivered: 30,
            written: BucketCounts::of([&histogram].into_iter()),
            ..Totals::default()
        };
        totals.ended[Transport::WebSocket as usize][Disconnect::SlowConsumer as usize] = 2;
        totals.ended[Transport::Tcp as usize][Disconnect::Quit as usize] = 1;
        let second = record(&mut recorder, totals, &[0.25, 0.123456], 2);
        assert_eq!(second["clients"]["now"], 3);
        assert_eq!(second["clients"]["by_transport"], json!({"tcp": 2, "websocket": 1, "http_stream": 0, "sse": 0}));
        assert_eq!(second["workers"], json!([{"load": 0.25, "clients": 1}, {"load": 0.123, "clients": 2}]));
        let ended = json!([
            {"transport": "websocket", "reason": "slow-consumer", "total": 2, "lately": 2},
            {"transport": "tcp", "reason": "quit", "total": 1, "lately": 1},
        ]);
        assert_eq!(second["ended"], ended);
        let samples = json!({
            "next": 1_700_000_001_u64, "at": [1_700_000_002], "clients": [3], "rooms": [0],
            "published": [1.5], "delivered": [15.0],
            "p50": [0.000075], "p99": [0.0001], "pending_bytes": [0], "memory_bytes": [34_000_000], "load": [0.25],
            "cut": [2],
        });
        assert_eq!(second["samples"], samples);
        assert_eq!(second["verdict"]["level"], "warning", "clients were cut");
    }

    #[test]
    fn a_page_that_is_up_to_date_gets_an_answer_of_its_own_and_others_that_of_all() {
        let mut recorder = Recorder::new(Limits::default(), 1_000);
        let mut newest = Stats::default();
        for second in 0..=70 {
            let moment = Moment { unix_millis: 1_000 * (2_000 + second), seconds: 1.0, ..Moment::default() };
            newest = recorder.record(Totals::default(), &moment, TopRooms::default());
        }
        let few = [1_070, 1_010].map(|number| newest.has_few_behind(number));
        let many = [1_009, 1_000, 999, 1_071].map(|number| newest.has_few_behind(number));
        assert_eq!((few, many), ([true; 2], [false; 4]));
    }

    #[test]
    fn a_worker_must_be_busy_for_several_samples_before_the_verdict_says_so() {
        let mut recorder = Recorder::new(Limits::default(), 0);
        let mut level = |load| record(&mut recorder, Totals::default(), &[0.1, load], 0)["verdict"]["level"].clone();
        assert_eq!([1.0, 1.0, 1.0, 1.0, 1.0, 1.0].map(&mut level), ["ok", "ok", "ok", "ok", "ok", "critical"]);
        assert_eq!([0.9, 0.9, 0.5, 1.0].map(&mut level), ["warning", "warning", "ok", "ok"]);
    }

    #[test]
    fn the_names_of_rooms_are_escaped() {
        let room = RoomName::parse("\"</script>\\").unwrap();
        let busy = BusyRoom { room, members: 3, rate: 1.256 };
        assert_eq!(serde_json::to_string(&busy).unwrap(), r#"{"room":"\"</script>\\","members":3,"rate":1.26}"#);
    }
}
