//! `loadgen`
mod clock;
mod dialect;
mod latency;
mod mark;
mod messages;
mod plan;
mod share;
mod target;
mod worker;
fn main() {
    let share: share::Share = serde_json::from_str(&std::env::args().nth(1).unwrap()).unwrap();
    worker::run(share).unwrap();
}
