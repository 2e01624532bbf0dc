"""Clients of every transport that come, go and misbehave: a process of its own, which always ends by SIGKILL.

What they receive is not checked here; the loads of `loadgen` and the probe do that on the same server at the same time.
"""

import asyncio
import json
import random
import socket
import struct

from . import hostile, wire
from .probing import SPAWNED, address

ROOMS = 20
HOT_ROOM = "guests-hot"
# Tasks of one kind at once.
COMING_AND_GOING, UNREADING, MUTE, STREAMING, IDLE, DRIPPING = 40, 6, 10, 8, 20, 10
# Silent members that stay until the process is killed.
LEFT_BEHIND_MAX = 100
HOT_BYTES, HOT_SECONDS = 2_000, 0.05
# A little receive buffer fills soon.
RECEIVE_BYTES = 4_096
PATIENCE_SECONDS = 5


class Guests:
    """The handle of one process."""

    def __init__(self, server, key, seed):
        self.count = SPAWNED.Value("q", 0)
        arguments = (address(server.lines), address(server.http), key, seed, self.count)
        self.process = SPAWNED.Process(target=run, args=arguments, daemon=True)

    def start(self):
        self.process.start()
        return self

    def kill(self):
        """Ends the process at once: its connections end in the middle of whatever they do. Returns how many there were."""
        self.process.kill()
        self.process.join()
        return self.count.value


def run(lines, http, key, seed, count):
    asyncio.run(Life(lines, http, key, seed, count).all())


