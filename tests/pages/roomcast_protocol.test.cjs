// The client module that pages use, against a server that says what the built one does not say on demand.
"use strict";

const assert = require("node:assert/strict");
const http = require("node:http");
const { once } = require("node:events");
const { test, before, after, beforeEach, afterEach } = require("node:test");
const { Record, rejection } = require("../sdks/helpers/events.cjs");
const { FakeServer, publication, published } = require("./helpers/fake_server.cjs");
const { client, join, reaches, FILE } = require("./helpers/module.cjs");

let fake;
beforeEach(async () => (fake = await FakeServer.start()));
afterEach(() => fake.stop());
const page = new EventTarget();
before(() => {
    globalThis.addEventListener = page.addEventListener.bind(page);
    globalThis.document = Object.assign(new EventTarget(), { hidden: false });
});
after(() => {
    delete globalThis.addEventListener;
    delete globalThis.document;
});

// A connected client, and the server's end of its connection.
async function connect(options, result) {
    const ada = await client(fake.url, options);
    const connection = await fake.accept();
    await connection.welcome(result);
    await reaches(ada, "connected");
    return { ada, connection };
}

const POSITION = { recoverable: true, positioned: true, epoch: "one" };

// A joined room, with the position up to which it has everything.
async function joinRoom(ada, connection, name, offset = 0) {
    const room = join(ada, name);
    await connection.admit(name, { ...POSITION, offset });
    await reaches(room, "joined");
    return room;
}

// Everything that either end has sent up to now has arrived.
async function settle(room, connection) {
    const saying = room.say("fence");
    connection.send({ id: (await connection.take("publish")).id, publish: {} });
    await saying;
}

test("a connection begins with one frame: connect, nick, subscribes with histories", async () => {
    const ada = await client(fake.url, { nick: "ada" });
    const [one, two] = [join(ada, "one", { history: 5 }), join(ada, "two")];
    const connection = await fake.accept();
    await connection.take("rpc");
    assert.deepEqual(connection.frames, [[
        { id: 1, connect: { name: "roomcast.js" } },
        { id: 2, rpc: { method: "nick", data: { nick: "ada" } } },
        { id: 3, subscribe: { channel: "one" } },
        { id: 4, history: { channel: "one", limit: 5, reverse: true } },
        { id: 5, subscribe: { channel: "two" } },
    ]]);
    connection.send(
        { id: 1, connect: { client: "a1" } },
        { id: 2, rpc: { data: { nick: "~ada" } } },
        { id: 3, subscribe: { ...POSITION, offset: 2 } },
        published("one", 3),
        { id: 4, history: { ...POSITION, publications: [publication(3), publication(2), publication(1)], offset: 3 } },
        { id: 5, subscribe: { ...POSITION, offset: 7 } },
        published("two", 8),
    );
    await two.messages.count(1);
    assert.deepEqual([ada.nick, ada.clientId], ["~ada", "a1"]);
    assert.deepEqual(one.messages.all.map(({ offset, isLive }) => [offset, isLive]), [[1, false], [2, false], [3, true]]);
    assert.deepEqual(two.story, ["joined", "message 8"]);
    connection.socket.close(3001, "shutdown");
    const again = await fake.accept();
    await again.take("rpc");
    assert.deepEqual(again.frames[0].slice(2), [
        { id: 3, subscribe: { channel: "one", recover: true, epoch: "one", offset: 3 } },
        { id: 4, subscribe: { channel: "two", recover: true, epoch: "one", offset: 8 } },
    ]);
});

test("pushes that overtake a short history are merged into it by offset", async () => {
    const { ada, connection } = await connect();
    const room = join(ada, "room", { history: 2 });
    await connection.admit("room", { ...POSITION, offset: 10 });
    const { id } = await connection.take("history");
    connection.send(published("room", 11), published("room", 12), published("room", 13));
    assert.equal(room.state, "joining");
    connection.send({ id, history: { ...POSITION, publications: [publication(13), publication(12)], offset: 13 } }, published("room", 14));
    await room.messages.count(4);
    assert.deepEqual(room.messages.all.map(({ offset }) => offset), [11, 12, 13, 14]);
    assert.ok(room.messages.all.every(({ isLive }) => isLive));
});

