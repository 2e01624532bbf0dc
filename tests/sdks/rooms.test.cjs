// A room as its members see it: what they say, who is there, who comes and goes.
"use strict";

const assert = require("node:assert/strict");
const { before, after } = require("node:test");
const { Server } = require("./helpers/server.cjs");
const { next, plain, Record, rejection } = require("./helpers/events.cjs");
const { sign } = require("./helpers/tokens.cjs");
const { connect, connectAs, subscribe, scenario, inEachDialect, room, DIALECTS } = require("./helpers/clients.cjs");

let server;
before(async () => (server = await Server.start()));
after(() => server.remove());

inEachDialect("members hear each other and themselves in one order", async (dialect) => {
    const name = room("chat");
    const [ada, bob] = [await connectAs("ada", server.http, {}, dialect), await connectAs("bob", server.http)];
    const members = [await subscribe(ada, name), await subscribe(bob, name)];
    await Promise.all(Array.from({ length: 40 }, (_, n) => members[n % 2].publish({ n })));
    const [heard, other] = await Promise.all(members.map(({ publications }) => publications.count(40)));
    assert.deepEqual(heard.map(({ offset }) => Number(offset)), Array.from({ length: 40 }, (_, n) => n + 1));
    assert.deepEqual(heard.map(({ data }) => data), other.map(({ data }) => data));
    for (const [client, user, remainder] of [[ada, "ada", 0], [bob, "bob", 1]]) {
        const own = heard.filter(({ data }) => data.n % 2 === remainder);
        assert.ok(own.every(({ info }) => info.client === client.id && info.user === user));
        const order = own.map(({ data }) => data.n);
        // Requests of a client without WebSocket may overtake each other.
        if (client === ada && dialect.isStream) order.sort((a, b) => a - b);
        assert.deepEqual(order, Array.from({ length: 20 }, (_, n) => 2 * n + remainder));
    }
});

inEachDialect("every JSON value arrives as it was said", async (dialect) => {
    const values = [
        null, true, false, 0, -1, 1.5e300, 9007199254740991, "", "grüß dich 🦀 \u2028", "a\nb\t\"\\", [], {},
        [[[null]], { a: { b: [1, "2", false] } }], { "": "", text: "hi", "\u0000": "\u0001" }, "x".repeat(30_000),
    ];
    const name = room("chat");
    const members = [await connect(server.http, {}, dialect), await connect(server.http)];
    const [speaker, listener] = await Promise.all(members.map((client) => subscribe(client, name)));
    for (const value of values) await speaker.publish(value);
    await Promise.all([speaker, listener].map(({ publications }) => publications.count(values.length)));
    assert.deepEqual(speaker.publications.data, values);
    assert.deepEqual(listener.publications.data, values);
    const { publications } = await listener.history({ limit: -1 });
    assert.deepEqual(publications.map(({ data }) => data), values);
});

inEachDialect("presence names the members with what their tokens say, and forgets them at once", async (dialect) => {
    const name = room("chat");
    const token = sign({ sub: "ada", info: { name: "Ada", role: "admin" } });
    const ada = await connect(server.http, { token }, dialect);
    const [again, guest] = [await connectAs("ada", server.http, {}, dialect), await connect(server.http, {}, dialect)];
    const subscription = await subscribe(ada, name);
    for (const other of [again, guest]) await subscribe(other, name);
    assert.deepEqual(await subscription.presenceStats(), { numClients: 3, numUsers: 2 });
    const { clients } = await ada.presence(name);
    assert.deepEqual(Object.keys(clients).sort(), [ada.id, again.id, guest.id].sort());
    assert.equal(clients[ada.id].client, ada.id);
    assert.equal(clients[ada.id].user, "ada");
    assert.deepEqual(clients[ada.id].connInfo, { name: "Ada", role: "admin" });
    assert.equal(clients[guest.id].user, "");
    const unsubscribed = next(again.getSubscription(name), "unsubscribed");
    again.getSubscription(name).unsubscribe();
    assert.equal((await unsubscribed).code, 0);
    // Over a stream, a request may overtake the one with the unsubscribe.
    let stats = await again.presenceStats(name);
    while (stats.numClients > 2) stats = await again.presenceStats(name);
    assert.deepEqual(stats, { numClients: 2, numUsers: 2 });
    assert.deepEqual(await again.presenceStats(room("chat")), { numClients: 0, numUsers: 0 });
    assert.deepEqual(await again.presence(room("chat")), { clients: {} });
});

inEachDialect("members are told who joins and who leaves where the rule says so", async (dialect) => {
    const name = room("events");
    const ada = await connectAs("ada", server.http, {}, dialect);
    const subscription = ada.newSubscription(name, { joinLeave: true });
    const joins = new Record(subscription, "join");
    const leaves = new Record(subscription, "leave");
    subscription.subscribe();
    await joins.count(1);
    const bob = await connect(server.http, { token: sign({ sub: "bob", info: { age: 3 } }) });
    await subscribe(bob, name);
    await joins.count(2);
    assert.deepEqual(joins.all.map(({ info }) => [info.client, info.user]), [[ada.id, "ada"], [bob.id, "bob"]]);
    assert.deepEqual(joins.all[1].info.connInfo, { age: 3 });
    assert.equal(joins.all[1].channel, name);
    bob.disconnect();
    await leaves.count(1);
    assert.deepEqual(leaves.all.map(({ info }) => [info.client, info.user]), [[bob.id, "bob"]]);
});

