//! Whether all is well, and if not, what an operator should know, in sentences with figures. A pure function of what
//! was counted and measured; each threshold is a constant here.

use std::time::Duration;

use serde::Serialize;

use super::phrases::{Shown, count, grouped, percent, was};
use super::{ClusterFigures, ClusterState, Refused, Unanswered};

/// Samples, one a second, through which a worker must have been busy.
pub(super) const LOAD_SAMPLES: usize = 5;

/// The share of the time for which a worker is busy, from 0 to 1, above which bursts must wait for each other.
const LOAD_HIGH: f64 = 0.8;

/// The share of the time above which a worker has no reserve left.
const LOAD_CRITICAL: f64 = 0.95;

/// Seconds over which the times of deliveries are looked at.
pub(super) const DELIVERIES_SECONDS: usize = 10;

/// The time of 99 % of the deliveries above which people notice that their words are late.
const P99_HIGH: Duration = Duration::from_millis(100);

/// The time of 99 % of the deliveries above which people do not wait for an answer any more.
const P99_CRITICAL: Duration = Duration::from_secs(1);

/// Slow consumers that were cut within a minute, as a share of the clients that are connected, above which the fault is
/// probably not theirs.
const CUT_CRITICAL: f64 = 0.05;

/// Fewer slow consumers than this say nothing of the server, however few clients it has.
const CUT_CRITICAL_MIN: u64 = 10;

/// The share of `outbox-budget` that is in use.
const OUTBOX_HIGH: f64 = 0.5;

/// The share of `outbox-budget` above which clients will soon be cut.
const OUTBOX_CRITICAL: f64 = 0.9;

/// The share of the connection limit that is in use.
const CLIENTS_HIGH: f64 = 0.9;

/// Seconds of a day.
const DAY: i64 = 24 * 60 * 60;

/// Seconds before the end of the certificate within which somebody should replace it.
const CERTIFICATE_ENDS_SOON: i64 = 14 * DAY;

/// How well a server is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// All is well.
    #[default]
    Ok,
    /// Clients do not suffer yet, or few of them do.
    Warning,
    /// Clients suffer.
    Critical,
}

/// How well a server is, and why it is said to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// The worst of what the sentences say.
    pub level: Level,
    /// At least one, the worst first.
    pub sentences: Vec<String>,
}

impl Default for Verdict {
    /// That of a server of which nothing is known yet.
    fn default() -> Self {
        Self { level: Level::Ok, sentences: vec!["The server is starting.".to_owned()] }
    }
}

/// What the verdict is about.
#[derive(Clone, Debug, Default)]
pub(super) struct Signs {
    pub clients: u64,
    /// Connections that are no clients, and have a place as well.
    pub http_connections: u64,
    pub clients_max: u64,
    /// The lowest load of the busiest worker in the last [`LOAD_SAMPLES`], from 0 to 1.
    pub load: Option<f64>,
    /// The time within which 99 % of the deliveries of the last [`DELIVERIES_SECONDS`] were made.
    pub p99: Option<Duration>,
    /// Slow consumers that were cut in the last minute.
    pub cut: u64,
    /// Who was turned away in the last minute.
    pub refused: Refused,
    pub held_bytes: u64,
    pub outbox_budget: u64,
    pub is_draining: bool,
    /// Seconds until the certificate ends; `None` without TLS.
    pub certificate_ends_in: Option<i64>,
    /// Questions of the last minute.
    pub hooks: Unanswered,
    /// Log lines that were lost in the last minute.
    pub log_lines_dropped: u64,
    /// `None` where the server is alone.
    pub cluster: Option<ClusterFigures>,
}

