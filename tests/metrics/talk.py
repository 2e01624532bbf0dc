"""Line clients that talk until they are told to stop."""

import contextlib
import socket
import threading

# How often somebody says something, in seconds.
PAUSE = 0.1

# Seconds; a failsafe.
PATIENCE = 60


class Member:
    """A line client that is in a room."""

    def __init__(self, address):
        host, port = address.rsplit(":", 1)
        self._socket = socket.create_connection((host, int(port)), timeout=PATIENCE)
        self._lines = self._socket.makefile("r")
        self.say("JOIN metrics")
        self.hear()

    def say(self, line):
        self._socket.sendall(f"{line}\n".encode())

    def hear(self):
        """Reads until the server has answered everything so far."""
        self.say("PING heard")
        while (line := self._lines.readline()).strip() != "PONG heard":
            assert line, "the server has closed the connection"

    def close(self):
        self._socket.close()


@contextlib.contextmanager
def keep_talking(addresses):
    """Two members at each of these addresses, of which one talks, until the context ends."""
    members = [Member(address) for address in addresses for _ in range(2)]
    stop = threading.Event()

    def talk():
        while not stop.wait(PAUSE):
            for member in members[::2]:
                member.say("hello")
            for member in members:
                member.hear()

    thread = threading.Thread(target=talk, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(timeout=PATIENCE)
        for member in members:
            member.close()
