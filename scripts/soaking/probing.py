"""The probe: a process with three clients that stay for the whole soak and measure what a prompt user feels.

A line client publishes to a room of its own and a WebSocket client is a member of it; both must receive every message once and
in order. A third client is idle and sends PING. Times count from when a message was due, so a server that stalls shows.
"""

import multiprocessing
import os
import selectors
import socket
import time
from collections import deque
from statistics import quantiles

from . import wire

# Processes that are forked would share the sockets of this one, and keep them open.
SPAWNED = multiprocessing.get_context("spawn")
CLIENTS = 3
ROOM = "probe"
PUBLISH_SECONDS = 0.05
PING_SECONDS = 0.1
REPORT_SECONDS = 1.0
# Sent and not received for this long counts as lost, and ends the probe.
LOST_SECONDS = 20
RECEIVE_BYTES = 1 << 16
# What the process tries to be scheduled with, since its own delays count as the server's.
NICE = -15


class Probe:
    """The handle: the last second's latencies, and what was wrong."""

    def __init__(self, server):
        self.pipe, inner = SPAWNED.Pipe()
        addresses = (address(server.lines), address(server.http))
        self.process = SPAWNED.Process(target=run, args=(inner, *addresses), daemon=True)
        self.last, self.received, self.faults = {}, 0, []

    def start(self):
        self.process.start()

    def latencies(self):
        """Milliseconds at two quantiles over the last second that was reported."""
        try:
            while self.pipe.poll():
                self.take(*self.pipe.recv())
        except EOFError:
            pass  # The process has ended; `stop` looks at how.
        return self.last

    def take(self, kind, content):
        if kind == "fault":
            self.faults.append(f"probe: {content}")
        else:
            self.last, self.received = content, content.pop("received")

    def stop(self):
        """Ends the clients, once they have received what they have sent."""
        try:
            self.pipe.send("stop")
        except OSError:
            pass  # It has ended by itself, as it does when something is wrong.
        self.process.join(LOST_SECONDS + 5)
        self.latencies()
        if self.process.exitcode != 0 and not self.faults:
            self.faults.append(f"probe: ended with {self.process.exitcode}")


def address(text):
    host, port = text.rsplit(":", 1)
    return host, int(port)


def run(pipe, lines, http):
    """The process."""
    try:
        os.nice(NICE)
    except OSError:
        pass  # Only the privileged may, and it is no condition.
    try:
        Clients(pipe, lines, http).run()
    except Exception as error:
        pipe.send(("fault", f"{error!r}"))


class Lines:
    """A client of the line protocol."""

    def __init__(self, address):
        self.socket, self.buffer = socket.create_connection(address), bytearray()

    def send(self, text):
        self.socket.sendall(text.encode() + b"\n")

    def receive(self, most=RECEIVE_BYTES):
        received = self.socket.recv(most)
        if not received:
            raise ConnectionError(f"the server has closed the connection behind {bytes(self.buffer[-100:])!r}")
        self.buffer += received

    def messages(self):
        """The lines that came in one read."""
        self.receive()
        while (line := wire.take_line(self.buffer)) is not None:
            yield line.decode()


class WebSocket(Lines):
    """A client of the text protocol over WebSocket."""

    def __init__(self, address):
        super().__init__(address)
        self.socket.sendall(wire.upgrade("/ws"))
        while b"\r\n\r\n" not in self.buffer:
            self.receive(1)
        if not self.buffer.startswith(b"HTTP/1.1 101"):
            raise ConnectionError(f"no upgrade but {bytes(self.buffer[:60])!r}")
        self.buffer.clear()

    def send(self, text):
        self.socket.sendall(wire.frame(wire.TEXT, text.encode()))

    def messages(self):
        self.receive()
        while (taken := wire.take_frame(self.buffer)) is not None:
            opcode, payload = taken
            if opcode == wire.PING:
                self.socket.sendall(wire.frame(wire.PONG, payload))
            elif opcode == wire.CLOSE:
                raise ConnectionError(f"the server has closed the WebSocket: {payload!r}")
            else:
                yield payload.decode()


