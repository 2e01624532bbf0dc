//! The counters of the calls of one worker.

use strum::{EnumCount, IntoStaticStr, VariantArray};

use super::ApiMethod;
use crate::metrics::{Counter, Exposition};

/// What came of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumCount, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "lowercase")]
pub enum CallOutcome {
    /// It has a result.
    Ok,
    /// It has an error with a code.
    Error,
    /// It was not executed: no valid key, a body that is no JSON or too long, a server that stops.
    Refused,
}

/// The calls that came to one worker, by method and outcome.
#[derive(Debug, Default)]
pub struct ApiMetrics([[Counter; CallOutcome::COUNT]; ApiMethod::COUNT]);

impl ApiMetrics {
    /// Counts a call.
    pub fn count(&self, method: ApiMethod, outcome: CallOutcome) {
        self.0[method as usize][outcome as usize].add(1);
    }

    /// Appends the calls of all workers.
    pub fn expose<'a>(all: impl Iterator<Item = &'a Self> + Clone, out: &mut Exposition) {
        let outcomes = ApiMethod::VARIANTS
            .iter()
            .flat_map(|method| CallOutcome::VARIANTS.iter().map(move |outcome| (method, outcome)));
        let samples = outcomes.map(|(&method, &outcome)| {
            let count = all.clone().map(|one| one.0[method as usize][outcome as usize].get()).sum();
            (format!("method=\"{}\",outcome=\"{}\"", method.name(), <&str>::from(outcome)), count)
        });
        out.counters(
            "roomcast_api_requests_total",
            "Requests to the server API by method and outcome: ok, error (answered with a code), refused (no valid key, a \
             bad or too long body, draining). A batch is one request.",
            samples,
        );
    }
}
