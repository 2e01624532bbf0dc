"""Samples servers once a second, in a thread of its own, and writes them to samples.csv as they come."""

import csv
import threading
import time

from .servers import added, not_conserved

INTERVAL_SECONDS = 1.0
# What a room remembers at most; see the settings in scripts/soak.
HISTORY_MESSAGES_MAX = 100

# Columns of the server that most clients are on, and the metric of each, which is added over its labels.
METRICS = {
    "clients": "active_connections",
    "http_connections": "roomcast_http_connections",
    "rooms": "active_rooms",
    "messages": "total_messages",
    "deliveries": "roomcast_deliveries_total",
    "dropped": "roomcast_dropped_total",
    "queued": "roomcast_queued_deliveries",
    "outbox_bytes": "roomcast_outbox_bytes",
    "history_bytes": "roomcast_history_bytes",
    "history_messages": "roomcast_history_messages",
    "mailbox_commands": "roomcast_shard_mailbox_commands",
    "log_lines_dropped": "roomcast_log_lines_dropped_total",
    "recoveries": "roomcast_recoveries_total",
}
FOOTPRINT = ["private_bytes", "resident_bytes", "descriptors", "threads", "cpu_seconds"]
LATENCIES = ["delivery_p50_ms", "delivery_p99_ms", "ping_p50_ms", "ping_p99_ms", "health_ms"]


def columns(servers):
    """The header of samples.csv. The first server is the one with the metrics."""
    return ["seconds", "round", "phase", *METRICS, *LATENCIES] + [f"{of}_{name}" for of in servers for name in FOOTPRINT]


class Sampler:
    """Keeps the samples. `phase` and `round` are set by whoever knows them."""

    def __init__(self, path, servers, probe):
        self.servers, self.probe = servers, probe
        self.round, self.phase = 1, "load"
        self.samples, self.faults = [], []
        self.began = time.monotonic()
        self.file = path.open("w", newline="")
        self.writer = csv.DictWriter(self.file, columns([server.name for server in servers]), lineterminator="\n")
        self.writer.writeheader()
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def start(self):
        self.thread.start()

    def stop(self):
        self.ended.set()
        self.thread.join()
        self.file.close()

    def run(self):
        due = time.monotonic()
        while not self.ended.wait(max(0.0, due - time.monotonic())):
            due = max(due + INTERVAL_SECONDS, time.monotonic())
            try:
                self.take()
            except Exception as error:
                # A server that does not answer is a finding. The soak goes on, so that the report shows what came of it.
                self.faults.append(f"after {self.elapsed():.0f} s a sample failed: {error!r}")

    def elapsed(self):
        return time.monotonic() - self.began

    def take(self):
        """Takes one sample. `/health` must answer whatever the servers are doing."""
        sample = {"seconds": round(self.elapsed(), 1), "round": self.round, "phase": self.phase}
        main = self.servers[0]
        asked = time.monotonic()
        if main.get("/health") != "OK":
            raise ValueError("/health of the server does not say OK")
        sample["health_ms"] = round((time.monotonic() - asked) * 1e3, 1)
        metrics = main.metrics()
        sample |= {column: int(added(metrics, name)) for column, name in METRICS.items()}
        sample |= self.probe.latencies()
        for server in self.servers:
            sample |= {f"{server.name}_{name}": value for name, value in server.footprint().items()}
        self.writer.writerow(sample)
        self.file.flush()
        self.samples.append(sample)


def read(path):
    """The samples of a file, as the sampler had them. An empty cell was not measured."""
    with path.open(newline="") as file:
        return [{name: value_of(name, cell) for name, cell in row.items()} for row in csv.DictReader(file)]


def value_of(name, cell):
    if name == "phase":
        return cell
    return None if cell == "" else int(cell) if name == "round" else float(cell)


def unrest(metrics, clients, rooms):
    """What keeps a server from being at a quiet point, in words, or nothing. `clients` and `rooms` are those that stay."""
    now = lambda column: int(added(metrics, METRICS[column]))
    # The request that asks is one connection itself; the sampler may have another one open.
    most = [("http_connections", 2), ("outbox_bytes", 0), ("history_messages", HISTORY_MESSAGES_MAX * rooms)]
    found = [f"{now(name)} {name}" for name, expected in (("clients", clients), ("rooms", rooms)) if now(name) != expected]
    found += [f"{now(name)} {name}" for name, bound in most if now(name) > bound]
    lost = not_conserved(metrics)
    return found + ([f"{lost:.0f} deliveries neither made nor dropped"] if lost else [])
