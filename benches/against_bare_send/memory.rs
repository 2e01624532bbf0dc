//! What an idle member costs the server in private memory. Never counts the kernel's share, about 3.8 KB for each socket.

use crate::{
    arguments::Arguments,
    comparison::Spread,
    join::join,
    load::{Load, Rooms},
    procfs::private_bytes,
    target::{Side, Target},
};
use anyhow::Result;
use std::{thread, time::Duration};

const ROOMS: Rooms = Rooms { rooms: 100, members_per_room: 100 };

/// Nobody publishes: the load only names the rooms.
const LOAD: Load = Load { rooms: ROOMS, messages_per_second: 1 };

/// Bytes hardly differ from run to run, unlike times.
const RUNS_MAX: usize = 3;

/// Lets an allocator return what the start and the joins needed only for a moment.
const SETTLE: Duration = Duration::from_secs(1);

pub fn measure(arguments: &Arguments) -> Result<()> {
    let runs = arguments.pairs.min(RUNS_MAX);
    let Rooms { rooms, members_per_room } = ROOMS;
    println!(
        "\nmemory: private bytes per idle member, {rooms} x {members_per_room}, {runs} runs (the bare sender keeps 4)"
    );
    for side in [Side::Roomcast, Side::WebSocket] {
        let bytes = (0..runs).map(|_| run(side, arguments.workers)).collect::<Result<Vec<f64>>>()?;
        println!("{:<24}{:.0}", side.to_string(), Spread::of(bytes));
    }
    Ok(())
}

fn run(side: Side, workers: usize) -> Result<f64> {
    let target = Target::start(side, LOAD, workers)?;
    thread::sleep(SETTLE);
    let before = private_bytes(target.process_id())?;
    let mut crowd = join(target.address(), ROOMS, &target.conversations(ROOMS.rooms))?;
    crowd.expect_silence(SETTLE)?;
    let after = private_bytes(target.process_id())?;
    drop(crowd);
    target.stop()?;
    let bytes_per_member = (after as f64 - before as f64) / ROOMS.members() as f64;
    eprintln!("  memory, {side}: {before} bytes before, {after} with all members, {bytes_per_member:.0} per member");
    Ok(bytes_per_member)
}
