"""Two nodes around one NATS server: the second node, and now and then NATS, ends in the middle of each round's load."""

import os
import shutil
import socket
import subprocess

from .loads import COMMON
from .probing import address
from .servers import START_SECONDS, STOP_SECONDS, Broken, Server, await_state

# NATS is killed in one round of this many.
NATS_ROUNDS = 3


class Cluster:
    """The nodes and their NATS. The first node lives as long as the soak and is judged."""

    def __init__(self, program, folder):
        self.nats_server = os.environ.get("NATS_SERVER", "nats-server")
        if not shutil.which(self.nats_server):
            raise Broken("no nats-server on the path: install it, or set NATS_SERVER")
        self.folder, self.nats, self.nats_address = folder, None, free_address()
        arguments = ["--cluster", f"nats://{self.nats_address}", "--cluster-name", "soak", "--history-age", "10s"]
        self.nodes = [Server(program, folder, name, arguments) for name in ("node", "other-node")]

    def start(self):
        shutil.rmtree(self.folder / "nats", ignore_errors=True)
        self.start_nats()
        for node in self.nodes:
            node.start()
        return self

    def start_nats(self):
        host, port = address(self.nats_address)
        listen, store = ["--addr", host, "--port", str(port)], ["--jetstream", "--store_dir", str(self.folder / "nats")]
        with (self.folder / "nats.log").open("ab") as log:
            self.nats = subprocess.Popen([self.nats_server, *listen, *store], stdout=log, stderr=log)
        await_state("NATS does not accept", START_SECONDS, self.is_listening)

    def is_listening(self):
        with socket.socket() as probe:
            return probe.connect_ex(address(self.nats_address)) == 0

    def load(self, number, seconds):
        """Arguments of `loadgen`: clients of all nodes that come back at the other one."""
        lines = [f"tcp://{node.lines}" for node in self.nodes]
        http = [f"{scheme}://{node.http}" for node in self.nodes for scheme in ("ws", "centrifuge+ws")]
        load = ["--failover", "--clients", "200", "--rooms", "20", "--rate", "60", "--duration", f"{seconds}s"]
        return ["--targets", ",".join(lines + http), *load, "--seed", str(number), *COMMON]

    def break_down(self, number):
        """Ends the second node, by SIGTERM and SIGKILL by turns, or NATS, and starts it again. Says what it did."""
        if number % NATS_ROUNDS == 0:
            self.nats.kill()
            self.nats.wait()
            self.start_nats()
            return "NATS killed"
        node = self.nodes[1]
        node.stop() if number % 2 else node.kill()
        node.start()
        return "node stopped" if number % 2 else "node killed"

    def stop(self):
        """Stops the nodes, then NATS."""
        for node in self.nodes:
            node.stop()
        self.nats.terminate()
        await_state("NATS has not ended", STOP_SECONDS, lambda: self.nats.poll() is not None)

    def end(self):
        """Ends what is still there, whatever state it is in."""
        for process in [*(node.process for node in self.nodes), self.nats]:
            if process is not None and process.poll() is None:
                process.kill()
                process.wait()


def free_address():
    """An address that nobody listens on. NATS must come back on the same one."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{bound.getsockname()[1]}"
