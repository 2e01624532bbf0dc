// Rooms that the server has a client join, because its token names them.
"use strict";

const assert = require("node:assert/strict");
const { before, after } = require("node:test");
const { Server } = require("./helpers/server.cjs");
const { Proxy } = require("./helpers/proxy.cjs");
const { next, Record } = require("./helpers/events.cjs");
const { sign } = require("./helpers/tokens.cjs");
const { client, connect, scenario, inEachDialect, room } = require("./helpers/clients.cjs");

let server;
before(async () => (server = await Server.start()));
after(() => server.remove());

// A connected client of a token with these claims, and what it has heard.
async function member(claims, dialect, address = server.http) {
    const created = client(address, { token: sign({ sub: "ada", ...claims }) }, dialect);
    created.subscribed = new Record(created, "subscribed");
    created.publications = new Record(created, "publication");
    const connected = next(created, "connected");
    created.connect();
    created.id = (await connected).client;
    return created;
}

inEachDialect("a client is in the rooms that its token names, and hears them", async (dialect) => {
    const names = [room("open"), room("team"), room("forgetful")];
    const ada = await member({ channels: names }, dialect);
    await ada.subscribed.count(3);
    assert.deepEqual(ada.subscribed.all.map(({ channel }) => channel).sort(), [...names].sort());
    const [open, team, forgetful] = names;
    const speaker = await connect(server.http);
    await speaker.publish(open, "one");
    await ada.publish(team, "two");
    await ada.publish(forgetful, "three");
    await ada.publications.count(3);
    const heard = Object.fromEntries(ada.publications.all.map(({ channel, data }) => [channel, data]));
    assert.deepEqual(heard, { [open]: "one", [team]: "two", [forgetful]: "three" });
    assert.deepEqual(Object.keys((await ada.presence(team)).clients), [ada.id]);
    assert.equal((await ada.history(team, { limit: 1 })).publications.length, 1);
});

inEachDialect("what a token says of the client in a room is told to it and to others", async (dialect) => {
    const name = room("team");
    const ada = await member({ subs: { [name]: { info: { seat: 4 }, data: { topic: "news" } } } }, dialect);
    const [{ data }] = await ada.subscribed.count(1);
    assert.deepEqual(data, { topic: "news" });
    assert.deepEqual((await ada.presence(name)).clients[ada.id].chanInfo, { seat: 4 });
});

inEachDialect("a room that the client is in already is not joined twice", async (dialect) => {
    const name = room("open");
    const ada = await member({ channels: [name] }, dialect);
    const subscription = ada.newSubscription(name);
    const unsubscribed = next(subscription, "unsubscribed");
    subscription.subscribe();
    assert.equal((await unsubscribed).code, 105);
    assert.deepEqual(await ada.presenceStats(name), { numClients: 1, numUsers: 1 });
});

inEachDialect("a client that was cut has everything of these rooms once and in order", async (dialect) => {
    const proxy = await Proxy.start(server.http);
    const names = [room("open"), room("open")];
    const ada = await member({ channels: names }, dialect, proxy.address);
    const speaker = await connect(server.http);
    let cuts = 0;
    ada.on("connected", () => cuts++);
    for (let n = 0; n < 100; n++) {
        for (const name of names) await speaker.publish(name, n);
        if (n % 20 === 10) proxy.cut();
    }
    const of = (all, name) => all.filter(({ channel }) => channel === name).map(({ data }) => data);
    await ada.publications.until((all) => names.every((name) => of(all, name).includes(99)), "all publications");
    for (const name of names) {
        assert.deepEqual(of(ada.publications.all, name), Array.from({ length: 100 }, (_, n) => n));
    }
    assert.ok(cuts > 0);
    const recovered = ada.subscribed.all.filter(({ wasRecovering }) => wasRecovering);
    assert.ok(recovered.length >= names.length && recovered.every(({ recovered }) => recovered));
    proxy.stop();
});

inEachDialect("joins and leaves of these rooms are told where the rule says so", async (dialect) => {
    const name = room("events");
    const ada = client(server.http, { token: sign({ sub: "ada", channels: [name] }) }, dialect);
    const [joins, leaves] = [new Record(ada, "join"), new Record(ada, "leave")];
    ada.connect();
    await joins.count(1);
    const bob = await member({ sub: "bob", channels: [name] });
    await joins.count(2);
    bob.disconnect();
    await leaves.count(1);
    assert.deepEqual(joins.all.map(({ channel, info }) => [channel, info.user]), [[name, "ada"], [name, "bob"]]);
    assert.deepEqual(leaves.all.map(({ info }) => info.client), [bob.id]);
});

scenario("a token with more rooms than a client may be in does not connect", async () => {
    const channels = Array.from({ length: 129 }, () => room("open"));
    const refused = client(server.http, { token: sign({ sub: "ada", channels }) });
    const disconnected = next(refused, "disconnected");
    refused.connect();
    assert.equal((await disconnected).code, 106);
});

scenario("a token with a room that the rules do not open does not connect", async () => {
    const refused = client(server.http, { token: sign({ sub: "ada", channels: [room("closed")] }) });
    const disconnected = next(refused, "disconnected");
    refused.connect();
    assert.equal((await disconnected).code, 103);
});