test("a frame is split where its commands get long", async () => {
    const { ada, connection } = await connect();
    const room = await joinRoom(ada, connection, "room");
    const before = connection.frames.length;
    for (let n = 0; n < 10; n++) room.say("x".repeat(5_000)).catch(() => {});
    for (let n = 0; n < 10; n++) await connection.take("publish");
    assert.deepEqual(connection.frames.slice(before).map((frame) => frame.length), [3, 3, 3, 1]);
});

test("a publish whose connection ends is lost, one without a connection is offline", async () => {
    const { ada, connection } = await connect({ isPatient: true, random: () => 1 });
    const room = await joinRoom(ada, connection, "room");
    const lost = rejection(room.say("perhaps"));
    await connection.take("publish");
    connection.socket.terminate();
    const { code, isTemporary, name } = await lost;
    assert.deepEqual([code, isTemporary, name, ada.state, room.state], ["lost", true, "RoomcastError", "waiting", "joining"]);
    assert.equal((await rejection(room.say("never"))).code, "offline");
    ada.retry();
    const waiting = rejection(room.say("in vain"));
    (await fake.accept()).socket.terminate();
    assert.equal((await waiting).code, "offline");
});

test("a server that stops says when to come back, and clients come back one after another", async () => {
    for (const [random, words, ms] of [
        [0, "shutdown retry=11", 11_000], [0.5, "shutdown retry=11", 12_100], [0, "shutdown retry=99999999999", 2 ** 31 - 1],
        // As a server says it that does not know when, and one whose words only look like it.
        [0, "shutdown", 500], [0, "shutdown retry=", 500], [0, "no shutdown retry=11", 500],
    ]) {
        const { ada, connection } = await connect({ isPatient: true, random: () => random });
        const before = Date.now();
        connection.socket.close(3001, words);
        const { retryAt } = await reaches(ada, "waiting");
        assert.ok(retryAt >= before + ms && retryAt <= Date.now() + ms, `${words}: ${retryAt - before}`);
        ada.close();
    }
});

test("the codes with which a connection ends say whether it is made again", async () => {
    for (const [code, state] of [
        [3000, "waiting"], [3001, "waiting"], [3005, "waiting"], [3008, "waiting"], [3012, "waiting"], [3013, "waiting"],
        [1000, "waiting"], [1011, "waiting"], [4014, "waiting"], [4499, "waiting"],
        [1009, "refused"], [3500, "refused"], [3503, "refused"], [3999, "refused"], [4500, "refused"], [4999, "refused"],
    ]) {
        const { ada, connection } = await connect({ isPatient: true });
        connection.socket.close(code, "why");
        const event = await reaches(ada, state);
        assert.deepEqual([event.code, event.reason, event.retryAt > Date.now()], [code, "why", state === "waiting"], code);
        ada.close();
    }
});

test("a connect that fails for now is tried again, any other is refused", async () => {
    const ada = await client(fake.url, { isPatient: true });
    await (await fake.accept()).fail("connect", 100, true);
    assert.deepEqual((({ code, reason }) => [code, reason])(await reaches(ada, "waiting")), [100, "error 100"]);
    ada.retry();
    const connection = await fake.accept();
    await connection.fail("connect", 106, false);
    assert.deepEqual(await reaches(ada, "refused"), { state: "refused", code: 106, reason: "error 106" });
    await connection.ended;
    ada.connect();
    await (await fake.accept()).welcome();
    await reaches(ada, "connected");
});

