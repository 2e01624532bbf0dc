"""The report of a soak as text: the verdict, the quantities that must not grow, and what was done."""

from .judging import KIB, POINTS_MIN, WARM_UP

# Faults that are listed; the rest are counted.
LISTED_MAX = 20


def report(findings, faults, done, is_short):
    """Lines of the report. `done` has pairs of a word and a number."""
    wrong = [f"{finding.name}: {finding.wrong}" for finding in findings if finding.wrong] + faults
    yield "FAILED" if wrong else "passed"
    yield from (f"  {line}" for line in wrong[:LISTED_MAX])
    if len(wrong) > LISTED_MAX:
        yield f"  and {len(wrong) - LISTED_MAX} more"
    if is_short:
        yield f"  no slope was judged: that needs {WARM_UP} rounds to warm up and {POINTS_MIN} more"
    yield ""
    yield from table(findings)
    yield ""
    yield from (f"{spaced(value):>14}  {what}" for what, value in done)


def table(findings):
    """Markdown: each quantity at the quiet points, fitted by the slope."""
    yield "| at the quiet points | first | last | slope per round | surely above | |"
    yield "|---|---:|---:|---:|---:|---|"
    for finding in findings:
        verdict = finding.wrong or ("holds" if finding.trend else "–")
        yield f"| {finding.name} | {' | '.join(cells(finding))} | {verdict} |"


def spaced(value):
    return f"{value:,.0f}".replace(",", " ")


def cells(finding):
    if finding.trend is None:
        return ["–"] * 4
    trend = finding.trend
    values = [trend.first, trend.last, trend.slope, trend.surely]
    if finding.unit == "KiB":
        return [f"{value / KIB:.0f} KiB" for value in values]
    return [f"{value:.3f} {finding.unit}".strip() if finding.unit else f"{value:g}" for value in values]