inEachDialect("a member that leaves and comes back quickly hears everything once", async (dialect) => {
    const name = room("chat");
    const [ada, bob] = [await connect(server.http, {}, dialect), await connect(server.http)];
    const [fickle, speaker] = [await subscribe(ada, name), await subscribe(bob, name)];
    for (let turn = 0; turn < 10; turn++) {
        const subscribed = next(fickle, "subscribed");
        // In one frame, since over a stream a request may overtake the one before it.
        ada.startBatching();
        fickle.unsubscribe();
        fickle.subscribe();
        ada.stopBatching();
        await subscribed;
        await speaker.publish(turn);
        await fickle.publications.count(turn + 1);
    }
    assert.deepEqual(fickle.publications.data, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    assert.deepEqual(await ada.presenceStats(name), { numClients: 2, numUsers: 1 });
});

inEachDialect("a client may be in a room and speak to another one where the rule says so", async (dialect) => {
    const [ada, bob] = [await connectAs("ada", server.http, {}, dialect), await connect(server.http)];
    const subscription = await subscribe(bob, room("open"));
    await ada.publish(subscription.channel, "from outside");
    const [{ data, info, offset }] = await subscription.publications.count(1);
    assert.deepEqual([data, info.user, info.client, Number(offset)], ["from outside", "ada", ada.id, 1]);
    const refused = await rejection(ada.publish(room("chat"), "for members only"));
    assert.equal(refused.code, 103);
});

inEachDialect("a batch of commands is executed in its order", async (dialect) => {
    const name = room("open");
    const [ada, bob] = [await connect(server.http, {}, dialect), await connect(server.http)];
    const listener = await subscribe(bob, name);
    ada.startBatching();
    const answers = Array.from({ length: 100 }, (_, n) => ada.publish(name, n));
    const history = ada.history(name, { limit: -1 });
    ada.stopBatching();
    await Promise.all(answers);
    await listener.publications.count(100);
    assert.deepEqual(listener.publications.data, Array.from({ length: 100 }, (_, n) => n));
    assert.equal((await history).publications.length, 100);
});

inEachDialect("a client joins 128 rooms at once, and no more", async (dialect) => {
    const ada = await connect(server.http, {}, dialect);
    const names = Array.from({ length: 128 }, () => room("open"));
    const subscriptions = await Promise.all(names.map((name) => subscribe(ada, name)));
    const bob = await connect(server.http);
    await Promise.all(names.map((name) => bob.publish(name, name)));
    await Promise.all(subscriptions.map(({ publications }) => publications.count(1)));
    subscriptions.forEach(({ publications, channel }) => assert.deepEqual(publications.data, [channel]));
    const over = ada.newSubscription(room("open"));
    const unsubscribed = next(over, "unsubscribed");
    over.subscribe();
    assert.equal((await unsubscribed).code, 106);
    assert.equal(ada.state, "connected");
});

scenario("one room has clients of all dialects", async () => {
    const name = room("chat");
    const clients = await Promise.all(DIALECTS.map((dialect) => connectAs(dialect.name, server.http, {}, dialect)));
    const members = await Promise.all(clients.map((client) => subscribe(client, name)));
    await Promise.all(members.map((member, n) => member.publish({ n })));
    const heard = await Promise.all(members.map(({ publications }) => publications.count(members.length)));
    const seen = heard.map((all) => all.map(({ data, info, offset }) => [data.n, info.user, Number(offset)]));
    seen.forEach((order) => assert.deepEqual(order, seen[0]));
    assert.deepEqual(seen[0].map(([n]) => n).sort(), members.map((_, n) => n));
});

scenario("a client that takes its subscription away and makes another one of the same room is in it once", async () => {
    const name = room("chat");
    const ada = await connect(server.http);
    const first = await subscribe(ada, name);
    assert.throws(() => ada.newSubscription(name), /already exists/);
    ada.removeSubscription(first);
    const second = await subscribe(ada, name);
    await second.publish("once");
    await second.publications.count(1);
    assert.deepEqual([first.publications.data, second.publications.data], [[], ["once"]]);
    assert.deepEqual(await second.presenceStats(), { numClients: 1, numUsers: 1 });
});

inEachDialect("the nick that a guest chooses is what others see", async (dialect) => {
    const name = room("chat");
    const [ada, bob] = [await connect(server.http, {}, dialect), await connect(server.http)];
    const [subscription, other] = [await subscribe(ada, name), await subscribe(bob, name)];
    for (const nick of ["ada", "countess"]) {
        assert.deepEqual(plain((await ada.rpc("nick", { nick })).data), { nick: `~${nick}` });
        assert.deepEqual((await other.presence()).clients[ada.id].connInfo, { name: `~${nick}` });
        await subscription.publish(nick);
    }
    const heard = await other.publications.count(2);
    assert.deepEqual(heard.map(({ data, info }) => [data, info.connInfo.name]), [["ada", "~ada"], ["countess", "~countess"]]);
    assert.equal((await rejection(ada.rpc("nick", { nick: "two words" }))).code, 107);
    const user = await connectAs("ada", server.http, {}, dialect);
    assert.equal((await rejection(user.rpc("nick", { nick: "bob" }))).code, 103);
});
