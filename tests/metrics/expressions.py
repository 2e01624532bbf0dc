"""What PromQL expressions read: metrics and their labels. A scanner and no parser: Prometheus itself parses them."""

import re

# Labels that Prometheus adds.
TARGET_LABELS = {"job", "instance"}

KEYWORDS = {"and", "or", "unless", "bool", "offset", "inf", "nan"}

_GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
_SELECTOR = re.compile(r"(?<![\w:.$\[])([a-zA-Z_:][\w:]*)\s*(\{[^}]*\}|\()?")
_MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"((?:\\.|[^"\\])*)"')


def selectors(expression):
    """The metrics that an expression reads, each with its matchers: (label, operator, value)."""
    found = []
    for name, behind in _SELECTOR.findall(_GROUPING.sub(" ", expression)):
        if behind == "(" or name.lower() in KEYWORDS:
            continue
        found.append((name, _MATCHER.findall(behind)))
    return found


def grouping_labels(expression):
    """The labels by which an expression groups and joins."""
    names = {name.strip() for group in _GROUPING.findall(expression) for name in group.split(",")}
    return names - {""}


def mistakes(expression, served):
    """What an expression reads and no server has. `served` has, of each metric, the labels and their values."""
    found = []
    labels = set(TARGET_LABELS)
    for name, matchers in selectors(expression):
        if name not in served:
            found.append(f"no metric {name}")
            continue
        labels |= set(served[name])
        for label, operator, value in matchers:
            found.extend(_wrong_matcher(name, served[name], label, operator, value))
    found.extend(f"no label {label} to group by" for label in grouping_labels(expression) - labels)
    return [f"{mistake} in {expression}" for mistake in found]


def _wrong_matcher(name, labels, label, operator, value):
    if label in TARGET_LABELS:
        return []
    if label not in labels:
        return [f"no label {label} of {name}"]
    values = value.split("|") if operator in ("=~", "!~") else [value]
    return [f'no {label}="{value}" of {name}' for value in values if value not in labels[label]]
