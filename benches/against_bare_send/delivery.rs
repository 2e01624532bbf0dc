//! What one delivery costs the target's processors, from the publish to the last member's socket. Never counts warm-up, nor
//! a run in which a delivery was lost or duplicated.

use crate::{
    arguments::Arguments,
    comparison::{Pair, Spread, interleaved},
    join::join,
    load::{LINE_BYTES, Load, Rooms},
    procfs::ProcessorTime,
    publisher::Publisher,
    target::{Side, Target},
};
use anyhow::Result;
use std::time::Duration;

const LOADS: [Load; 2] = [
    Load { rooms: Rooms { rooms: 1, members_per_room: 10_000 }, messages_per_second: 5 },
    Load { rooms: Rooms { rooms: 10, members_per_room: 100 }, messages_per_second: 500 },
];

const WARM_UP: Duration = Duration::from_secs(1);

/// Lets the target fall asleep after a phase, so that its processor time is exact, and shows late duplicates.
const SETTLE: Duration = Duration::from_millis(50);

/// The figures of one run.
struct Cost {
    microseconds_per_delivery: f64,
    /// 1 unless messages were merged on their way, which would make deliveries cheaper.
    lines_per_read: f64,
}

/// The server against the limit.
pub fn measure(arguments: &Arguments) -> Result<()> {
    println!("\ndelivery: target CPU per delivered message of {LINE_BYTES} bytes");
    compare([Side::BareSend, Side::Roomcast], arguments)
}

/// One transport against the other.
pub fn measure_transports(arguments: &Arguments) -> Result<()> {
    println!("\ntransports: server CPU per delivered message of {LINE_BYTES} bytes, frames two bytes less");
    compare([Side::Roomcast, Side::WebSocket], arguments)
}

fn compare(sides: [Side; 2], arguments: &Arguments) -> Result<()> {
    let [first, second] = sides.map(|side| format!("{side}, us"));
    println!("{:<28}{first:<26}{second:<26}{:<24}messages per read of each", "load", "first / second");
    for load in LOADS {
        let pairs = interleaved(arguments.pairs, sides, |side| run(side, load, arguments))?;
        print_row(load, &pairs);
    }
    println!("no delivery lost, none duplicated: in each run, received = published x members, for every member");
    Ok(())
}

fn run(side: Side, load: Load, arguments: &Arguments) -> Result<Cost> {
    let mut target = Target::start(side, load, arguments.workers)?;
    let mut crowd = join(target.address(), load.rooms, &target.conversations(load.rooms.rooms))?;
    target.wait_until_accepted()?;
    let mut publisher = Publisher::new(side, &crowd, load)?;
    let mut publish_for = |time: Duration| {
        let messages = load.messages_per_room(time);
        publisher.start(&mut target, messages * load.rooms.rooms)?;
        let tally = crowd.receive(side, messages, &mut publisher)?;
        crowd.expect_silence(SETTLE)?;
        anyhow::Ok((tally, ProcessorTime::of(target.process_id())?))
    };
    let (_, before) = publish_for(WARM_UP)?;
    let (tally, after) = publish_for(arguments.window)?;
    drop(crowd);
    target.stop()?;
    let cost = Cost {
        microseconds_per_delivery: after.since(&before)? as f64 / 1_000.0 / tally.lines as f64,
        lines_per_read: tally.lines as f64 / tally.reads as f64,
    };
    eprintln!("  {load}, {side}: {:.3} us, {} deliveries", cost.microseconds_per_delivery, tally.lines);
    Ok(cost)
}

fn print_row(load: Load, pairs: &[Pair<Cost>]) {
    let spread = |figure: fn(&Pair<Cost>) -> f64| Spread::of(pairs.iter().map(figure)).to_string();
    println!(
        "{:<28}{:<26}{:<26}{:<24}{}; {}",
        load.to_string(),
        spread(|pair| pair.first.microseconds_per_delivery),
        spread(|pair| pair.second.microseconds_per_delivery),
        spread(|pair| pair.first.microseconds_per_delivery / pair.second.microseconds_per_delivery),
        spread(|pair| pair.first.lines_per_read),
        spread(|pair| pair.second.lines_per_read),
    );
}
