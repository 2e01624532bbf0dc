"""Draws the samples of a soak as target/soak/soak.svg: memory, descriptors, latencies and clients over time."""

import re
from statistics import median

from drawn import BLUE, GREY, INK, ORANGE, WIDTH_INCHES, load_matplotlib, render, write_title

from .judging import rounds_of

HEIGHT_INCHES = 7.4
# Samples beyond this number are drawn as medians of several.
POINTS_MAX = 240
# Digits of a coordinate behind the second, which nobody sees and which are half of the file.
FURTHER_DIGITS = r"(\.\d\d)\d+"
MIB = 1024 * 1024
SECONDS_PER_MINUTE = 60
QUIET = "#DCE7EE"
# Column, divisor, colour and name of each line, by panel.
PANELS = [
    ("private memory, MiB", [("main_private_bytes", MIB, BLUE, "main"), ("tls_private_bytes", MIB, ORANGE, "TLS"),
                             ("node_private_bytes", MIB, GREY, "a node")]),
    ("descriptors", [("main_descriptors", 1, BLUE, "main"), ("tls_descriptors", 1, ORANGE, "TLS"),
                     ("node_descriptors", 1, GREY, "a node")]),
    ("latency, ms", [("ping_p50_ms", 1, GREY, "PING p50"), ("delivery_p50_ms", 1, BLUE, "delivery p50"),
                     ("delivery_p99_ms", 1, ORANGE, "delivery p99")]),
    ("clients", [("clients", 1, BLUE, "clients"), ("rooms", 1, ORANGE, "rooms")]),
]  # fmt: skip


def draw(samples):
    """The figure as SVG."""
    pyplot, ticker = load_matplotlib()
    figure, panels = pyplot.subplots(len(PANELS), 1, figsize=(WIDTH_INCHES, HEIGHT_INCHES), sharex=True)
    figure.subplots_adjust(left=0.095, right=0.835, top=0.905, bottom=0.065, hspace=0.17)
    rounds = max(sample["round"] for sample in samples)
    minutes = samples[-1]["seconds"] / SECONDS_PER_MINUTE
    about = f"{minutes:.0f} minutes, {rounds} rounds; shaded: all clients are gone; dots: the quiet points that are compared"
    write_title(figure, "Does anything grow while clients come, go and misbehave?", about)
    for axes, (label, lines) in zip(panels, PANELS):
        shade(axes, samples)
        axes.set_ylabel(label)
        for column, divisor, color, name in lines:
            if samples[-1].get(column) is None:
                continue
            draw_line(axes, samples, column, divisor, color, name)
            if column.endswith("_private_bytes"):
                mark_quiet_points(axes, samples, column, divisor, color)
        axes.legend(loc="center left", bbox_to_anchor=(1.005, 0.5), frameon=False, handlelength=1, labelcolor=INK)
        axes.margins(x=0.01)
        if "latency" in label:
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:g}"))
            axes.yaxis.set_minor_locator(ticker.NullLocator())
        else:
            axes.set_ylim(bottom=0)
    panels[-1].set_xlabel("minutes")
    svg = render(figure)
    pyplot.close(figure)
    return re.sub(FURTHER_DIGITS, r"\1", svg)


def draw_line(axes, samples, column, divisor, color, name):
    points = thinned([(sample["seconds"], sample[column]) for sample in samples if sample.get(column) is not None])
    minutes = [round(seconds / SECONDS_PER_MINUTE, 3) for seconds, _ in points]
    axes.plot(minutes, [value / divisor for _, value in points], color=color, linewidth=1.1, label=name)


def mark_quiet_points(axes, samples, column, divisor, color):
    """The values that are compared."""
    minutes = [seconds / SECONDS_PER_MINUTE for seconds in rounds_of(samples, "quiet", "seconds")]
    values = [value / divisor for value in rounds_of(samples, "quiet", column)]
    axes.plot(minutes, values, "o", color=color, markersize=3)


def thinned(points):
    """At most `POINTS_MAX` points, each the median of its neighbours."""
    step = -(-len(points) // POINTS_MAX) or 1
    groups = [points[start : start + step] for start in range(0, len(points), step)]
    return [(group[0][0], median(value for _, value in group)) for group in groups]


def shade(axes, samples):
    """Marks the time from when the clients of a round have ended until the next round."""
    began = None
    for sample in [*samples, {"phase": "load", "seconds": samples[-1]["seconds"]}]:
        is_calm = sample["phase"] != "load"
        minutes = sample["seconds"] / SECONDS_PER_MINUTE
        if is_calm and began is None:
            began = minutes
        elif not is_calm and began is not None:
            axes.axvspan(began, minutes, color=QUIET, linewidth=0)
            began = None