class Clients:
    """The three clients. Messages are `<number> <nanoseconds when due>`, and so are the tokens of PING."""

    def __init__(self, pipe, lines, http):
        self.pipe = pipe
        self.publisher, self.member, self.idle = Lines(lines), WebSocket(http), Lines(lines)
        self.said, self.stopping = 0, False
        # Numbers that each of the two has still to receive.
        self.next = {self.publisher: 1, self.member: 1}
        self.asked = deque()
        self.deliveries, self.pings = [], []
        self.selector = selectors.DefaultSelector()
        for client in (self.publisher, self.member, self.idle):
            self.selector.register(client.socket, selectors.EVENT_READ, client)
        self.selector.register(pipe, selectors.EVENT_READ, None)

    def run(self):
        self.join(self.member)
        self.join(self.publisher)
        now = time.monotonic()
        self.timers = {self.publish: now, self.ping: now, self.report: now + REPORT_SECONDS}
        self.periods = {self.publish: PUBLISH_SECONDS, self.ping: PING_SECONDS, self.report: REPORT_SECONDS}
        while not (self.stopping and min(self.next.values()) > self.said):
            self.turn()
        self.report(0)

    def join(self, client):
        client.send(f"JOIN {ROOM}")
        while f"Joined {ROOM}" not in list(client.messages()):
            pass

    def turn(self):
        """Does what is due, then reads until something else is."""
        for act, due in self.timers.items():
            if due <= time.monotonic():
                act(due)
                self.timers[act] = due + self.periods[act]
        wait = max(0.0, min(self.timers.values()) - time.monotonic())
        for key, _ in self.selector.select(wait):
            if key.data is None:
                self.stopping = bool(self.pipe.recv())
                self.selector.unregister(self.pipe)
            else:
                self.read(key.data)

    def publish(self, due):
        if self.stopping:
            return
        self.said += 1
        self.publisher.send(f"{self.said} {int(due * 1e9)}")

    def ping(self, due):
        self.asked.append(due)
        self.idle.send(f"PING {int(due * 1e9)}")

    def read(self, client):
        for message in client.messages():
            if client is self.idle:
                self.take_pong(message)
            elif message[0] == "[":
                self.take_delivery(client, message)

    def take_pong(self, message):
        if message.startswith("PONG "):
            self.asked.popleft()
            self.pings.append(since(message.split()[1]))

    def take_delivery(self, client, message):
        number, due = message.rsplit("] ", 1)[1].split()
        if int(number) != self.next[client]:
            raise ValueError(f"a member received message {number} where {self.next[client]} was next")
        self.next[client] += 1
        if client is self.member:
            self.deliveries.append(since(due))

    def report(self, _):
        """Reports a second, and whether something is overdue."""
        overdue = (self.said - min(self.next.values()) + 1) * PUBLISH_SECONDS
        waiting = time.monotonic() - self.asked[0] if self.asked else 0.0
        if max(overdue, waiting) > LOST_SECONDS:
            raise TimeoutError(f"no delivery for {overdue:.0f} s, no PONG for {waiting:.0f} s")
        values = quantiles_of("delivery", self.deliveries) | quantiles_of("ping", self.pings)
        self.pipe.send(("latencies", values | {"received": min(self.next.values()) - 1}))
        self.deliveries, self.pings = [], []


def since(due):
    """Milliseconds since a time in nanoseconds."""
    return (time.monotonic_ns() - int(due)) / 1e6


def quantiles_of(name, milliseconds):
    """The median and p99, if at least two values came."""
    if len(milliseconds) < 2:
        return {}
    cuts = quantiles(milliseconds, n=100, method="inclusive")
    return {f"{name}_p50_ms": round(cuts[49], 3), f"{name}_p99_ms": round(cuts[98], 3)}
