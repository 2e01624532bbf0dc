"""The official SDK for Python in rooms of a server. python.test.cjs starts the server, with a proxy in front, and runs this
with both addresses and the secret of the tokens. Whenever this prints a line, the proxy cuts its connections."""

import asyncio
import json
import sys
import time
import unittest

from centrifuge import Client, ReplyError
from centrifuge.types import StreamPosition

from clients import ADDRESS, PROXY, WITHIN, Clients, Events, sign


class Rooms(Clients):
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

    async def test_a_guest_chooses_a_nick(self):
        room = self.room("open")
        guest, other = await self.connect(), await self.connect()
        subscription, listener = await self.subscribe(guest, room), await self.subscribe(other, room)
        result = await guest.rpc("nick", self.encode({"nick": "ada"}))
        self.assertEqual(self.decode(result.data), {"nick": "~ada"})
        await subscription.publish(self.encode("hi"))
        await self.heard(listener, 1)
        [said] = listener.said.of("publication")
        infos = [info.conn_info for info in (await listener.presence()).clients.values() if info.conn_info]
        self.assertEqual([self.decode(info) for info in [said.pub.info.conn_info, *infos]], [{"name": "~ada"}] * 2)

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
        client = None
        renewed = asyncio.Event()

        async def get_token():
            # The first token may have expired before the server has seen it; then the SDK asks for another one.
            if client is not None:
                renewed.set()
            seconds = 1 if client is None else 3600
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
