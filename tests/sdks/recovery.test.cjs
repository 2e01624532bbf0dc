// Clients whose connection is lost, or whose server was restarted.
"use strict";

const assert = require("node:assert/strict");
const { before, after } = require("node:test");
const { Server } = require("./helpers/server.cjs");
const { Proxy } = require("./helpers/proxy.cjs");
const { next, Record } = require("./helpers/events.cjs");
const { client, connect, subscribe, scenario, inEachDialect, room } = require("./helpers/clients.cjs");

let server;
before(async () => (server = await Server.start()));
after(() => server.remove());

const PUBLICATIONS = 300;
// The client is at most so many publications behind, so that a cut connection can have carried them.
const BEHIND_MAX = 30;
const CUT_BYTES_MAX = 20_000;

// A generator of numbers below a limit (mulberry32), so that a failure can be had again by its seed.
function generator(seed) {
    return (limit) => {
        seed = (seed + 0x6d2b79f5) | 0;
        let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
        t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
        return ((t ^ (t >>> 14)) >>> 0) % limit;
    };
}

async function behindProxy(body) {
    const proxy = await Proxy.start(server.http);
    try {
        await body(proxy);
    } finally {
        proxy.stop();
    }
}

inEachDialect("after cuts at any byte a client has every publication once and in order", (dialect) =>
    behindProxy(async (proxy) => {
        const seed = Number(process.env.SEED ?? Date.now() % 1e9);
        const random = generator(seed);
        const ada = await connect(proxy.address, {}, dialect);
        const name = room("open");
        const subscription = await subscribe(ada, name);
        const subscribed = new Record(subscription, "subscribed");
        const speaker = await connect(server.http);
        const cutAgain = () => proxy.cutAfter(random(CUT_BYTES_MAX));
        ada.on("connected", cutAgain);
        cutAgain();
        for (let n = 0; n < PUBLICATIONS; n++) {
            await speaker.publish(name, { n, fill: "x".repeat(random(200)) });
            const hasCaughtUp = (all) => all.length > n - BEHIND_MAX;
            await subscription.publications.until(hasCaughtUp, `publication ${n - BEHIND_MAX} with SEED=${seed}`);
        }
        await subscription.publications.until((all) => all.length >= PUBLICATIONS, `last publication with SEED=${seed}`);
        const heard = subscription.publications.data.map(({ n }) => n);
        assert.deepEqual(heard, Array.from({ length: PUBLICATIONS }, (_, n) => n), `SEED=${seed}`);
        assert.ok(subscribed.all.length > 0, `nothing was cut, SEED=${seed}`);
        assert.ok(subscribed.all.every(({ wasRecovering, recovered }) => wasRecovering && recovered), `SEED=${seed}`);
    }));

inEachDialect("a room that a client has missed too much of says so, and goes on", (dialect) =>
    behindProxy(async (proxy) => {
        const ada = await connect(proxy.address, {}, dialect);
        const name = room("few");
        const subscription = await subscribe(ada, name);
        const speaker = await connect(server.http);
        await speaker.publish(name, "heard");
        await subscription.publications.count(1);
        ada.disconnect();
        for (let n = 0; n < 15; n++) await speaker.publish(name, `missed ${n}`);
        const subscribed = next(subscription, "subscribed");
        ada.connect();
        const { wasRecovering, recovered, streamPosition } = await subscribed;
        assert.deepEqual([wasRecovering, recovered, Number(streamPosition.offset)], [true, false, 16]);
        await speaker.publish(name, "live");
        await subscription.publications.count(2);
        assert.deepEqual(subscription.publications.data, ["heard", "live"]);
    }));

