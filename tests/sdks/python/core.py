"""The official SDK for Python in rooms of a server. python.test.cjs starts the server, with a proxy in front, and runs this
with both addresses and the secret of the tokens. Whenever this prints a line, the proxy cuts its connections."""

import asyncio
import base64
import hashlib
import hmac
import json
import sys
import time
import unittest

from centrifuge import Client, ClientEventHandler, ReplyError, SubscriptionEventHandler
from centrifuge.types import StreamPosition

ADDRESS, PROXY, SECRET = sys.argv[1:4]
WITHIN = 30  # seconds, a failsafe


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


class Rooms(unittest.IsolatedAsyncioTestCase):
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
        Rooms.rooms += 1
        return f"{prefix}:python-{Rooms.rooms}"

    def encode(self, value):
        return value

    def decode(self, value):
        return value

    async def heard(self, subscription, count):
        said = await subscription.said.count("publication", count)
        return [self.decode(context.pub.data) for context in said]

    async def test_members_hear_each_other_and_themselves(self):
        room = self.room("events")
        ada, bob = await self.connect(token=sign(sub="ada")), await self.connect()
        first = await self.subscribe(ada, room, join_leave=True)
        second = await self.subscribe(bob, room)
        values = [{"text": "hi"}, "grüß dich 🦀", 7, None, [1, {"a": []}]]
        for value in values:
            await first.publish(self.encode(value))
        self.assertEqual(await self.heard(first, len(values)), values)
        self.assertEqual(await self.heard(second, len(values)), values)
        self.assertEqual([context.pub.info.user for context in second.said.of("publication")], ["ada"] * len(values))
        await first.said.count("join", 2)
        await bob.disconnect()
        await first.said.count("leave", 1)

    async def test_presence_and_history(self):
        room = self.room("open")
        ada = await self.connect(token=sign(sub="ada"))
        subscription = await self.subscribe(ada, room)
        for number in range(1, 11):
            await subscription.publish(self.encode(number))
        presence = await subscription.presence()
        self.assertEqual([info.user for info in presence.clients.values()], ["ada"])
        stats = await subscription.presence_stats()
        self.assertEqual((stats.num_clients, stats.num_users), (1, 1))
        top = await subscription.history()
        self.assertEqual((top.offset, top.publications), (10, []))

        async def page(**options):
            return [publication.offset for publication in (await subscription.history(**options)).publications]

        since = StreamPosition(offset=4, epoch=top.epoch)
        self.assertEqual(await page(limit=-1), list(range(1, 11)))
        self.assertEqual(await page(limit=2, since=since), [5, 6])
        self.assertEqual(await page(limit=2, since=since, reverse=True), [3, 2])

    async def test_refusals_have_the_code_that_says_why(self):
        client = await self.connect()
        with self.assertRaises(ReplyError) as refused:
            await client.publish(self.room("closed"), self.encode(1))
        self.assertEqual((refused.exception.code, refused.exception.temporary), (103, False))
        with self.assertRaises(ReplyError) as refused:
            await client.rpc("method", self.encode(1))
        self.assertEqual(refused.exception.code, 108)
        events = Events()
        await client.new_subscription(self.room("closed"), events=events).subscribe()
        self.assertEqual([context.code for context in await events.count("unsubscribed", 1)], [103])

    async def test_after_cuts_everything_has_come_once_and_in_order(self):
        room = self.room("open")
        client, speaker = await self.connect(address=PROXY), await self.connect()
        subscription = await self.subscribe(client, room)
        for number in range(200):
            await speaker.publish(room, self.encode(number))
            if number % 50 == 25:
                print("cut", flush=True)
        self.assertEqual(await self.heard(subscription, 200), list(range(200)))
        again = subscription.said.of("subscribed")[1:]
        self.assertTrue(again and all(context.was_recovering and context.recovered for context in again))

    async def test_tokens_are_renewed_and_refused(self):
        calls = []
        renewed = asyncio.Event()

        async def get_token():
            calls.append(1)
            if len(calls) == 2:
                renewed.set()
            seconds = 1 if len(calls) == 1 else 3600
            return sign(sub="ada", exp=int(time.time()) + seconds)

        client = await self.connect(get_token=get_token)
        async with asyncio.timeout(WITHIN):
            await renewed.wait()
        await client.presence_stats(self.room("open"))
        self.assertEqual(len(client.said.of("connecting")), 1)
        events = Events()
        refused = Client(f"ws://{ADDRESS}/connection/websocket", events=events, token="none", use_protobuf=self.use_protobuf)
        await refused.connect()
        self.assertEqual([context.code for context in await events.count("disconnected", 1)], [3500])

    async def test_the_server_has_a_client_join_rooms(self):
        client = await self.connect(token=sign(sub="bob", channels=["open:server-side"]))
        await client.said.count("subscribed", 1)
        speaker = await self.connect()
        await speaker.publish("open:server-side", self.encode("to all"))
        said = await client.said.count("publication", 1)
        self.assertEqual([self.decode(context.pub.data) for context in said], ["to all"])


class RoomsInProtobuf(Rooms):
    use_protobuf = True

    def encode(self, value):
        return json.dumps(value).encode()

    def decode(self, value):
        return json.loads(value)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
