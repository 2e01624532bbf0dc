"""Reads the measurements of the benches and of `loadgen` from the files that they write. Draws and measures nothing.

A missing or unusable file raises `Missing` with the command that writes it.
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
    """A measurement is missing. The message names it and the command to run."""


@dataclass(frozen=True)
class Bench:
    """A criterion bench: nanoseconds of one iteration with their confidence interval, and its number of elements."""

    nanos: float
    low: float
    high: float
    elements: int

    def per_element(self):
        return self.nanos / self.elements


@dataclass(frozen=True)
class Run:
    """One load on one server: microseconds of processor time per delivery, milliseconds of latency, and deliveries
    per read of a client. More than one means that messages were merged."""

    cost: float
    p50: float
    p99: float
    limited: bool
    per_read: float


@dataclass(frozen=True)
class Point:
    """One value on an axis with the runs of the server and of the bare loop, round by round."""

    value: int
    server: list
    limit: list

    def efficiency(self):
        """The median of the ratios within each round; other ratios suffer from the drift of the machine."""
        return median(limit.cost / server.cost for server, limit in zip(self.server, self.limit))


def target_folder():
    return Path(os.environ.get("CARGO_TARGET_DIR", "target"))


def criterion_folder():
    return Path(os.environ.get("CRITERION_HOME", target_folder() / "criterion"))


def growth_folder():
    return target_folder() / "measured" / "growth"


def bench(group, name):
    """The last measurement of criterion for `group/name`."""
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
    """The benches of a group, one for each name."""
    return [(name, bench(group, name)) for name in names]


def architectures():
    """Nanoseconds per delivery by workload and broker."""
    row = lambda workload: {broker: bench(f"architectures/{workload}", broker).per_element() for broker in BROKERS}
    return {workload: row(workload) for workload in WORKLOADS}


def growth(axis):
    """The points of an axis, sorted by value."""
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


def one_run(candidate, file):
    """The number of workers of a candidate of `loadgen compare`, and its only run in the file."""
    command = candidate["contestant"]
    report = candidate["reports"][0]
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
    """Reads a file that `command` writes."""
    try:
        return json.loads(file.read_text())
    except FileNotFoundError:
        raise Missing(f"{file} is not there: run {command}") from None
    except ValueError as error:
        raise Missing(f"{file}: {error}: run {command} again") from None