test("delays grow to 20 seconds with jitter, and begin anew after a connection that has held for a while", async (context) => {
    let jitter = 1;
    const ada = await client(fake.url, { isPatient: true, random: () => jitter });
    // Ends a connection: the client waits for so many seconds from then on.
    const end = async (connection, seconds) => {
        const before = Date.now();
        connection.socket.terminate();
        const { retryAt } = await reaches(ada, "waiting");
        const [soonest, latest] = [before + seconds * 1000, Date.now() + seconds * 1000];
        assert.ok(retryAt >= soonest && retryAt <= latest, `${seconds}: ${retryAt - before}`);
        ada.retry();
    };
    for (const seconds of [1, 1.5, 2.5, 4.5, 8.5, 16.5, 20, 20]) await end(await fake.accept(), seconds);
    jitter = 0;
    await end(await fake.accept(), 0.5);
    jitter = 1;
    const endConnected = async (seconds, context) => {
        const connection = await fake.accept();
        if (context) context.mock.timers.enable({ apis: ["setTimeout"] });
        await connection.welcome();
        await reaches(ada, "connected");
        context?.mock.timers.tick(10_000);
        context?.mock.timers.reset();
        await end(connection, seconds);
    };
    await endConnected(20);
    await endConnected(1, context);
});

test("a network or a reader that is back has it try at once, or check that the connection works", async () => {
    const { ada, connection } = await connect({ isPatient: true, random: () => 1 });
    page.dispatchEvent(new Event("online"));
    const { id } = await connection.take("ping");
    connection.send({ id, ping: {} });
    for (const [target, name] of [[page, "online"], [document, "visibilitychange"]]) {
        fake.server.clients.forEach((socket) => socket.terminate());
        await reaches(ada, "waiting");
        document.hidden = true;
        document.dispatchEvent(new Event("visibilitychange"));
        assert.equal(ada.state, "waiting");
        document.hidden = false;
        target.dispatchEvent(new Event(name));
        assert.equal(ada.state, "connecting");
        await (await fake.accept()).welcome();
        await reaches(ada, "connected");
    }
    ada.close();
    page.dispatchEvent(new Event("online"));
    assert.equal(ada.state, "closed");
});

test("pings are answered where the server wants it, and a server that is silent for too long is left", async (context) => {
    const { ada, connection } = await connect({ isPatient: true }, { ping: 25, pong: true });
    connection.send({});
    await connection.take("pong");
    context.mock.timers.enable({ apis: ["setTimeout"] });
    connection.send({});
    await connection.take("pong");
    context.mock.timers.tick(34_999);
    assert.equal(ada.state, "connected");
    context.mock.timers.tick(1);
    assert.equal(ada.state, "waiting");
});

test("a command may wait at the server for as long as an application may think, while the server pings", async (context) => {
    const { ada, connection } = await connect({ isPatient: true }, { ping: 25, pong: true });
    const room = await joinRoom(ada, connection, "room");
    let now = Math.ceil(performance.now());
    context.mock.method(performance, "now", () => now);
    context.mock.timers.enable({ apis: ["setTimeout"] });
    const pass = (ms) => {
        now += ms;
        context.mock.timers.tick(ms);
    };
    const lost = room.say("perhaps").catch((error) => error);
    await connection.take("publish");
    page.dispatchEvent(new Event("online"));
    for (const ms of [34_000, 34_000]) {
        pass(ms);
        connection.send({});
        await connection.take("pong");
    }
    pass(6_999);
    assert.equal(ada.state, "connected");
    pass(1);
    assert.equal(ada.state, "waiting");
    context.mock.timers.reset();
    assert.equal((await lost).code, "lost");
});

test("a connection without anything to wait for is lost five seconds after the network is back, if nothing comes", async (context) => {
    const { ada } = await connect({ isPatient: true });
    context.mock.timers.enable({ apis: ["setTimeout"] });
    page.dispatchEvent(new Event("online"));
    context.mock.timers.tick(4_999);
    assert.equal(ada.state, "connected");
    context.mock.timers.tick(1);
    assert.equal(ada.state, "waiting");
    context.mock.timers.reset();
});

test("a listener that closes and connects again keeps its new connection", async () => {
    for (const code of [3001, 3500]) {
        const { ada, connection } = await connect({ isPatient: true });
        const room = await joinRoom(ada, connection, "room");
        room.on("state", ({ state }) => {
            if (state !== "joining" || ada.wasRenewed) return;
            ada.wasRenewed = true;
            ada.close();
            ada.connect();
        });
        connection.socket.close(code, "why");
        const again = await fake.accept();
        await again.welcome();
        await reaches(ada, "connected");
        assert.deepEqual(ada.states.all.slice(1).map(({ state }) => state), ["connected", "closed", "connecting", "connected"]);
        ada.close();
    }
});

