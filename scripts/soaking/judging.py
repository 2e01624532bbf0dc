"""Decides from the samples of a soak whether the server held. Pure: reads no file, no clock and no process.

A round of the soak ends at a quiet point: its clients are gone, and what they needed has had time to be given back. Only
quiet points are compared with each other, and those of the first `WARM_UP` rounds are left out, because tables and the
allocator grow to the size of a round once. A quantity grows if two things hold together:

- the trend is sure: the lower end of the one-sided 99 % confidence interval of the Theil-Sen slope is above zero. The slope is
  the median of the slopes of all pairs of points, so one round in four may be an outlier without moving it;
- the trend is large: the slope and what it adds from the first to the last point are above the bounds of the quantity.

Noise of any size fails the first condition 99 times in 100, and a trend that is sure and tiny fails the second.
"""

from dataclasses import dataclass
from math import sqrt
from statistics import median

# Rounds that are not compared. A server has met both kinds of rounds by then, and the allocator has its arenas.
WARM_UP = 3
# With fewer points no order of them is sure at 99 %.
POINTS_MIN = 5
# Quantile of the normal distribution for a one-sided confidence of 99 %.
QUANTILE = 2.33

KIB = 1024


@dataclass(frozen=True)
class Bound:
    """What a quantity may grow by: per round in its unit, and in all as a share of its first value."""

    per_round: float
    share: float
    unit: str


# 64 KiB per round are 7 bytes for each of its 9 000 connections. Rounds by turns have different loads, after which memory
# differs by 0.7 MiB without growing; 2 % covers what a larger server may take in all.
MEMORY = Bound(per_round=64 * KIB, share=0.02, unit="KiB")
# Latencies suffer from what else the machine does. A cost that grows with every round passes half of the first value soon.
LATENCY = Bound(per_round=0.01, share=0.5, unit="ms")
# Requests of the soak itself may be open while a sample is taken. A leak of one descriptor per round is more after four.
DESCRIPTORS_MORE_MAX = 3


@dataclass(frozen=True)
class Trend:
    """The Theil-Sen slope per round, the lower end of its confidence interval, and the fitted first and last values."""

    slope: float
    surely: float
    first: float
    last: float


@dataclass(frozen=True)
class Finding:
    """One row of the report. `wrong` says what does not hold, or is empty."""

    name: str
    points: list
    trend: Trend
    unit: str
    wrong: str


def trend(points):
    """The trend of values of successive rounds, of which there are at least two."""
    pairs = [(later - earlier) / (j - i) for i, earlier in enumerate(points) for j, later in enumerate(points) if i < j]
    slopes, count = sorted(pairs), len(points)
    spread = QUANTILE * sqrt(count * (count - 1) * (2 * count + 5) / 18)
    lowest = int((len(slopes) - spread) // 2)
    slope = median(slopes)
    middle = median(value - slope * index for index, value in enumerate(points))
    surely = slopes[lowest] if lowest >= 0 else float("-inf")
    return Trend(slope, surely, middle, middle + slope * (count - 1))


def judge_slope(name, points, bound):
    """Whether a quantity grows from one quiet point to the next."""
    if len(points) < POINTS_MIN:
        return Finding(name, points, None, bound.unit, "")
    found = trend(points)
    is_sure = found.surely > 0
    is_large = found.slope > bound.per_round and found.last - found.first > bound.share * found.first
    return Finding(name, points, found, bound.unit, "grows" if is_sure and is_large else "")


def judge_descriptors(name, points):
    """Whether all descriptors have come back at each quiet point. The least is what the server itself needs."""
    most = max(points, default=0) - min(points, default=0)
    wrong = f"{most} more than before" if most > DESCRIPTORS_MORE_MAX else ""
    return Finding(name, points, trend(points) if len(points) >= POINTS_MIN else None, "", wrong)


def rounds_of(samples, phase, column):
    """The median of a column for each round, over the samples of one phase that have a value."""
    values = {}
    for sample in samples:
        if sample["phase"] == phase and sample.get(column) is not None:
            values.setdefault(sample["round"], []).append(sample[column])
    return [median(of) for _, of in sorted(values.items())]


def judge(samples, servers):
    """All findings on samples: dicts with `round`, `phase` and the columns of each server."""
    findings = []
    for server in servers:
        memory = rounds_of(samples, "quiet", f"{server}_private_bytes")[WARM_UP:]
        descriptors = rounds_of(samples, "quiet", f"{server}_descriptors")[WARM_UP:]
        findings.append(judge_slope(f"private memory, {server}", memory, MEMORY))
        findings.append(judge_descriptors(f"descriptors, {server}", descriptors))
    for column, name in LATENCIES.items():
        for phase in ("load", "quiet"):
            points = rounds_of(samples, phase, column)[WARM_UP:]
            findings.append(judge_slope(f"{name}, {phase}", points, LATENCY))
    return findings


LATENCIES = {"delivery_p50_ms": "delivery p50", "ping_p50_ms": "PING p50"}


def is_too_short(samples):
    """Whether the rounds are too few for a slope."""
    return len(rounds_of(samples, "quiet", "seconds")) < WARM_UP + POINTS_MIN