impl Signs {
    pub fn verdict(&self) -> Verdict {
        let mut found: Vec<(Level, String)> = [
            self.places(),
            self.descriptors(),
            self.certificate(),
            self.cluster(),
            self.application(),
            self.load(),
            self.deliveries(),
            self.slow_consumers(),
            self.outboxes(),
            self.drain(),
            self.log(),
        ]
        .into_iter()
        .flatten()
        .collect();
        // Stable: what is equally bad stays in the order above.
        found.sort_by_key(|(level, _)| std::cmp::Reverse(*level));
        match found.first() {
            None => Verdict { level: Level::Ok, sentences: vec![self.all_is_well()] },
            Some((level, _)) => {
                Verdict { level: *level, sentences: found.into_iter().map(|(_, sentence)| sentence).collect() }
            }
        }
    }

    fn all_is_well(&self) -> String {
        let deliveries = match self.p99 {
            Some(p99) => format!("99 % of deliveries within {}", Shown(p99)),
            None => format!("nothing to deliver in the last {DELIVERIES_SECONDS} seconds"),
        };
        format!("All is well: {}, {deliveries}, nobody is cut.", count(self.clients, "client"))
    }

    fn places(&self) -> Option<(Level, String)> {
        let (places, max) = (self.clients + self.http_connections, grouped(self.clients_max));
        let taken = match self.http_connections {
            0 => count(self.clients, "client"),
            http => format!("{} and {}", count(self.clients, "client"), count(http, "HTTP connection")),
        };
        if self.refused.full > 0 {
            let refused = count(self.refused.full, "connection");
            let text = format!(
                "The server is full: {refused} {} refused in the last minute. It has {taken}, and places for {max}: raise \
                 max-clients or the limit of descriptors, or add a server.",
                was(self.refused.full)
            );
            return Some((Level::Critical, text));
        }
        let is_high = places as f64 > CLIENTS_HIGH * self.clients_max as f64;
        is_high.then(|| {
            let text = format!(
                "The server is nearly full: it has {taken}, and places for {max}. Raise max-clients or the limit of \
                 descriptors, or add a server, before clients are refused."
            );
            (Level::Warning, text)
        })
    }

    fn descriptors(&self) -> Option<(Level, String)> {
        let refused = self.refused.descriptors;
        (refused > 0).then(|| {
            let text = format!(
                "{} {} refused in the last minute for want of file descriptors, which something else in the process \
                 holds.",
                count(refused, "connection"),
                was(refused)
            );
            (Level::Critical, text)
        })
    }

    fn certificate(&self) -> Option<(Level, String)> {
        let ends_in = self.certificate_ends_in?;
        if ends_in <= 0 {
            let text = "The TLS certificate has ended: clients refuse to connect. Replace its files and send SIGHUP.";
            return Some((Level::Critical, text.to_owned()));
        }
        (ends_in < CERTIFICATE_ENDS_SOON).then(|| {
            let left = match ends_in / DAY {
                0 => "less than a day".to_owned(),
                days => count(days.unsigned_abs(), "day"),
            };
            (Level::Warning, format!("The TLS certificate ends in {left}: replace its files and send SIGHUP."))
        })
    }

    fn cluster(&self) -> Option<(Level, String)> {
        let ClusterFigures { state, lag_messages, .. } = self.cluster?;
        match state {
            ClusterState::Following => None,
            ClusterState::CatchingUp => {
                let behind = count(lag_messages, "message");
                let text = format!("The node is catching up with its cluster: the stream has {behind} more.");
                Some((Level::Warning, text))
            }
            ClusterState::Unavailable => {
                let text = "NATS is unavailable: publishes are refused, and this node knows of no other. Look at NATS.";
                Some((Level::Critical, text.to_owned()))
            }
        }
    }

    fn application(&self) -> Option<(Level, String)> {
        let Unanswered { failed, circuit_open } = self.hooks;
        let unanswered = count(failed + circuit_open, "question");
        if circuit_open > 0 {
            let text = format!(
                "The application has failed so often that hooks do not ask it for some seconds after each failure: {unanswered} had \
                 no answer in the last minute."
            );
            return Some((Level::Critical, text));
        }
        (failed > 0).then(|| {
            let text = format!("The application has not answered {unanswered} of hooks in the last minute.");
            (Level::Warning, text)
        })
    }