test("a nick that is refused on connecting is told", async () => {
    const ada = await client(fake.url, { nick: "a b" });
    const nicks = new Record(ada, "nick");
    const connection = await fake.accept();
    await connection.welcome();
    await connection.fail("rpc", 107);
    const [{ nick, error }] = await nicks.count(1);
    assert.deepEqual([nick, error.code, ada.nick], [undefined, 107, undefined]);
});

test("what was missed and what is live is new, the history on the first join is not", async () => {
    const { ada, connection } = await connect();
    const room = join(ada, "room", { history: 2 });
    const admit = async (epoch, offset, offsets) => {
        const { id } = await connection.take("subscribe");
        connection.send({ id, subscribe: { ...POSITION, epoch, offset, was_recovering: true } });
        connection.send({ id: (await connection.take("history")).id, history: { publications: offsets.map((each) => publication(each)) } });
        await reaches(room, "joined");
    };
    const again = () => connection.send({ push: { channel: "room", unsubscribe: { code: 2500, reason: "insufficient state" } } });
    await admit("one", 2, [2, 1]);
    connection.send(published("room", 3));
    await room.messages.count(3);
    again();
    await reaches(room, "joining");
    await admit("one", 9, [9, 8]);
    again();
    await reaches(room, "joining");
    await admit("two", 1, [1]);
    assert.deepEqual(room.messages.all.map(({ offset, isLive, isNew }) => [offset, isLive, isNew]), [
        [1, false, false], [2, false, false], [3, true, true], [8, false, true], [9, false, true], [1, false, true],
    ]);
});

test("a hundred messages wait for a join, and no more", async () => {
    const { ada } = await connect();
    const room = join(ada, "room");
    for (let n = 0; n < 100; n++) room.say("waits").catch(() => {});
    const { code, isTemporary } = await rejection(room.say("too many"));
    assert.deepEqual([code, isTemporary], ["busy", true]);
});

test("own members have the new label at once", async () => {
    const { ada, connection } = await connect();
    const room = await joinRoom(ada, connection, "room");
    const members = new Record(room, "members");
    const { id } = await connection.take("presence_stats");
    connection.send({ id, presence_stats: { num_clients: 1 } });
    const info = { client: ada.clientId, user: "", conn_info: { name: "~old" } };
    connection.send({ id: (await connection.take("presence")).id, presence: { presence: { [ada.clientId]: info } } });
    await members.count(1);
    const renaming = ada.rename("new");
    connection.send({ id: (await connection.take("rpc")).id, rpc: { data: { nick: "~new" } } });
    await renaming;
    assert.deepEqual(members.all.map(({ members: [{ name }] }) => name), ["~old", "~new"]);
});

test("without a token to go on with, another connection is made as a guest", async () => {
    const tokens = ["ada's"];
    const { connection } = await connect({ getToken: async () => tokens.shift() }, { expires: true, ttl: 0 });
    await connection.ended;
    const command = await (await fake.accept()).take("connect");
    assert.equal(command.connect.token, undefined);
});

test("a listener that an earlier one has stopped does not hear of the same event", async () => {
    const { ada, connection } = await connect();
    const room = ada.join("room");
    room.on("state", () => stop());
    const stop = room.on("state", () => assert.fail("stopped"));
    const states = new Record(room, "state");
    await connection.admit("room", POSITION);
    await states.count(1);
});

test("an attempt that takes too long is given up, in whatever it waits", async (context) => {
    context.mock.timers.enable({ apis: ["setTimeout"] });
    for (const options of [{}, { getToken: () => new Promise(() => {}) }]) {
        const ada = await client(fake.url, { isPatient: true, ...options });
        context.mock.timers.tick(10_000);
        assert.equal(ada.state, "waiting");
    }
    context.mock.timers.reset();
});

test("a token that cannot be had now is asked for again later", async () => {
    const ada = await client(fake.url, { isPatient: true, getToken: async () => { throw new Error("no network"); } });
    const { reason } = await reaches(ada, "waiting");
    assert.match(reason, /no network/);
});

