//! The progress line of a running load: phase, clients, deliveries per second and p99 so far. Prints nothing without a
//! terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

pub struct ProgressLine(ProgressBar);

impl Default for ProgressLine {
    fn default() -> Self {
        let style = ProgressStyle::with_template("{prefix:>10} {bar:24} {msg}").expect("the template is a constant");
        Self(ProgressBar::new(1).with_style(style))
    }
}

impl ProgressLine {
    /// Shows the connect phase.
    pub fn connecting(&self, connected: u32, clients: u32) {
        self.show("connecting", u64::from(connected), u64::from(clients), format!("{connected} of {clients} clients"));
    }

    /// Shows the phases that send messages.
    pub fn sending(&self, phase: &'static str, elapsed: Duration, of: Duration, deliveries: f64, p99: Option<f64>) {
        let p99 = p99.map_or(String::new(), |p99| format!(", p99 {p99:.2} ms"));
        let seconds = format!("{:.0} of {:.0} s", elapsed.as_secs_f64(), of.as_secs_f64());
        let message = format!("{seconds}, {deliveries:.0} deliveries/s{p99}");
        self.show(phase, elapsed.as_millis() as u64, of.as_millis() as u64, message);
    }

    /// Shows the drain phase.
    pub fn draining(&self, received: u64) {
        self.show("draining", 1, 1, format!("{received} deliveries"));
    }

    /// Removes the line.
    pub fn clear(&self) {
        self.0.finish_and_clear();
    }

    fn show(&self, phase: &'static str, done: u64, of: u64, message: String) {
        self.0.set_length(of.max(1));
        self.0.set_position(done.min(of));
        self.0.set_prefix(phase);
        self.0.set_message(message);
    }
}
