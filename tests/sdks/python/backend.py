"""The official library of the server API for Python, `cent`, against a server with clients of the SDK. backend.test.cjs
runs this with the server's address (twice, as clients.py wants it), the secret of its tokens and two API keys: one for
everything, and one for publishing in `open:*`."""

import asyncio
import sys
import unittest

import cent
from cent import exceptions

from clients import ADDRESS, Clients, Events, WITHIN, sign

ALL, PUBLISHER = sys.argv[4:6]
API = f"http://{ADDRESS}/api"


class Backend(Clients):
    async def asyncSetUp(self):
        self.api = cent.AsyncClient(API, ALL, timeout=WITHIN)
        self.addAsyncCleanup(self.api.close)

    async def refused(self, code, call):
        with self.assertRaises(exceptions.CentApiResponseError) as refused:
            await call
        self.assertEqual(refused.exception.code, code, refused.exception.message)

    async def member(self, prefix="open", user="ada"):
        """A user of its own, with a client in a room."""
        room = self.room(f"{prefix}:backend")
        user = f"{user}-{room}"
        client = await self.connect(token=sign(sub=user))
        return room, user, client, await self.subscribe(client, room)

    async def heard(self, subscription, count):
        return [context.pub for context in await subscription.said.count("publication", count)]

    async def test_what_is_published_is_heard_with_its_tags_and_place(self):
        room, _, _, subscription = await self.member()
        values = [{"text": "grüß dich 🦀"}, [1, {"a": None}], "text", 7, True]
        for offset, value in enumerate(values, 1):
            result = await self.api.publish(cent.PublishRequest(channel=room, data=value, tags={"number": str(offset)}))
            self.assertEqual(result.offset, offset)
        await self.api.publish(cent.PublishRequest(channel=room, data="of the moment", skip_history=True))
        heard = await self.heard(subscription, len(values) + 1)
        self.assertEqual([publication.data for publication in heard], [*values, "of the moment"])
        self.assertEqual([publication.info for publication in heard], [None] * len(heard))
        self.assertEqual([publication.tags for publication in heard[:-1]], [{"number": str(number)} for number in range(1, 6)])
        history = await self.api.history(cent.HistoryRequest(channel=room, limit=-1))
        self.assertEqual([publication.data for publication in history.publications], values)
        self.assertEqual((history.offset, history.epoch), (len(values), result.epoch))

    async def test_a_broadcast_is_answered_room_by_room(self):
        first, second = [await self.member() for _ in range(2)]
        rooms = [first[0], "two words", second[0]]
        result = await self.api.broadcast(cent.BroadcastRequest(channels=rooms, data="all"))
        self.assertEqual([answer.result and answer.result.offset for answer in result.responses], [1, None, 1])
        self.assertEqual([answer.error and answer.error.code for answer in result.responses], [None, 107, None])
        for _, _, _, subscription in (first, second):
            self.assertEqual([publication.data for publication in await self.heard(subscription, 1)], ["all"])

    async def test_repeats_of_an_idempotency_key_publish_once(self):
        room, _, _, subscription = await self.member()
        request = cent.PublishRequest(channel=room, data="once", idempotency_key="order 7")
        results = await asyncio.gather(*(self.api.publish(request) for _ in range(20)))
        self.assertEqual({(result.offset, result.epoch) for result in results}, {(1, results[0].epoch)})
        await self.api.publish(cent.PublishRequest(channel=room, data="next", idempotency_key="order 8"))
        self.assertEqual([publication.data for publication in await self.heard(subscription, 2)], ["once", "next"])

    async def test_clients_are_made_to_join_and_leave(self):
        room, user, client, _ = await self.member()
        # A room that only tokens open.
        other = self.room("team")
        await self.api.subscribe(cent.SubscribeRequest(user=user, channel=other, info={"role": "guest"}, data={"welcome": 1}))
        (subscribed,) = await client.said.count("subscribed", 1)
        self.assertEqual((subscribed.channel, subscribed.data), (other, {"welcome": 1}))
        members = (await self.api.presence(cent.PresenceRequest(channel=other))).presence
        self.assertEqual([(member.user, member.chan_info) for member in members.values()], [(user, {"role": "guest"})])
        await self.api.publish(cent.PublishRequest(channel=other, data="hello"))
        (heard,) = await client.said.count("publication", 1)
        self.assertEqual((heard.channel, heard.pub.data), (other, "hello"))
        await self.api.unsubscribe(cent.UnsubscribeRequest(user=user, channel=other))
        await client.said.count("unsubscribed", 1)
        self.assertEqual((await self.api.presence_stats(cent.PresenceStatsRequest(channel=other))).num_clients, 0)
        await self.api.unsubscribe(cent.UnsubscribeRequest(user="nobody", channel=room))
        # The rule lets nobody in, but the application decides.
        closed = self.room("closed")
        await self.api.subscribe(cent.SubscribeRequest(user=user, channel=closed))
        (_, subscribed) = await client.said.count("subscribed", 2)
        self.assertEqual(subscribed.channel, closed)

    async def test_clients_of_a_user_are_disconnected_but_for_those_that_are_listed(self):
        room, user, client, subscription = await self.member()
        spared = await self.connect(token=sign(sub=user))
        (connected,) = await spared.said.count("connected", 1)
        words = cent.Disconnect(code=4501, reason="banned")
        await self.api.disconnect(cent.DisconnectRequest(user=user, whitelist=[connected.client], disconnect=words))
        (disconnected,) = await client.said.count("disconnected", 1)
        self.assertEqual((disconnected.code, disconnected.reason), (4501, "banned"))
        self.assertEqual((await self.api.presence_stats(cent.PresenceStatsRequest(channel=room))).num_clients, 0)
        await self.api.disconnect(cent.DisconnectRequest(user=user))
        (disconnected,) = await spared.said.count("disconnected", 1)
        self.assertEqual(disconnected.code, 3503)

    async def test_a_connection_is_renewed_or_expires(self):
        room, user, client, subscription = await self.member()
        await self.api.refresh(cent.RefreshRequest(user=user, expire_at=4_000_000_000))
        self.assertEqual((await self.api.presence_stats(cent.PresenceStatsRequest(channel=room))).num_clients, 1)
        await self.api.refresh(cent.RefreshRequest(user=user, expired=True))
        await client.said.count("connecting", 2)
        self.assertEqual([context.code for context in client.said.of("connecting")][1:], [3005])

    async def test_presence_and_pages_of_history(self):
        room, user, client, _ = await self.member()
        await self.subscribe(await self.connect(), room)
        await self.subscribe(await self.connect(token=sign(sub=user, info={"team": 7})), room)
        stats = await self.api.presence_stats(cent.PresenceStatsRequest(channel=room))
        self.assertEqual((stats.num_clients, stats.num_users), (3, 2))
        members = (await self.api.presence(cent.PresenceRequest(channel=room))).presence
        self.assertEqual(sorted(member.user for member in members.values()), ["", user, user])
        self.assertTrue(all(id == member.client for id, member in members.items()))
        self.assertEqual([member.conn_info for member in members.values() if member.conn_info], [{"team": 7}])
        for number in range(1, 11):
            await self.api.publish(cent.PublishRequest(channel=room, data=number))
        top = await self.api.history(cent.HistoryRequest(channel=room))
        self.assertEqual((top.offset, top.publications), (10, []))

        async def page(offset=None, **options):
            since = None if offset is None else cent.StreamPosition(offset=offset, epoch=top.epoch)
            result = await self.api.history(cent.HistoryRequest(channel=room, since=since, **options))
            return [publication.offset for publication in result.publications]

        self.assertEqual(await page(limit=-1), list(range(1, 11)))
        self.assertEqual(await page(limit=3), [1, 2, 3])
        self.assertEqual(await page(4, limit=2), [5, 6])
        self.assertEqual(await page(4, limit=2, reverse=True), [3, 2])
        offset, read = 0, []
        while found := await page(offset, limit=4):
            read, offset = read + found, found[-1]
        self.assertEqual(read, list(range(1, 11)))
        await self.api.history_remove(cent.HistoryRemoveRequest(channel=room))
        self.assertEqual(await page(limit=-1), [])
        self.assertEqual((await self.api.publish(cent.PublishRequest(channel=room, data=11))).offset, 11)

    async def test_rooms_and_the_server(self):
        room, _, _, _ = await self.member(prefix="listed")
        # The list may be half a second old.
        channels = {}
        while room not in channels:
            channels = (await self.api.channels(cent.ChannelsRequest(pattern="listed:*"))).channels
        self.assertEqual({name: info.num_clients for name, info in channels.items()}, {room: 1})
        (node,) = (await self.api.info(cent.InfoRequest())).nodes
        self.assertGreaterEqual(min(node.num_clients, node.num_users, node.num_channels, node.num_subs), 1)

    async def test_a_batch_is_answered_call_by_call(self):
        room, user, _, subscription = await self.member()
        calls = [
            cent.PublishRequest(channel=room, data="one"),
            cent.PublishRequest(channel=room, data="two"),
            cent.PresenceStatsRequest(channel=room),
            cent.HistoryRequest(channel=room, limit=-1),
            cent.UnsubscribeRequest(channel=room, user="nobody"),
        ]
        replies = (await self.api.batch(cent.BatchRequest(requests=calls))).replies
        first, second, stats, history, left = replies
        self.assertEqual((first.offset, second.offset, stats.num_clients), (1, 2, 1))
        self.assertEqual([publication.data for publication in history.publications], ["one", "two"])
        self.assertIsInstance(left, cent.UnsubscribeResult)
        self.assertEqual([publication.data for publication in await self.heard(subscription, 2)], ["one", "two"])
        # The library does not know of calls that were refused, though the others were executed.
        with self.assertRaises(KeyError):
            await self.api.batch(cent.BatchRequest(requests=[cent.PublishRequest(channel="two words", data=1), *calls[2:3]]))
        parallel = await self.api.batch(cent.BatchRequest(requests=calls[2:4] * 30, parallel=True))
        self.assertEqual([type(reply) for reply in parallel.replies], [cent.PresenceStatsResult, cent.HistoryResult] * 30)

    async def test_errors_have_the_codes_that_the_library_knows(self):
        room, user, client, _ = await self.member()
        (connected,) = client.said.of("connected")
        await self.refused(107, self.api.publish(cent.PublishRequest(channel="two words", data=1)))
        await self.refused(107, self.api.disconnect(cent.DisconnectRequest(user="")))
        await self.refused(108, self.api.publish(cent.PublishRequest(channel=room, data=1, version=7)))
        await self.refused(108, self.api.disconnect(cent.DisconnectRequest(user=user, session="session")))
        await self.refused(108, self.api.history(cent.HistoryRequest(channel=self.room("forgetful"))))
        await self.api.publish(cent.PublishRequest(channel=room, data=1))
        wrong = cent.StreamPosition(offset=1, epoch="another")
        await self.refused(112, self.api.history(cent.HistoryRequest(channel=room, limit=1, since=wrong)))
        # A method that the server does not have is a path that is not there.
        with self.assertRaises(exceptions.CentTransportError) as refused:
            await self.api.connections(cent.ConnectionsRequest(user=user, expression=""))
        self.assertEqual(refused.exception.status_code, 404)

    async def test_a_key_does_what_it_may_and_no_more(self):
        async with cent.AsyncClient(API, PUBLISHER, timeout=WITHIN) as api:
            await api.publish(cent.PublishRequest(channel=self.room("open"), data=1))
            for call in [
                api.publish(cent.PublishRequest(channel=self.room("events"), data=1)),
                api.history(cent.HistoryRequest(channel=self.room("open"))),
                api.channels(cent.ChannelsRequest()),
                api.info(cent.InfoRequest()),
                api.disconnect(cent.DisconnectRequest(user="ada")),
                api.subscribe(cent.SubscribeRequest(user="ada", channel=self.room("open"))),
            ]:
                await self.refused(103, call)
        for key in ["rck_unknown", ""]:
            async with cent.AsyncClient(API, key, timeout=WITHIN) as api:
                with self.assertRaises(exceptions.CentUnauthorizedError):
                    await api.info(cent.InfoRequest())

    async def test_tokens_are_taken_back(self):
        token = sign(sub="revoked", jti="a token of the backend")
        client = await self.connect(token=token)
        await self.api.revoke_token(cent.RevokeTokenRequest(uid="a token of the backend"))
        (disconnected,) = await client.said.count("disconnected", 1)
        self.assertEqual(disconnected.code, 3503)
        _, user, client, _ = await self.member()
        await self.api.invalidate_user_tokens(cent.InvalidateUserTokensRequest(user=user))
        await client.said.count("disconnected", 1)

    async def test_the_client_that_blocks_has_the_same_answers(self):
        room, _, _, subscription = await self.member()

        def publish():
            api = cent.Client(API, ALL, timeout=WITHIN)
            return [api.publish(cent.PublishRequest(channel=room, data=number)).offset for number in range(50)]

        self.assertEqual(await asyncio.to_thread(publish), list(range(1, 51)))
        self.assertEqual([publication.data for publication in await self.heard(subscription, 50)], list(range(50)))


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
