// Tokens of subscriptions: private rooms, whose names begin with `$`.
"use strict";

const assert = require("node:assert/strict");
const { before, after } = require("node:test");
const { Server } = require("./helpers/server.cjs");
const { next, Record } = require("./helpers/events.cjs");
const { sign, inSeconds, tokenSource, tokensByState } = require("./helpers/tokens.cjs");
const { connectAs, subscribe, scenario, inEachDialect, room, SUBSCRIPTION } = require("./helpers/clients.cjs");

let server;
before(async () => (server = await Server.start()));
after(() => server.remove());

const pass = (channel, claims = {}) => sign({ sub: "ada", channel, ...claims });

// The code with which a subscription with these options ends.
async function end(connected, name, options = {}) {
    const subscription = connected.newSubscription(name, { ...SUBSCRIPTION, ...options });
    const unsubscribed = next(subscription, "unsubscribed");
    subscription.subscribe();
    return (await unsubscribed).code;
}

inEachDialect("a private room is entered with a token of its own, and not without", async (dialect) => {
    const ada = await connectAs("ada", server.http, {}, dialect);
    const name = room("$private");
    const { getToken, calls } = tokenSource(() => pass(name, { info: { seat: 4 }, data: { topic: "secrets" } }));
    const subscription = await subscribe(ada, name, { getToken });
    assert.equal(calls.all.length, 1);
    assert.deepEqual(subscription.context.data, { topic: "secrets" });
    await subscription.publish("psst");
    const [{ info, data }] = await subscription.publications.count(1);
    assert.deepEqual([data, info.chanInfo], ["psst", { seat: 4 }]);
    assert.deepEqual((await subscription.presence()).clients[ada.id].chanInfo, { seat: 4 });
    assert.equal((await subscription.history({ limit: 1 })).publications.length, 1);
    assert.equal(await end(ada, room("$private")), 103);
    assert.equal(ada.state, "connected");
});

// A `getToken` for this room, whose first token the SDK renews at once.
const renewing = (connected, name, { renewed, again }) =>
    tokensByState(() => connected.getSubscription(name).state, { first: () => pass(name, { exp: inSeconds(1) }), renewed, again });

inEachDialect("a token of a subscription is renewed before it expires, and the subscription stays", async (dialect) => {
    const ada = await connectAs("ada", server.http, {}, dialect);
    const name = room("$private");
    const { getToken, renewal } = renewing(ada, name, { renewed: () => pass(name, { exp: inSeconds(3600) }) });
    const subscription = await subscribe(ada, name, { getToken });
    const subscribing = new Record(subscription, "subscribing");
    await renewal();
    await subscription.publish("still there");
    await subscription.publications.count(1);
    assert.deepEqual(subscribing.all, []);
});

inEachDialect("a subscription without its next token ends with 2501, and comes back with a new one", async (dialect) => {
    const strict = await Server.start({ "token-grace": "1s" });
    try {
        const ada = await connectAs("ada", strict.http, {}, dialect);
        const name = room("$private");
        const { getToken, calls } = renewing(ada, name, { renewed: () => new Promise(() => {}), again: () => pass(name) });
        const subscription = await subscribe(ada, name, { getToken });
        const [subscribing, subscribed] = [next(subscription, "subscribing"), next(subscription, "subscribed")];
        await subscription.publish("before");
        await subscription.publications.count(1);
        assert.equal((await subscribing).code, 2501);
        const { wasRecovering } = await subscribed;
        assert.equal(wasRecovering, true);
        assert.deepEqual(calls.all.filter((kind) => kind !== "first"), ["renewed", "again"]);
        assert.equal(ada.state, "connected");
    } finally {
        await strict.remove();
    }
});

inEachDialect("an expired token is replaced, and ends the subscription alone where it cannot be", async (dialect) => {
    const ada = await connectAs("ada", server.http, {}, dialect);
    const name = room("$private");
    const expired = pass(name, { exp: inSeconds(-10) });
    assert.equal(await end(ada, name, { token: expired }), 1);
    ada.removeSubscription(ada.getSubscription(name));
    const { getToken, calls } = tokenSource(() => pass(name));
    await subscribe(ada, name, { token: expired, getToken });
    assert.equal(calls.all.length, 1);
});

inEachDialect("a token that is not valid ends the subscription alone", async (dialect) => {
    const ada = await connectAs("ada", server.http, {}, dialect);
    const forged = (name) => sign({ sub: "ada", channel: name }, "another secret, of 32 bytes or more");
    for (const token of [forged, () => "no token", () => sign({ sub: "ada" })]) {
        const name = room("$private");
        assert.equal(await end(ada, name, { token: token(name) }), 103);
    }
    assert.equal(ada.state, "connected");
});

scenario("a token of another user, room or client ends the connection for good", async () => {
    const name = room("$private");
    const foreign = [sign({ sub: "bob", channel: name }), pass(room("$private")), pass(name, { client: "somebody" })];
    for (const token of foreign) {
        const ada = await connectAs("ada", server.http);
        const disconnected = next(ada, "disconnected");
        ada.newSubscription(name, { token }).subscribe();
        assert.equal((await disconnected).code, 3500);
    }
    const ada = await connectAs("ada", server.http);
    await subscribe(ada, name, { getToken: async () => pass(name, { client: ada.id }) });
});
