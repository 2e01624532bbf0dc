// Libraries of the server API, while clients of SDKs see what they do.
"use strict";

const assert = require("node:assert/strict");
const { before, after, test } = require("node:test");
const { CentClient } = require("cent.js");
const { Server } = require("./helpers/server.cjs");
const { run, script, NEEDS_PYTHON } = require("./helpers/program.cjs");
const { next, rejection } = require("./helpers/events.cjs");
const { connectAs, subscribe, scenario, room } = require("./helpers/clients.cjs");
const { SECRET } = require("./helpers/tokens.cjs");

let server, api;
before(async () => {
    const keys = { backend: ["--may", "all"], publisher: ["--may", "publish", "--room", "open:*"] };
    server = await Server.start({}, undefined, keys);
    api = new CentClient({ url: `http://${server.http}/api`, apiKey: server.keys.backend });
});
after(() => server.remove());

test("the library for Python", NEEDS_PYTHON, async ({ signal }) => {
    const { backend, publisher } = server.keys;
    const parameters = [script("backend.py"), server.http, server.http, SECRET, backend, publisher];
    const { code, said } = await run(process.env.PYTHON, parameters, { signal });
    assert.equal(code, 0, said);
});

scenario("a library for node publishes, and clients hear it", async () => {
    const [first, second] = [room("open"), room("open")];
    const ada = await connectAs("ada", server.http);
    const subscriptions = await Promise.all([first, second].map((name) => subscribe(ada, name)));
    assert.equal((await api.publish({ channel: first, data: { text: "grüß dich 🦀" }, tags: { kind: "greeting" } })).offset, 1);
    const { responses } = await api.broadcast({ channels: [first, "two words", second], data: { to: "all" } });
    assert.deepEqual(responses.map(({ result, error }) => result?.offset ?? error.code), [2, 107, 1]);
    await Promise.all([subscriptions[0].publications.count(2), subscriptions[1].publications.count(1)]);
    assert.deepEqual(subscriptions[0].publications.data, [{ text: "grüß dich 🦀" }, { to: "all" }]);
    assert.deepEqual(subscriptions[0].publications.all[0].tags, { kind: "greeting" });
    const history = await api.getHistory({ channel: first, limit: 1, since: { offset: 1, epoch: subscriptions[0].context.streamPosition.epoch } });
    assert.deepEqual(history.publications.map(({ data }) => data), [{ to: "all" }]);
    await api.removeHistory({ channel: first });
    assert.deepEqual((await api.getHistory({ channel: first, limit: -1 })).publications, []);
    assert.deepEqual(Object.values((await api.getPresence({ channel: first })).presence).map(({ user }) => user), ["ada"]);
    assert.deepEqual(await api.getPresenceStats({ channel: first }), { num_clients: 1, num_users: 1 });
    // The list may be half a second old.
    let channels = {};
    while (!(first in channels)) ({ channels } = await api.getChannels({ pattern: first }));
    assert.deepEqual(channels, { [first]: { num_clients: 1 } });
    assert.equal((await api.getInfo()).nodes.length, 1);
});

scenario("a library for node has clients join, leave and end", async () => {
    const name = room("team");
    const bob = await connectAs("bob of node", server.http);
    const subscribed = next(bob, "subscribed");
    await api.subscribe({ user: "bob of node", channel: name });
    assert.equal((await subscribed).channel, name);
    const heard = next(bob, "publication");
    await api.publish({ channel: name, data: "for members" });
    assert.equal((await heard).data, "for members");
    const unsubscribed = next(bob, "unsubscribed");
    await api.unsubscribe({ user: "bob of node", channel: name });
    assert.equal((await unsubscribed).channel, name);
    await api.refresh({ user: "bob of node", expire_at: 4_000_000_000 });
    const disconnected = next(bob, "disconnected");
    await api.disconnect({ user: "bob of node" });
    assert.equal((await disconnected).code, 3503);
});

scenario("a batch has the errors of its calls in their places", async () => {
    const body = { commands: [{ rpc: { method: "none" } }, { publish: { channel: room("open"), data: 1 } }, { batch: { commands: [] } }, { info: {} }] };
    const headers = { authorization: `apikey ${server.keys.publisher}` };
    const { replies } = await (await fetch(`http://${server.http}/api/batch`, { method: "POST", headers, body: JSON.stringify(body) })).json();
    assert.deepEqual(replies.map(({ publish, error }) => publish?.offset ?? error.code), [104, 1, 104, 103]);
});

scenario("a library for node throws where the server refuses", async () => {
    const publisher = new CentClient({ url: `http://${server.http}/api`, apiKey: server.keys.publisher });
    await publisher.publish({ channel: room("open"), data: 1 });
    const calls = [() => publisher.publish({ channel: room("events"), data: 1 }), publisher.getInfo, () => api.publish({ channel: "two words", data: 1 })];
    for (const call of calls) assert.equal((await rejection(call())).constructor.name, "CentException");
    const stranger = new CentClient({ url: `http://${server.http}/api`, apiKey: "rck_unknown" });
    assert.ok((await rejection(stranger.getInfo())) instanceof SyntaxError, "it parses the empty body of status 401");
});
