//! How the benches measure times: settings of criterion. Apart from `common`, which benches that measure none use too.

use std::time::Duration;
use std::{panic, process};

use criterion::Criterion;

/// Changes within this fraction are noise: the machine drifts by more within minutes.
const NOISE: f64 = 0.05;
const WARM_UP: Duration = Duration::from_secs(1);
const MEASUREMENT: Duration = Duration::from_secs(4);

/// The exit code of a Rust program that panics.
const EXIT_PANIC: i32 = 101;

/// Criterion's settings; flags may change them. A panic on any thread ends the bench, which would otherwise wait for it
/// forever.
pub fn criterion() -> Criterion {
    panic::set_hook(Box::new(|panic| {
        eprintln!("{panic}");
        process::exit(EXIT_PANIC);
    }));
    let settings = Criterion::default().noise_threshold(NOISE).warm_up_time(WARM_UP).measurement_time(MEASUREMENT);
    settings.configure_from_args()
}