scenario("a member that was away while others stayed resumes a room that retains nothing more to miss", async () => {
    const name = room("few");
    const [ada, bob] = [await connect(server.http), await connect(server.http)];
    const [subscription] = [await subscribe(ada, name), await subscribe(bob, name)];
    ada.disconnect();
    const subscribed = next(subscription, "subscribed");
    ada.connect();
    const { wasRecovering, recovered, hasRecoveredPublications } = await subscribed;
    assert.deepEqual([wasRecovering, recovered, hasRecoveredPublications], [true, true, false]);
});

inEachDialect("a room that everybody has left and that retains nothing is forgotten, and its client is told", async (dialect) => {
    const ada = await connect(server.http, {}, dialect);
    const subscription = await subscribe(ada, room("open"));
    assert.deepEqual([subscription.context.recoverable, subscription.context.positioned], [true, true]);
    const before = subscription.context.streamPosition;
    ada.disconnect();
    const bob = await connect(server.http);
    for (let left = false; !left; ) left = (await bob.presenceStats(subscription.channel)).numClients === 0;
    const subscribed = next(subscription, "subscribed");
    ada.connect();
    const { wasRecovering, recovered, streamPosition } = await subscribed;
    assert.deepEqual([wasRecovering, recovered, streamPosition.epoch === before.epoch], [true, false, false]);
});

scenario("a client may begin where its application has stopped reading", async () => {
    const name = room("open");
    const ada = await connect(server.http);
    for (let n = 1; n <= 5; n++) await ada.publish(name, n);
    const { epoch } = await ada.history(name);
    const subscription = await subscribe(ada, name, { since: { offset: 2, epoch } });
    await subscription.publications.count(3);
    assert.deepEqual(subscription.publications.data, [3, 4, 5]);
    assert.equal(subscription.context.recovered, true);
});

scenario("an application that loads its state itself is asked to do so when a position cannot be recovered", async () => {
    const name = room("few");
    const ada = await connect(server.http);
    for (let n = 1; n <= 20; n++) await ada.publish(name, n);
    const { epoch } = await ada.history(name);
    const positions = [{ offset: 1, epoch }, { offset: 18, epoch }];
    let loads = 0;
    const getState = async () => positions[loads++];
    const subscription = await subscribe(ada, name, { getState });
    await subscription.publications.count(2);
    assert.equal(loads, 2, "the first position was trimmed and had to be loaded again");
    assert.deepEqual(subscription.publications.data, [19, 20]);
});

inEachDialect("after a restart of the server the epoch is another one, and the client is told", async (dialect) => {
    const restarted = await Server.start();
    try {
        const ada = await connect(restarted.http, {}, dialect);
        const subscription = await subscribe(ada, room("open"));
        await subscription.publish("before");
        await subscription.publications.count(1);
        const before = subscription.context.streamPosition;
        const [connecting, subscribed] = [next(ada, "connecting"), next(subscription, "subscribed")];
        assert.equal(await restarted.stop(), 0);
        assert.equal((await connecting).code, 3001);
        await restarted.run();
        const { wasRecovering, recovered, streamPosition } = await subscribed;
        assert.deepEqual([wasRecovering, recovered], [true, false]);
        assert.notEqual(streamPosition.epoch, before.epoch);
        await subscription.publish("after");
        await subscription.publications.count(2);
        assert.deepEqual(subscription.publications.data, ["before", "after"]);
    } finally {
        await restarted.remove();
    }
});

inEachDialect("while a server drains its clients go to the next one on the same port", async (dialect) => {
    const [old, young] = [await Server.start(), await Server.start()];
    try {
        const ada = await connect(old.http, {}, dialect);
        const subscription = await subscribe(ada, room("open"));
        await young.stop();
        young.http = old.http;
        const [connecting, subscribed] = [next(ada, "connecting"), next(subscription, "subscribed")];
        const ended = old.stop();
        assert.equal((await connecting).code, 3001);
        assert.equal(await ended, 0);
        await young.run();
        await subscribed;
        await subscription.publish("there");
        await subscription.publications.count(1);
    } finally {
        await Promise.all([old.remove(), young.remove()]);
    }
});