    fn load(&self) -> Option<(Level, String)> {
        let load = self.load.filter(|&load| load > LOAD_HIGH)?;
        let level = if load > LOAD_CRITICAL { Level::Critical } else { Level::Warning };
        let consequence = match level {
            Level::Critical => "messages wait for it",
            _ => "it has little in reserve for bursts",
        };
        let text = format!(
            "The busiest worker was busy for {} of each of the last {LOAD_SAMPLES} seconds or more: {consequence}. \
             More workers on more cores would help, or fewer messages.",
            percent(load)
        );
        Some((level, text))
    }

    fn deliveries(&self) -> Option<(Level, String)> {
        let p99 = self.p99.filter(|&p99| p99 > P99_HIGH)?;
        let level = if p99 > P99_CRITICAL { Level::Critical } else { Level::Warning };
        let text =
            format!("1 % of the deliveries of the last {DELIVERIES_SECONDS} seconds took longer than {}.", Shown(p99));
        Some((level, text))
    }

    fn slow_consumers(&self) -> Option<(Level, String)> {
        let cut = self.cut;
        (cut > 0).then(|| {
            let is_critical = cut >= CUT_CRITICAL_MIN && cut as f64 > CUT_CRITICAL * (self.clients + cut) as f64;
            let text = format!(
                "{} {} cut in the last minute, because {} did not read what the server had for {}.",
                count(cut, "client"),
                was(cut),
                if cut == 1 { "it" } else { "they" },
                if cut == 1 { "it" } else { "them" },
            );
            (if is_critical { Level::Critical } else { Level::Warning }, text)
        })
    }

    fn outboxes(&self) -> Option<(Level, String)> {
        let share = self.held_bytes as f64 / self.outbox_budget.max(1) as f64;
        let level = match share {
            share if share > OUTBOX_CRITICAL => Level::Critical,
            share if share > OUTBOX_HIGH => Level::Warning,
            _ => return None,
        };
        let text = format!(
            "What waits for clients takes {} of the outbox-budget of {} MiB: when it is spent, clients that read too \
             slowly are cut.",
            percent(share),
            grouped(self.outbox_budget >> 20)
        );
        Some((level, text))
    }

    fn drain(&self) -> Option<(Level, String)> {
        self.is_draining.then(|| {
            let left = match self.clients {
                0 => "It has no clients any more".to_owned(),
                clients => format!("It still has {}", count(clients, "client")),
            };
            (Level::Warning, format!("The server is stopping, and new clients belong elsewhere. {left}."))
        })
    }