test("a join that fails for now is tried again, one that ends so begins anew with its position", async () => {
    const { ada, connection } = await connect({ random: () => 0 });
    const room = join(ada, "room");
    const early = rejection(room.say("early"));
    await connection.fail("subscribe", 111, true);
    assert.equal((await early).code, 111);
    await connection.admit("room", { ...POSITION, offset: 4 });
    await reaches(room, "joined");
    connection.send(published("room", 5), { push: { channel: "room", unsubscribe: { code: 2501, reason: "subscription expired" } } });
    assert.deepEqual(await reaches(room, "joining"), { state: "joining", code: 2501, reason: "subscription expired" });
    const saying = room.say("late");
    const again = await connection.take("subscribe");
    assert.deepEqual(again.subscribe, { channel: "room", recover: true, epoch: "one", offset: 5 });
    connection.send({ id: again.id, subscribe: { ...POSITION, offset: 5, was_recovering: true, recovered: true, publications: [publication(6)] } });
    connection.send({ id: (await connection.take("publish")).id, publish: {} });
    await saying;
    assert.deepEqual(room.story, ["joined", "message 5", "joining", "message 6", "joined"]);
});

test("a room that is left while it waits to join again does not join", async (context) => {
    const { ada, connection } = await connect();
    const room = await joinRoom(ada, connection, "room");
    context.mock.timers.enable({ apis: ["setTimeout"] });
    connection.send({ push: { channel: "room", unsubscribe: { code: 2500, reason: "insufficient state" } } });
    await reaches(room, "joining");
    room.leave();
    assert.deepEqual(room.states.all.map(({ state }) => state), ["joined", "joining", "left"]);
    context.mock.timers.tick(20_000);
    context.mock.timers.reset();
    const other = await joinRoom(ada, connection, "other");
    assert.deepEqual([other.state, connection.commands], ["joined", []]);
});

test("what was sent to a former membership does not reach the next one of the same room", async () => {
    const { ada, connection } = await connect();
    const former = await joinRoom(ada, connection, "room");
    former.leave();
    const room = join(ada, "room");
    const { id } = await connection.take("subscribe");
    connection.send(
        published("room", 1),
        { push: { channel: "room", unsubscribe: { code: 2000, reason: "server unsubscribe" } } },
        { id, subscribe: { ...POSITION, offset: 1 } },
        published("room", 2),
    );
    await room.messages.count(1);
    assert.deepEqual([former.story, room.story], [["joined", "left"], ["joined", "message 2"]]);
});

test("a listener that leaves or closes ends what follows at once", async () => {
    const { ada, connection } = await connect();
    const [room, other] = [await joinRoom(ada, connection, "room"), await joinRoom(ada, connection, "other")];
    room.on("message", () => room.leave());
    other.on("message", () => ada.close());
    connection.send(published("room", 1), published("room", 2), published("other", 1), published("other", 2));
    await connection.ended;
    assert.deepEqual([room.story, other.story], [["joined", "message 1", "left"], ["joined", "message 1", "joining"]]);
});

test("a listener that throws keeps nobody from the event, and one that was stopped hears nothing", async (context) => {
    const reported = context.mock.method(console, "error", () => {});
    const { ada, connection } = await connect();
    const room = ada.join("room");
    room.on("message", () => { throw new Error("a mistake of the application"); });
    const stop = room.on("message", () => assert.fail("stopped"));
    const messages = new Record(room, "message");
    stop();
    stop();
    await connection.admit("room", POSITION);
    connection.send(published("room", 1), published("room", 2));
    await messages.count(2);
    assert.equal(reported.mock.callCount(), 2);
});

