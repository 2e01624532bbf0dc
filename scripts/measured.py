"""What the benches and `loadgen` have measured, read from the files that they leave. Draws nothing, and measures nothing.

Whatever is missing or worthless is a `Missing` with the command that makes it.
"""

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from statistics import median

WORKLOADS = ["one_big_room", "one_big_room_burst", "many_small_rooms", "churn", "many_publishers"]
BROKERS = ["sharded", "rwlock_broadcast", "dashmap_mailboxes", "parking_lot_mailboxes"]

NANOS_PER_MICRO = 1e3


class Missing(Exception):
    """There is nothing to draw: what is not there, and what to run."""


@dataclass(frozen=True)
class Bench:
    """A criterion bench: nanoseconds of one iteration, and over how many elements they are spread."""

    nanos: float
    low: float
    high: float
    elements: int

    def per_element(self):
        return self.nanos / self.elements


@dataclass(frozen=True)
class Run:
    """One load on one server: microseconds of processor time per delivery, milliseconds of latency, deliveries
    that one read of a client brought: beyond one, messages were merged."""

    cost: float
    p50: float
    p99: float
    limited: bool
    per_read: float


@dataclass(frozen=True)
class Point:
    """One place on an axis: the runs of the server and those of the bare loop, round by round."""

    value: int
    server: list
    limit: list

    def efficiency(self):
        """Within each round, since only those ratios are believed; then the median."""
        return median(limit.cost / server.cost for server, limit in zip(self.server, self.limit))


def target_folder():
    return Path(os.environ.get("CARGO_TARGET_DIR", "target"))


def criterion_folder():
    return Path(os.environ.get("CRITERION_HOME", target_folder() / "criterion"))


def growth_folder():
    return target_folder() / "measured" / "growth"


def bench(group, name):
    """What criterion measured last under `group/name`."""
    folder = criterion_folder() / group.replace("/", "_") / str(name) / "new"
    command = f"cargo bench --bench {group.split('/')[0]}"
    about = read_json(folder / "benchmark.json", command)
    estimate = read_json(folder / "estimates.json", command)["median"]
    interval = estimate["confidence_interval"]
    return Bench(
        nanos=estimate["point_estimate"],
        low=interval["lower_bound"],
        high=interval["upper_bound"],
        elements=(about["throughput"] or {}).get("Elements", 1),
    )


def series(group, names):
    """The benches of a group that differ in a number."""
    return [(name, bench(group, name)) for name in names]


def architectures():
    """Nanoseconds of a delivery by workload and broker."""
    row = lambda workload: {broker: bench(f"architectures/{workload}", broker).per_element() for broker in BROKERS}
    return {workload: row(workload) for workload in WORKLOADS}


def growth(axis):
    """The points of an axis in order."""
    folder = growth_folder()
    files = sorted(folder.glob(f"{axis}-*.json"))
    if not files:
        raise Missing(f"{folder}/{axis}-*.json is not there: run scripts/growth")
    points = {}
    for file in files:
        limit, *servers = [one_run(of, file) for of in read_json(file, "scripts/growth")]
        for value, server in servers:
            value = value if axis == "workers" else number_in(file)
            point = points.setdefault(value, Point(value, [], []))
            point.server.append(server)
            point.limit.append(limit[1])
    return [points[value] for value in sorted(points)]


def one_run(contestant, file):
    """How many workers a contestant of `loadgen compare` had, and its only run in a file."""
    command = contestant["contestant"]
    report = contestant["reports"][0]
    if report["faults"]:
        raise Missing(f"{file}: {report['faults'][0]}: run scripts/growth again")
    workers = re.search(r"--workers (\d+)", command)
    latency = report["rooms"]["latency"]
    run = Run(
        cost=report["server"]["nanos_per_delivery"] / NANOS_PER_MICRO,
        p50=latency["p50"],
        p99=latency["p99"],
        limited=report["generator"]["limited"] is not None,
        per_read=report["generator"]["deliveries_per_read"],
    )
    return (int(workers[1]) if workers else None), run


def number_in(file):
    return int(re.search(r"-(\d+)\.", file.name)[1])


def read_json(file, command):
    """`command` makes the file."""
    try:
        return json.loads(file.read_text())
    except FileNotFoundError:
        raise Missing(f"{file} is not there: run {command}") from None
    except ValueError as error:
        raise Missing(f"{file}: {error}: run {command} again") from None
