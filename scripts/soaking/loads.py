"""Loads of `loadgen` on servers of a soak: it checks every delivery, and its exit code says whether any was wrong."""

import json
import subprocess

from .servers import STOP_SECONDS

# A load that has not ended by itself is ended, and counts as a fault.
LOAD_SECONDS_MAX = 150
# The machine is full and others may use it too.
COMMON = ["--patience", "30s", "--warmup", "1s"]


class Load:
    """One run of `loadgen`."""

    def __init__(self, loadgen, folder, name, arguments):
        self.name, self.report_file = name, folder / f"{name}.json"
        self.log_file = folder / f"{name}.txt"
        self.report_file.unlink(missing_ok=True)
        command = [loadgen, *arguments, "--json", str(self.report_file)]
        with self.log_file.open("wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)

    def wait(self):
        """Waits for the end: what was wrong, and the deliveries that were checked."""
        try:
            code = self.process.wait(LOAD_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self.end()
            return [f"loadgen {self.name}: has not ended within {LOAD_SECONDS_MAX} s"], 0
        report = json.loads(self.report_file.read_text()) if self.report_file.exists() else {}
        if code == 0:
            return [], deliveries(report)
        said = report.get("faults") or self.log_file.read_text(errors="replace").splitlines()[-3:]
        return [f"loadgen {self.name}: exit code {code}: {'; '.join(map(str, said))[:400]}"], deliveries(report)

    def end(self):
        """Ends a load that still runs, by a kill if it takes no request."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def deliveries(report):
    """Deliveries of the rooms and the giant room, as far as a report has them."""
    rooms = [report.get("rooms"), report.get("giant")]
    return sum(of["tally"]["received"] for of in rooms if of)


def mixed(main, number, seconds):
    """All transports in small rooms or in pairs, by turns, and a giant room; some come and go, some stop reading."""
    schemes = ("ws", "centrifuge+ws", "centrifuge-protobuf+ws")
    targets = [f"tcp://{main.lines}", *(f"{scheme}://{main.http}" for scheme in schemes)]
    rooms, giant = ("50", "800@1") if number % 2 else ("500", "1200@0.5")
    load = ["--clients", "1000", "--rooms", rooms, "--rate", "150", "--giant", giant, "--churn", "30", "--slow", "0.02"]
    return [*targets, *load, "--duration", f"{seconds}s", "--seed", str(number), *COMMON]


def reconnecting(main, number, seconds):
    """Half of the clients are reset at any byte and resume from their positions."""
    targets = [f"tcp://{main.lines}", f"ws://{main.http}", f"centrifuge+ws://{main.http}"]
    cut = ["--reconnect", "0.5@3s", "--away", "2s", "--cut", ("members", "rooms")[number % 2]]
    load = ["--clients", "500", "--rooms", "25", "--rate", "100", *cut]
    return [*targets, *load, "--duration", f"{seconds}s", "--seed", str(number), *COMMON]


def readers(main, number, seconds, key_file):
    """Readers of rooms over plain HTTP, for whom the server API publishes."""
    over = ["--publish-over", f"api://{main.http}", "--api-key-file", str(key_file)]
    load = ["--clients", "200", "--rooms", "10", "--rate", "40", "--reconnect", "0.3@3s", *over]
    return [f"sse://{main.http}", *load, "--duration", f"{seconds}s", "--seed", str(number), *COMMON]


def compressed(main, number, seconds):
    """WebSocket clients that agree to compression."""
    targets = [f"ws://{main.http}", f"centrifuge+ws://{main.http}"]
    load = ["--clients", "200", "--rooms", "4", "--rate", "20", "--size", "1024", "--churn", "5", "--deflate"]
    return [*targets, *load, "--duration", f"{seconds}s", "--seed", str(number), *COMMON]


def encrypted(tls, number, seconds):
    """All transports over TLS; some are reset and resume their sessions of TLS and their rooms."""
    targets = [f"tls://{tls.lines}", f"wss://{tls.http}", f"centrifuge+wss://{tls.http}"]
    load = ["--clients", "300", "--rooms", "15", "--rate", "45", "--reconnect", "0.4@3s", "--insecure"]
    return [*targets, *load, "--duration", f"{seconds}s", "--seed", str(number), *COMMON]


def stopped(program, number):
    """A server of its own that is stopped by SIGTERM in a burst: all must reach all, and it must end with code 0."""
    server = f"{program} --workers 1 --log error --tcp 127.0.0.1:28480 --http 127.0.0.1:28430 {UNBOUNDED}"
    burst = ["burst", "tcp://127.0.0.1:28480", "--clients", "400", "--messages", "4", "--watchers", "20"]
    return ["overload", *burst, "--stop-after", "1s", "--for", "40s", "--spawn", server]


# Large enough that no client is cut as a slow consumer while the server drains, so every lost delivery is the server's fault.
UNBOUNDED = "--outbox-bytes 64MiB --outbox-messages 65536 --outbox-budget 4GiB"
