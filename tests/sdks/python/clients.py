"""Clients of the official SDK for Python. The tests that use them have the addresses of a server and of a proxy in front
of it, and the secret of the tokens, on their command line."""

import asyncio
import base64
import hashlib
import hmac
import json
import sys
import unittest

from centrifuge import Client, ClientEventHandler, SubscriptionEventHandler

ADDRESS, PROXY, SECRET = sys.argv[1:4]
WITHIN = 120  # seconds, a failsafe


def sign(**claims):
    def part(value):
        return base64.urlsafe_b64encode(value).rstrip(b"=")

    head = part(b'{"alg":"HS256"}') + b"." + part(json.dumps(claims).encode())
    return (head + b"." + part(hmac.digest(SECRET.encode(), head, hashlib.sha256))).decode()


class Events(ClientEventHandler, SubscriptionEventHandler):
    """Records what the SDK says, by the name of the event."""

    def __init__(self):
        self.said = []
        self.changed = asyncio.Event()

    def __getattribute__(self, name):
        if not name.startswith("on_"):
            return super().__getattribute__(name)

        async def record(context):
            self.said.append((name[3:], context))
            self.changed.set()

        return record

    def of(self, name):
        return [context for said, context in self.said if said == name]

    async def count(self, name, count):
        async with asyncio.timeout(WITHIN):
            while len(self.of(name)) < count:
                self.changed.clear()
                await self.changed.wait()
        return self.of(name)


class Clients(unittest.IsolatedAsyncioTestCase):
    use_protobuf = False
    rooms = 0

    async def connect(self, address=ADDRESS, token=None, **options):
        events = Events()
        client = Client(
            f"ws://{address}/connection/websocket",
            events=events,
            token=token or "",
            use_protobuf=self.use_protobuf,
            min_reconnect_delay=0.01,
            max_reconnect_delay=0.1,
            timeout=WITHIN,
            **options,
        )
        client.said = events
        self.addAsyncCleanup(client.disconnect)
        await client.connect()
        await client.ready(WITHIN)
        return client

    async def subscribe(self, client, room, **options):
        events = Events()
        subscription = client.new_subscription(room, events=events, **options)
        subscription.said = events
        await subscription.subscribe()
        await subscription.ready(WITHIN)
        return subscription

    def room(self, prefix):
        Clients.rooms += 1
        return f"{prefix}:python-{Clients.rooms}"

    def encode(self, value):
        return value

    def decode(self, value):
        return value

    async def heard(self, subscription, count):
        said = await subscription.said.count("publication", count)
        return [self.decode(context.pub.data) for context in said]