    fn log(&self) -> Option<(Level, String)> {
        let lines = self.log_lines_dropped;
        (lines > 0).then(|| {
            let text = format!(
                "{} {} lost in the last minute, because nobody reads standard error fast enough.",
                count(lines, "log line"),
                was(lines)
            );
            (Level::Warning, text)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Level::{Critical, Ok, Warning};
    use super::*;

    /// A server on which all is well.
    fn well() -> Signs {
        Signs {
            clients: 15_000,
            clients_max: 19_000,
            load: Some(0.5),
            p99: Some(Duration::from_micros(2_500)),
            outbox_budget: 256 << 20,
            certificate_ends_in: Some(90 * DAY),
            ..Signs::default()
        }
    }

    fn cluster(state: ClusterState) -> ClusterFigures {
        ClusterFigures { nodes: 3, state, lag_messages: 1_200, lag_seconds: 0.5 }
    }

    #[test]
    fn a_verdict_has_a_level_and_a_sentence_with_figures() {
        type Change = fn(&mut Signs);
        let cases: [(Change, Level, &str); 32] = [
            (|_| {}, Ok, "All is well: 15 000 clients, 99 % of deliveries within 2.5 ms, nobody is cut."),
            (|signs| signs.p99 = None, Ok, "All is well: 15 000 clients, nothing to deliver in the last 10 seconds, "),
            (|signs| signs.clients = 0, Ok, "All is well: no clients, "),
            (|signs| signs.clients = 1, Ok, "All is well: 1 client, "),
            (|signs| signs.load = None, Ok, "All is well: "),
            (|signs| signs.load = Some(0.8), Ok, "All is well: "),
            (
                |signs| signs.load = Some(0.81),
                Warning,
                "The busiest worker was busy for 81 % of each of the last 5 seconds",
            ),
            (|signs| signs.load = Some(0.97), Critical, "The busiest worker was busy for 97 % of each"),
            (|signs| signs.p99 = Some(P99_HIGH), Ok, "All is well: "),
            (|signs| signs.p99 = Some(Duration::from_millis(230)), Warning, "longer than 230 ms."),
            (|signs| signs.p99 = Some(Duration::from_millis(1_200)), Critical, "longer than 1.2 s."),
            (|signs| signs.cut = 1, Warning, "1 client was cut in the last minute, because it did not read"),
            (|signs| signs.cut = 12, Warning, "12 clients were cut in the last minute, because they did not read"),
            (|signs| signs.cut = 1_000, Critical, "1 000 clients were cut"),
            (|signs| (signs.clients, signs.cut) = (2, 9), Warning, "9 clients were cut"),
            (|signs| signs.http_connections = 3_000, Warning, "it has 15 000 clients and 3 000 HTTP connections, and"),
            (|signs| signs.held_bytes = 128 << 20, Ok, "All is well: "),
            (|signs| signs.held_bytes = 160 << 20, Warning, "takes 62 % of the outbox-budget of 256 MiB"),
            (|signs| signs.held_bytes = 250 << 20, Critical, "takes 97 % of the outbox-budget of 256 MiB"),
            (|signs| signs.clients = 17_200, Warning, "nearly full: it has 17 200 clients, and places for 19 000."),
            (|signs| signs.refused.full = 3, Critical, "The server is full: 3 connections were refused"),
            (|signs| signs.refused.address = 3, Ok, "All is well: "),
            (
                |signs| signs.refused.descriptors = 1,
                Critical,
                "1 connection was refused in the last minute for want of file",
            ),
            (|signs| signs.is_draining = true, Warning, "elsewhere. It still has 15 000 clients."),
            (|signs| signs.certificate_ends_in = Some(10 * DAY), Warning, "ends in 10 days"),
            (|signs| signs.certificate_ends_in = Some(-1), Critical, "The TLS certificate has ended"),
            (|signs| signs.hooks.failed = 2, Warning, "The application has not answered 2 questions of hooks"),
            (|signs| signs.hooks.circuit_open = 45, Critical, "45 questions had no answer in the last minute."),
            (|signs| signs.log_lines_dropped = 1, Warning, "1 log line was lost"),
            (|signs| signs.cluster = Some(cluster(ClusterState::Following)), Ok, "All is well: "),
            (|signs| signs.cluster = Some(cluster(ClusterState::CatchingUp)), Warning, "the stream has 1 200 messages"),
            (|signs| signs.cluster = Some(cluster(ClusterState::Unavailable)), Critical, "publishes are refused"),
        ];
        for (change, level, sentence) in cases {
            let mut signs = well();
            change(&mut signs);
            let verdict = signs.verdict();
            assert_eq!((verdict.level, verdict.sentences.len()), (level, 1), "{verdict:?}");
            assert!(verdict.sentences[0].contains(sentence), "{sentence} in {verdict:?}");
            assert!(verdict.sentences[0].ends_with('.'), "{verdict:?}");
        }
    }

    #[test]
    fn the_worst_comes_first_and_says_how_bad_it_is() {
        let signs = Signs { is_draining: true, log_lines_dropped: 2, load: Some(1.0), ..well() };
        let verdict = signs.verdict();
        assert_eq!(verdict.level, Critical);
        let beginnings = ["The busiest worker", "The server is stopping", "2 log lines"];
        assert!(verdict.sentences.iter().zip(beginnings).all(|(sentence, begin)| sentence.starts_with(begin)));
        assert_eq!(verdict.sentences.len(), beginnings.len(), "{verdict:?}");
    }
}
