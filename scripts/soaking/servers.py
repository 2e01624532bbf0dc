"""Servers that a soak starts on loopback: starting, asking, ending, and what the kernel says about a process."""

import os
import re
import signal
import ssl
import subprocess
import time
import urllib.request
from pathlib import Path

# A server must be ready, have read its files again, and be gone after its grace period, within this time. Others may use the machine meanwhile.
START_SECONDS = STOP_SECONDS = 60
# A request of the soak itself counts as unanswered after this time.
ANSWER_SECONDS = 30
POLL_SECONDS = 0.05

# The certificates of a soak are made by itself.
UNVERIFIED = ssl.create_default_context()
UNVERIFIED.check_hostname, UNVERIFIED.verify_mode = False, ssl.CERT_NONE
# They are on loopback, where no proxy of the environment reaches them.
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=UNVERIFIED))

CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
# No line of a server's log may match this, whatever clients do.
ALARM = re.compile(r"\bERROR\b|panicked|log lines were dropped")


class Broken(Exception):
    """Something does not hold that must. The message says what."""


def await_state(what, seconds, is_reached):
    """Returns the first true value of `is_reached`, or raises `Broken`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        reached = is_reached()
        if reached:
            return reached
        time.sleep(POLL_SECONDS)
    raise Broken(f"{what} within {seconds} s")


class Server:
    """One server on free ports, or again on the ports of its last life. It runs in a folder and logs to `<name>.log` there."""

    def __init__(self, program, folder, name, arguments, is_encrypted=False):
        self.program, self.folder, self.name, self.arguments = program, folder, name, arguments
        self.scheme = "https" if is_encrypted else "http"
        self.ready_file, self.log_file = folder / f"{name}.ready", folder / f"{name}.log"
        self.lines = self.http = "127.0.0.1:0"
        self.process = None
        self.log_file.write_text("")

    def start(self):
        """Starts the process and waits until both ports accept clients."""
        self.ready_file.unlink(missing_ok=True)
        addresses = ["--tcp", self.lines, "--http", self.http, "--ready-file", str(self.ready_file)]
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen([self.program, *addresses, *self.arguments], cwd=self.folder, stderr=log)
        await_state(f"{self.name} is not ready", START_SECONDS, self.is_ready)
        bound = dict(line.split() for line in self.ready_file.read_text().splitlines())
        self.lines, self.http = bound["tcp"], bound["http"]
        return self

    def is_ready(self):
        if self.process.poll() is not None:
            raise Broken(f"{self.name} has ended with code {self.process.returncode} at its start: see {self.log_file}")
        return self.ready_file.exists() and self.ready_file.stat().st_size > 0

    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def hang_up(self):
        """Has the server read its files again."""
        self.process.send_signal(signal.SIGHUP)

    def stop(self):
        """Drains the server, which must end with code 0."""
        self.process.terminate()
        await_state(f"{self.name} has not drained", STOP_SECONDS, lambda: self.process.poll() is not None)
        if self.process.returncode != 0:
            raise Broken(f"{self.name} has drained with exit code {self.process.returncode}, not 0")

    def kill(self):
        """Ends the server as a crash of the machine would."""
        self.process.kill()
        self.process.wait()

    def log(self):
        return self.log_file.read_text(errors="replace")

    def alarms(self):
        return [f"{self.name} logged: {line[:200]}" for line in self.log().splitlines() if ALARM.search(line)]

    def get(self, path):
        """The body of a plain answer, on a connection of its own."""
        with OPENER.open(f"{self.scheme}://{self.http}{path}", timeout=ANSWER_SECONDS) as answer:
            return answer.read().decode()

    def metrics(self):
        """All samples by name with labels, as in `roomcast_dropped_total{reason="slow"}`."""
        samples = (line.rsplit(" ", 1) for line in self.get("/metrics").splitlines() if line and line[0] != "#")
        return {name: float(value) for name, value in samples}

    def footprint(self):
        """Bytes of memory, descriptors, threads and seconds of processor time, as the kernel counts them."""
        process = Path("/proc") / str(self.process.pid)
        sizes = dict(re.findall(r"^(\w+): +(\d+) kB", (process / "smaps_rollup").read_text(), re.MULTILINE))
        kib = {name: int(size) for name, size in sizes.items()}
        fields = (process / "stat").read_text().rsplit(")", 1)[1].split()
        return {
            "private_bytes": (kib["Private_Clean"] + kib["Private_Dirty"]) * 1024,
            "resident_bytes": kib["Rss"] * 1024,
            "descriptors": len(os.listdir(process / "fd")),
            "threads": int(fields[17]),
            "cpu_seconds": (int(fields[11]) + int(fields[12])) / CLOCK_TICKS,
        }


def added(metrics, name):
    """A metric over all its labels."""
    return sum(value for key, value in metrics.items() if key == name or key.startswith(name + "{"))


def not_conserved(metrics):
    """How many deliveries are neither made nor dropped nor pending. It is 0 where nothing happens meanwhile."""
    made = [added(metrics, f"roomcast_{name}") for name in ("deliveries_total", "dropped_total", "queued_deliveries")]
    return added(metrics, "roomcast_fanned_out_total") - sum(made)