class Life:
    """What all guests share."""

    def __init__(self, lines, http, key, seed, count):
        self.addresses = {"lines": lines, "http": http}
        self.key, self.seed, self.count = key, seed, count
        self.choose, self.left_behind = random.Random(seed), []

    async def all(self):
        kinds = [
            (self.come_and_go, COMING_AND_GOING), (self.read_nothing, UNREADING), (self.stay_mute, MUTE),
            (self.stream, STREAMING), (self.say_nothing, IDLE), (self.drip, DRIPPING), (self.talk_to_the_hot_room, 1),
            (self.attack, 2), (self.ask_the_api, 1),
        ]  # fmt: skip
        await asyncio.gather(*(self.repeat(act) for act, count in kinds for _ in range(count)))

    async def repeat(self, act):
        """Acts until the process is killed. Endings by the server are part of a guest's life."""
        while True:
            try:
                await act()
            except (OSError, EOFError, TimeoutError, asyncio.IncompleteReadError):
                pass
            await asyncio.sleep(self.choose.uniform(0.05, 0.5))

    async def connect(self, port, receive_bytes=None):
        connection = socket.socket()
        if receive_bytes:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        connection.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connection, self.addresses[port])
        with self.count.get_lock():
            self.count.value += 1
        return await asyncio.open_connection(sock=connection)

    def room(self):
        return f"guests-{self.choose.randrange(ROOMS)}"

    async def come_and_go(self):
        """Joins, says something, leaves or not, joins another room, and ends in one of five ways."""
        reader, writer = await self.connect("lines")
        for _ in range(self.choose.randrange(1, 4)):
            writer.write(f"NICK guest\nJOIN {self.room()}\nhello to all\nWHO\nHISTORY 5\nLEAVE\n".encode())
            await asyncio.wait_for(reader.readuntil(b"Left room\n"), PATIENCE_SECONDS)
        writer.write(f"JOIN {self.room()}\n".encode())
        way = self.choose.randrange(5)
        if way == 0:
            writer.write(b"QUIT\n")
        elif way == 1:
            reset(writer)
        elif way == 2:
            writer.write_eof()
            await asyncio.wait_for(reader.read(), PATIENCE_SECONDS)
        elif way == 3 and len(self.left_behind) < LEFT_BEHIND_MAX:
            self.left_behind.append(writer)
            return
        writer.close()

    async def read_nothing(self):
        """A member of the hot room that never reads: the server must cut it."""
        _, writer = await self.connect("lines", RECEIVE_BYTES)
        writer.transport.pause_reading()
        writer.write(f"JOIN {HOT_ROOM}\n".encode())
        await asyncio.sleep(4 * PATIENCE_SECONDS)
        writer.close()

    async def talk_to_the_hot_room(self):
        reader, writer = await self.connect("lines")
        writer.write(f"JOIN {HOT_ROOM}\n".encode())
        while True:
            writer.write(b"h" * HOT_BYTES + b"\n")
            await reader.readline()
            await asyncio.sleep(HOT_SECONDS)

    async def stay_mute(self):
        """A WebSocket that reads and never answers a ping: the server must cut it."""
        reader, writer = await self.connect("http")
        writer.write(wire.upgrade("/ws") + wire.frame(wire.TEXT, f"JOIN {self.room()}".encode()))
        while await reader.read(RECEIVE_BYTES):
            pass
        writer.close()

    async def say_nothing(self):
        """A connection to either port without a byte."""
        reader, writer = await self.connect(self.choose.choice(["lines", "http"]))
        await reader.read()
        writer.close()

    async def drip(self):
        """A request or a line, one byte a second."""
        reader, writer = await self.connect(self.choose.choice(["lines", "http"]))
        for byte in wire.request("GET", "/health"):
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(1)
        writer.close()

    async def attack(self):
        """All hostile inputs, one after the other, each on a connection that is left to the server for a moment."""
        self.seed += 1
        for port, sent in hostile.everything(self.seed):
            reader, writer = await self.connect(port)
            writer.write(sent)
            try:
                await asyncio.wait_for(reader.read(RECEIVE_BYTES), 1)
                await asyncio.sleep(0.1)
            except (OSError, TimeoutError):
                pass
            reset(writer)

    async def stream(self):
        """A client without WebSocket: a stream of the Centrifuge protocol with commands beside it, or a reader of a room."""
        way, room = self.choose.randrange(3), self.room()
        if way == 0:
            opened = wire.request("GET", f"/rooms/{room}?live=sse")
        elif way == 1:
            opened = wire.request("POST", "/connection/http_stream", b'{"id":1,"connect":{}}')
        else:
            opened = wire.request("GET", "/connection/sse?cf_connect=%7B%22id%22%3A1%2C%22connect%22%3A%7B%7D%7D")
        reader, writer = await self.connect("http")
        writer.write(opened)
        if way > 0:
            await self.command(reader, room)
        deadline = asyncio.get_running_loop().time() + self.choose.uniform(1, 3 * PATIENCE_SECONDS)
        while (left := deadline - asyncio.get_running_loop().time()) > 0:
            await asyncio.wait_for(reader.read(RECEIVE_BYTES), left)
        reset(writer)

    async def command(self, reader, room):
        """Joins and publishes in a session whose stream begins with the answer to `connect`."""
        answer = await asyncio.wait_for(reader.readuntil(b'"node":"'), PATIENCE_SECONDS)
        node = await asyncio.wait_for(reader.readuntil(b'"'), PATIENCE_SECONDS)
        session = answer.split(b'"session":"')[1].split(b'"')[0].decode()
        for number, command in enumerate([{"subscribe": {"channel": room}}, {"publish": {"channel": room, "data": "hi"}}], 2):
            frame = json.dumps({"id": number} | command)
            body = json.dumps({"session": session, "node": node[:-1].decode(), "data": frame})
            await self.ask(wire.request("POST", "/emulation", body.encode()))

    async def ask(self, request):
        """The answer to a request on a connection of its own."""
        reader, writer = await self.connect("http")
        writer.write(request)
        answer = await asyncio.wait_for(reader.read(), PATIENCE_SECONDS)
        writer.close()
        return answer

    async def ask_the_api(self):
        room = self.room()
        await self.ask(wire.api("publish", self.key, channel=room, data={"text": "from the backend"}))
        await self.ask(wire.api("broadcast", self.key, channels=[room, self.room()], data="to both"))
        for method in ("presence", "presence_stats", "history"):
            await self.ask(wire.api(method, self.key, channel=room, limit=5))
        await self.ask(wire.api("channels", self.key))
        await self.ask(wire.request("GET", f"/rooms/{room}"))
        await self.ask(wire.request("GET", "/"))


def reset(writer):
    """Closes with a reset in place of an orderly end."""
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
