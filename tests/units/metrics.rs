//! Counters and histograms in the Prometheus text format.

use std::time::Duration;

use roomcast::metrics::{Exposition, Histogram};

#[test]
fn numbers_stand_alone_or_with_labels() {
    let mut exposition = Exposition::default();
    exposition.gauge("rooms", "Rooms.", 2);
    exposition.counters("ends", "Ends.", [("reason=\"quit\"".to_owned(), 1)]);
    let text = exposition.into_text();
    let rooms = "# HELP rooms Rooms.\n# TYPE rooms gauge\nrooms 2\n";
    assert_eq!(text, format!("{rooms}# HELP ends Ends.\n# TYPE ends counter\nends{{reason=\"quit\"}} 1\n"));
}

#[test]
fn histograms_add_up_bound_by_bound() {
    let parts = [Histogram::default(), Histogram::default()];
    parts[0].record(Duration::from_micros(50), 2);
    parts[1].record(Duration::from_micros(51), 1);
    parts[1].record(Duration::from_secs(11), 1);
    let mut exposition = Exposition::default();
    exposition.histogram("t_seconds", "Times.", parts.iter());
    let text = exposition.into_text();
    for line in [
        "t_seconds_bucket{le=\"0.00005\"} 2\n",
        "t_seconds_bucket{le=\"0.0001\"} 3\n",
        "t_seconds_bucket{le=\"10\"} 3\n",
        "t_seconds_bucket{le=\"+Inf\"} 4\n",
        "t_seconds_sum 11.000151\n",
        "t_seconds_count 4\n",
    ] {
        assert!(text.contains(line), "{line}{text}");
    }
}
