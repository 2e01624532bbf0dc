// What is refused, and what the SDK makes of it.
"use strict";

const assert = require("node:assert/strict");
const { before, after } = require("node:test");
const WebSocket = require("ws");
const { Server } = require("./helpers/server.cjs");
const { next, Record, rejection, within } = require("./helpers/events.cjs");
const { connect, subscribe, scenario, inEachDialect, room } = require("./helpers/clients.cjs");

let server;
before(async () => (server = await Server.start()));
after(() => server.remove());

async function refusal(subscription) {
    const unsubscribed = next(subscription, "unsubscribed");
    subscription.subscribe();
    return (await unsubscribed).code;
}

inEachDialect("a subscription that is refused ends alone", async (dialect) => {
    const ada = await connect(server.http, {}, dialect);
    assert.equal(await refusal(ada.newSubscription(room("closed"))), 103);
    assert.equal(await refusal(ada.newSubscription("two words")), 107);
    assert.equal(await refusal(ada.newSubscription("x".repeat(200))), 107);
    assert.equal(await refusal(ada.newMapSubscription(room("open"))), 108);
    assert.equal(await refusal(ada.newSubscription(room("open"), { tagsFilter: { key: "a", cmp: "eq", val: "b" } })), 107);
    const subscription = await subscribe(ada, room("open"), { delta: "fossil" });
    await subscription.publish("whole");
    await subscription.publish("whole again");
    await subscription.publications.count(2);
    assert.deepEqual(subscription.publications.data, ["whole", "whole again"]);
});

inEachDialect("a call that is refused is rejected with its code, and the connection stays", async (dialect) => {
    const ada = await connect(server.http, {}, dialect);
    const name = room("closed");
    for (const call of [() => ada.publish(name, 1), () => ada.presence(name), () => ada.presenceStats(name), () => ada.history(name)]) {
        assert.equal((await rejection(call())).code, 103);
    }
    assert.equal((await rejection(ada.rpc("method", {}))).code, 108);
    assert.equal((await rejection(ada.publish("two words", 1))).code, 107);
    assert.equal(ada.state, "connected");
});

inEachDialect("a message that nobody takes ends the connection for good", async (dialect) => {
    const ada = await connect(server.http, {}, dialect);
    const disconnected = next(ada, "disconnected");
    await ada.send({ to: "whom" });
    assert.equal((await disconnected).code, 3508);
});

inEachDialect("who unsubscribes without having subscribed stays connected", async (dialect) => {
    const ada = await connect(server.http, {}, dialect);
    const subscription = ada.newSubscription(room("closed"));
    subscription.subscribe();
    subscription.unsubscribe();
    const connecting = new Record(ada, "connecting");
    await ada.presenceStats(room("open"));
    assert.deepEqual(connecting.all, []);
});

inEachDialect("a message that is too long is not said, and the client knows", async (dialect) => {
    // Over streams it knows by the time that has passed.
    const ada = await connect(server.http, { timeout: 5_000 }, dialect);
    const bob = await connect(server.http);
    const subscription = await subscribe(bob, room("open"));
    const disconnected = dialect.isStream ? undefined : next(ada, "disconnected");
    const error = await rejection(ada.publish(subscription.channel, "x".repeat(70_000)));
    // Over WebSocket 3 is the SDK's own code for 1009; a request of its own is refused alone, and its answer does not come.
    if (disconnected) assert.equal((await disconnected).code, 3);
    else assert.equal(error.code, 1);
    await bob.publish(subscription.channel, "short");
    await subscription.publications.count(1);
    assert.deepEqual(subscription.publications.data, ["short"]);
});

scenario("a client that causes too many deliveries is told to come back later, and stays", async () => {
    const frugal = await Server.start({ "deliveries-per-second": 10, "deliveries-burst": 10 });
    try {
        const ada = await connect(frugal.http);
        const connecting = new Record(ada, "connecting");
        const subscription = await subscribe(ada, room("open"));
        const answers = await within(Promise.allSettled(Array.from({ length: 100 }, (_, n) => subscription.publish(n))), "answers");
        const refused = answers.filter(({ status }) => status === "rejected").map(({ reason }) => reason);
        assert.ok(refused.length > 0, "nothing was refused");
        assert.deepEqual([...new Set(refused.map(({ code }) => code))], [111]);
        assert.deepEqual(connecting.all, []);
    } finally {
        await frugal.remove();
    }
});

// A client that never answers a ping; the code with which it is closed in the end.
function silent(address) {
    const socket = new WebSocket(`ws://${address}/connection/websocket`);
    socket.on("open", () => socket.send('{"id":1,"connect":{}}'));
    return within(new Promise((resolve) => socket.on("close", resolve)), "end of a silent client");
}

inEachDialect("pings keep a silent connection, and a server that sends none is left", async (dialect) => {
    const lively = await Server.start({ "ping-interval": "1s", "pong-timeout": "4s" });
    const ada = await connect(lively.http, {}, dialect);
    const connecting = new Record(ada, "connecting");
    const subscription = await subscribe(ada, room("open"));
    assert.equal(await silent(lively.http), 3012);
    await subscription.publish("still there");
    assert.deepEqual(connecting.all, []);
    // Bob leaves when a ping is late by a second.
    const bob = await connect(lively.http, { maxServerPingDelay: 1000 }, dialect);
    const left = next(bob, "connecting");
    const subscribed = next(await subscribe(bob, subscription.channel), "subscribed");
    lively.child.kill("SIGSTOP");
    // 2 is the SDK's own code for pings that do not come.
    assert.equal((await left).code, 2);
    lively.child.kill("SIGCONT");
    await subscribed;
    await lively.remove();
});