test("a nick holds over connections, and an older server without nicks is no error", async () => {
    const { ada, connection } = await connect();
    const nicks = new Record(ada, "nick");
    const renaming = ada.rename("ada");
    connection.send({ id: (await connection.take("rpc")).id, rpc: { data: { nick: "~ada" } } });
    assert.equal(await renaming, "~ada");
    const refused = rejection(ada.rename("a\nb"));
    await connection.fail("rpc", 107);
    assert.equal((await refused).code, 107);
    const lost = ada.rename("eve");
    await connection.take("rpc");
    connection.socket.terminate();
    assert.equal(await lost, undefined);
    const again = await fake.accept();
    await again.welcome();
    const { id, rpc } = await again.take("rpc");
    assert.deepEqual(rpc.data, { nick: "eve" });
    again.send({ id, rpc: { data: { nick: "~eve" } } });
    await nicks.count(2);
    assert.equal(ada.nick, "~eve");
    const old = ada.rename("bob");
    await again.fail("rpc", 108);
    assert.equal(await old, undefined);
    ada.close();
    assert.equal(await ada.rename("tom"), undefined);
});

test("rooms are listed over HTTP with the client's token, and an error has the status as its code", async (context) => {
    const answers = [[200, '{"rooms":["lobby"],"more":0}'], [403, "no"], [503, "full"], [200, "no JSON"]];
    const requests = [];
    const server = http.createServer((request, response) => {
        requests.push([request.url, request.headers.authorization]);
        const [status, body] = answers.shift();
        response.writeHead(status).end(body);
    });
    await once(server.listen(0, "127.0.0.1"), "listening");
    context.after(() => server.close());
    const { Roomcast } = await import(FILE);
    const ada = new Roomcast({ url: `ws://127.0.0.1:${server.address().port}/connection/websocket`, token: "ada's" });
    assert.deepEqual(await ada.rooms(), ["lobby"]);
    for (const [code, isTemporary] of [[403, false], [503, true], ["offline", true]]) {
        const error = await rejection(ada.rooms());
        assert.deepEqual([error.code, error.isTemporary], [code, isTemporary]);
    }
    assert.deepEqual(requests[0], ["/rooms", "Bearer ada's"]);
});

test("members of a large room are counted and not listed, and nobody asks while nobody listens", async (context) => {
    const { ada, connection } = await connect();
    const room = await joinRoom(ada, connection, "room");
    await settle(room, connection);
    assert.deepEqual(connection.commands, []);
    context.mock.timers.enable({ apis: ["setTimeout"] });
    const count = async (num_clients) => connection.send({ id: (await connection.take("presence_stats")).id, presence_stats: { num_clients } });
    const heard = [];
    const stop = room.on("members", (event) => heard.push(event));
    await count(5_000);
    const fence = () => settle(room, connection);
    await fence();
    assert.deepEqual(heard, [{ count: 5_000 }]);
    connection.send(published("room", 1));
    context.mock.timers.tick(60_000);
    await count(2);
    const info = (client, name) => ({ client, user: "", conn_info: { name } });
    connection.send({ id: (await connection.take("presence")).id, presence: { presence: { b: info("b", "~zoe"), a: info("a", "~ada") } } });
    await fence();
    assert.deepEqual(heard.at(-1).members.map(({ name }) => name), ["~ada", "~zoe"]);
    connection.send({ push: { channel: "room", join: { info: info("c", "~tom") } } }, { push: { channel: "room", leave: { info: info("a", "~ada") } } });
    await fence();
    assert.deepEqual(heard.at(-1).members.map(({ name }) => name), ["~tom", "~zoe"]);
    connection.send({ push: { channel: "room", pub: { ...publication(2), info: info("c", "~thomas") } } });
    await fence();
    assert.deepEqual(heard.at(-1).members.map(({ name }) => name), ["~thomas", "~zoe"]);
    stop();
    context.mock.timers.tick(60_000);
    await fence();
    assert.deepEqual(connection.commands, []);
    context.mock.timers.reset();
});

test("members are not asked for in a hidden page, nor without the right to it", async (context) => {
    const { ada, connection } = await connect();
    const room = await joinRoom(ada, connection, "room");
    context.mock.timers.enable({ apis: ["setTimeout"] });
    document.hidden = true;
    room.on("members", () => {});
    await settle(room, connection);
    assert.deepEqual(connection.commands, []);
    document.hidden = false;
    context.mock.timers.tick(5_000);
    await connection.fail("presence_stats", 103, false);
    await settle(room, connection);
    context.mock.timers.tick(60_000);
    await settle(room, connection);
    assert.deepEqual(connection.commands, []);
    context.mock.timers.reset();
});
