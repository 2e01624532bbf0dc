//! How long a crowd takes to get in, from the first connect to the last `Joined`; beside it, a process that only accepts.
//! Never paces the connects: as many as are allowed in flight are always in flight.

use crate::{
    arguments::Arguments,
    comparison::{Spread, interleaved},
    join::join,
    load::{Load, Rooms},
    target::{Side, Target},
};
use anyhow::Result;
use std::time::Instant;

const ROOMS: Rooms = Rooms { rooms: 150, members_per_room: 100 };

/// Nobody publishes: the load only names the rooms.
const LOAD: Load = Load { rooms: ROOMS, messages_per_second: 1 };

pub fn measure(arguments: &Arguments) -> Result<()> {
    let Rooms { rooms, members_per_room } = ROOMS;
    let pairs = interleaved(arguments.pairs, [Side::BareSend, Side::Roomcast], |side| run(side, arguments.workers))?;
    println!("\nconnect: seconds until {} members are in, {rooms} x {members_per_room}", ROOMS.members());
    println!("{:<26}{:<26}roomcast / accepting alone", "accepting alone", "roomcast, joined");
    println!(
        "{:<26}{:<26}{}",
        Spread::of(pairs.iter().map(|pair| pair.first)).to_string(),
        Spread::of(pairs.iter().map(|pair| pair.second)).to_string(),
        Spread::of(pairs.iter().map(|pair| pair.second / pair.first)),
    );
    Ok(())
}

fn run(side: Side, workers: usize) -> Result<f64> {
    let mut target = Target::start(side, LOAD, workers)?;
    let start = Instant::now();
    let crowd = join(target.address(), ROOMS, &target.conversations(ROOMS.rooms))?;
    target.wait_until_accepted()?;
    let seconds = start.elapsed().as_secs_f64();
    drop(crowd);
    target.stop()?;
    eprintln!("  connect, {side}: {seconds:.3} s");
    Ok(seconds)
}
