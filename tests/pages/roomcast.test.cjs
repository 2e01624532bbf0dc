// The client module that pages use, in node, against the built server.
"use strict";

const assert = require("node:assert/strict");
const { execFile } = require("node:child_process");
const net = require("node:net");
const readline = require("node:readline");
const { EventEmitter, once } = require("node:events");
const { test, before, after } = require("node:test");
const { Server, RULES } = require("../sdks/helpers/server.cjs");
const { Proxy } = require("../sdks/helpers/proxy.cjs");
const { Record, rejection } = require("../sdks/helpers/events.cjs");
const { sign, inSeconds, tokenSource } = require("../sdks/helpers/tokens.cjs");
const { client, join, reaches, next, FILE } = require("./helpers/module.cjs");

let server;
let rooms = 0;
const name = (prefix) => `${prefix}:${++rooms}`;
const at = (address) => `ws://${address}/connection/websocket`;
const connected = async (options) => {
    const created = await client(at(server.http), options);
    await reaches(created, "connected");
    return created;
};
// A member whose join has finished.
const member = async (client, room, options) => {
    const joined = join(client, room, options);
    await reaches(joined, "joined");
    return joined;
};
const offsets = (room) => room.messages.all.map(({ offset }) => offset);
const upTo = (count, first = 1) => Array.from({ length: count }, (_, index) => first + index);

before(async () => (server = await Server.start({ greeting: "" }, RULES, { all: ["--may", "publish,subscribe,disconnect"] })));
after(() => server.remove());

const api = async (method, parameters) => {
    const headers = { "x-api-key": server.keys.all };
    const response = await fetch(`http://${server.http}/api/${method}`, { method: "POST", headers, body: JSON.stringify(parameters) });
    assert.equal(response.status, 200);
    const { error } = await response.json();
    assert.equal(error, undefined);
};

async function lineClient(room) {
    const [host, port] = server.tcp.split(":");
    const socket = net.connect(Number(port), host);
    await once(socket, "connect");
    const heard = new EventEmitter();
    const lines = new Record(heard, "line");
    readline.createInterface({ input: socket }).on("line", (line) => heard.emit("line", line));
    socket.write(`NICK tom\nJOIN ${room}\n`);
    await lines.until((all) => all.includes(`Joined ${room}`), "join");
    return { say: (text) => socket.write(`${text}\n`), lines, close: () => socket.destroy() };
}

test("two clients and a line client hear one order, each message once", async () => {
    const room = name("open");
    const [ada, bob, tom] = [await member(await connected(), room), await member(await connected(), room), await lineClient(room)];
    for (const n of upTo(40)) {
        ada.say(`ada ${n}`);
        bob.publish(`bob ${n}`);
        tom.say(`tom ${n}`);
    }
    await Promise.all([ada, bob].map(({ messages }) => messages.count(120)));
    await tom.lines.until((all) => all.filter((line) => line.startsWith("[")).length >= 120, "120 lines");
    const texts = ada.messages.all.map(({ text }) => text);
    assert.deepEqual(offsets(ada), upTo(120));
    assert.deepEqual(bob.messages.all.map(({ text }) => text), texts);
    assert.deepEqual(tom.lines.all.filter((line) => line.startsWith("[")).map((line) => line.replace(/^\S+ /, "")), texts);
    for (const speaker of ["ada", "bob", "tom"]) {
        assert.deepEqual(texts.filter((text) => text.startsWith(speaker)), upTo(40).map((n) => `${speaker} ${n}`));
    }
    tom.close();
});

test("a message says who has said it, and whether this client has", async () => {
    const room = name("open");
    const ada = await member(await connected({ token: sign({ sub: "ada", info: { name: "Ada L." } }) }), room);
    const guest = await member(await connected(), room);
    const tom = await lineClient(room);
    await ada.publish({ text: "hi", colour: "red" });
    await guest.publish([1, null]);
    tom.say("hello");
    await ada.messages.count(3);
    await api("publish", { channel: room, data: "from a backend" });
    const [first, second, third, fourth] = await ada.messages.count(4);
    assert.deepEqual([first.name, first.user, first.text, first.isOwn, first.isLive], ["Ada L.", "ada", "hi", true, true]);
    assert.deepEqual(first.data, { text: "hi", colour: "red" });
    assert.match(second.name, /^client-[0-9a-f]{6}$/);
    assert.deepEqual([second.text, second.data, second.isOwn], [undefined, [1, null], false]);
    assert.deepEqual([third.name, third.text], ["~tom", "hello"]);
    assert.deepEqual([fourth.name, fourth.user, fourth.client, fourth.text], ["", "", "", "from a backend"]);
    tom.close();
});

test("history comes first, then what is said, and nothing twice", async () => {
    const room = name("open");
    const speaker = await connected();
    const known = await member(speaker, room);
    for (const n of upTo(30)) await known.say(`old ${n}`);
    const speaking = Promise.all(upTo(30).map((n) => known.say(`new ${n}`)));
    const late = join(await connected(), room, { history: 20 });
    await speaking;
    await late.messages.until((all) => all.at(-1)?.offset === 60, "last message");
    const first = offsets(late)[0];
    assert.deepEqual(offsets(late), upTo(60 - first + 1, first));
    const history = late.messages.all.filter(({ isLive }) => !isLive).length;
    assert.ok(late.messages.all.slice(history).every(({ isLive }) => isLive), "history comes first");
    assert.ok(late.story.indexOf("joined") >= history, "joined comes behind the history");
    assert.ok(late.messages.all.every(({ time }, place, all) => Number.isInteger(time) && time >= (all[place - 1]?.time ?? 1)));
});

test("after cuts at any byte every message has come once and in order", async () => {
    const seed = Number(process.env.SEED ?? Date.now() % 1e9);
    let state = seed;
    const random = (limit) => (state = (Math.imul(state, 1103515245) + 12345) >>> 0) % limit;
    const proxy = await Proxy.start(server.http);
    const room = name("open");
    const ada = await client(at(proxy.address), { random: () => 0 });
    const listener = join(ada, room, { history: 1000 });
    await reaches(listener, "joined");
    const speaker = await member(await connected(), room);
    let cuts = 0;
    ada.on("state", ({ state }) => state === "connecting" && cuts++);
    listener.on("state", ({ state }) => state === "joined" && proxy.cutAfter(random(6_000)));
    proxy.cutAfter(random(6_000));
    for (const n of upTo(300)) {
        await speaker.publish({ n, fill: "x".repeat(random(200)) });
        await listener.messages.until((all) => all.length > n - 30, `message ${n - 30} with SEED=${seed}`);
    }
    await listener.messages.count(300);
    assert.deepEqual(offsets(listener), upTo(300), `SEED=${seed}`);
    assert.ok(cuts > 3 && !listener.story.includes("gap"), `SEED=${seed}: ${cuts} cuts`);
    proxy.stop();
});

test("a server that was restarted is a gap where anything had been said, and nowhere else", async () => {
    const own = await Server.start({ greeting: "" });
    const ada = await client(at(own.http));
    const [busy, quiet] = [join(ada, "open:busy", { history: 10 }), join(ada, "open:quiet", { history: 10 })];
    await reaches(busy, "joined");
    await busy.say("before");
    await busy.messages.count(1);
    const former = ada.clientId;
    await own.stop();
    assert.equal((await reaches(busy, "joining")).state, "joining");
    await own.run();
    await reaches(busy, "joined");
    await reaches(quiet, "joined");
    await busy.say("after");
    await busy.messages.count(2);
    assert.deepEqual(busy.story, ["joined", "before", "joining", "gap", "joined", "after"]);
    assert.deepEqual(quiet.story, ["joined", "joining", "joined"]);
    assert.deepEqual([busy.states.all.at(-1).recovered, quiet.states.all.at(-1).recovered], [false, true]);
    assert.notEqual(ada.clientId, former);
    await own.remove();
});

test("what was missed beyond recovery is a gap, unless the history reaches back to it", async () => {
    const speaker = await connected();
    for (const [history, missed, story] of [
        [3, 15, ["joined", "m 1", "joining", "gap", "m 14", "m 15", "m 16", "joined"]],
        [0, 15, ["joined", "m 1", "joining", "gap", "joined"]],
        [3, 2, ["joined", "m 1", "joining", "m 2", "m 3", "joined"]],
    ]) {
        const room = name("few");
        const ada = await connected();
        const listener = await member(ada, room, { history });
        const known = await member(speaker, room);
        await known.say("m 1");
        await listener.messages.count(1);
        ada.close();
        for (const n of upTo(missed)) await known.say(`m ${n + 1}`);
        ada.connect();
        await reaches(listener, "joined");
        assert.deepEqual(listener.story, story, `history ${history}, missed ${missed}`);
    }
});

test("messages of this client stay its own after it has come back", async () => {
    const room = name("open");
    const ada = await connected();
    const first = await member(ada, room);
    await first.say("mine");
    ada.close();
    ada.connect();
    await reaches(first, "joined");
    first.leave();
    const again = await member(ada, room, { history: 5 });
    assert.notEqual(again, first);
    assert.deepEqual(again.messages.all.map(({ text, isOwn, isLive }) => [text, isOwn, isLive]), [["mine", true, false]]);
});

test("a room that retains nothing has no gaps and no history", async () => {
    const ada = await connected();
    const room = await member(ada, name("forgetful"), { history: 10 });
    await room.say("one");
    ada.close();
    ada.connect();
    await reaches(room, "joined");
    await room.say("two");
    await room.messages.count(2);
    assert.deepEqual(room.story, ["joined", "one", "joining", "joined", "two"]);
    assert.ok(room.messages.all.every(({ isLive }) => isLive));
});

test("a room that may not be joined is left with the server's code, and all that waits for it fails", async () => {
    const ada = await connected();
    for (const [room, code] of [[name("closed"), 103], ["no blanks", 107], ["x".repeat(200), 107], ["$secret", 103]]) {
        const refused = join(ada, room, { history: 5 });
        const early = rejection(refused.say("early"));
        const { code: said, reason } = await reaches(refused, "left");
        assert.equal(said, code);
        assert.equal(typeof reason, "string");
        assert.equal((await early).code, code);
        assert.deepEqual([(await rejection(refused.say("late"))).code, refused.story], ["left", ["left"]]);
    }
    assert.equal(ada.state, "connected");
});

test("messages that are published at once keep their order, also in front of the join", async () => {
    const ada = await client(at(server.http));
    const room = join(ada, name("open"));
    await Promise.all(upTo(20).map((n) => room.say(`${n}`)));
    await room.messages.count(20);
    assert.deepEqual(room.messages.all.map(({ text }) => text), upTo(20).map(String));
});

test("a room is left while it is being joined, and joined again", async () => {
    const ada = await connected();
    const speaker = await member(await connected(), name("open"));
    const first = join(ada, speaker.name, { history: 5 });
    const early = rejection(first.say("never"));
    first.leave();
    first.leave();
    const second = join(ada, speaker.name, { history: 5 });
    await reaches(second, "joined");
    await speaker.say("hello");
    await second.messages.count(1);
    assert.equal((await early).code, "left");
    assert.deepEqual([first.story, second.story], [["left"], ["joined", "hello"]]);
    assert.equal(ada.join(speaker.name), second);
    const last = second.say("bye");
    second.leave();
    await last;
    await speaker.messages.count(2);
    await speaker.say("unheard");
    await speaker.messages.count(3);
    assert.deepEqual(speaker.messages.all.map(({ text }) => text), ["hello", "bye", "unheard"]);
    assert.deepEqual(second.story, ["joined", "hello", "left"]);
});

test("a message over the server's limit fails alone, and the connection comes back without a gap", async () => {
    const ada = await connected();
    const room = await member(ada, name("open"), { history: 5 });
    await room.say("short");
    for (const length of [70_000, 3_000_000]) {
        const back = next(room, "joined");
        const waiting = next(ada, "waiting");
        const error = await rejection(room.say("x".repeat(length)));
        assert.deepEqual([error.code, error.isTemporary], [1009, false]);
        assert.equal((await waiting).code, 1009);
        assert.equal((await back).recovered, true);
    }
    await room.say("shorter");
    await room.messages.count(2);
    assert.deepEqual(room.messages.all.map(({ text }) => text), ["short", "shorter"]);
});

test("what cannot be JSON fails without a word to the server", async () => {
    const room = await member(await connected(), name("open"));
    assert.ok((await rejection(room.publish(1n))) instanceof TypeError);
    const early = join(await client(at(server.http)), room.name);
    assert.ok((await rejection(early.publish(1n))) instanceof TypeError);
    await early.say("goes on");
    await room.say("next");
    assert.equal(room.state, "joined");
});

test("mistakes of the page are told at once: an event that there is not, no listener, no text", async () => {
    const ada = await connected();
    const room = await member(ada, name("open"));
    assert.throws(() => ada.on("message", () => {}), { name: "TypeError", message: "no event message: there are state, nick" });
    assert.throws(() => room.on("massage", () => {}), { name: "TypeError", message: /^no event massage: there are state, message, / });
    assert.throws(() => room.on("message"), { name: "TypeError", message: 'on("message", …) takes a function' });
    for (const text of [42, undefined, { text: "hello" }]) {
        assert.match(String(await rejection(room.say(text))), /^TypeError: say\(\) takes a string, not /);
    }
    await room.say("a text");
    await room.messages.count(1);
});

test("tokens are asked for when there is none, when one has expired and before one expires", async () => {
    const good = (seconds) => () => sign({ sub: "ada", exp: inSeconds(seconds) });
    // The second one lasts longer than a busy machine stands still.
    const { getToken, calls } = tokenSource(() => sign({ sub: "ada", exp: inSeconds(-60) }), good(10), good(3600));
    const ada = await connected({ getToken, random: () => 0 });
    assert.equal(calls.all.length, 2);
    const room = await member(ada, name("open"));
    await calls.count(3);
    await room.say("still here");
    await room.messages.count(1);
    assert.equal(room.messages.all[0].user, "ada");
    assert.deepEqual(room.story, ["joined", "still here"]);
});

test("a client that has no token to give is a guest", async () => {
    const guest = await member(await connected({ getToken: async () => undefined }), name("open"));
    await guest.say("hello");
    const [{ user }] = await guest.messages.count(1);
    assert.equal(user, "");
});

test("a token that is not valid is refused for good", async () => {
    const refused = async (options) => (await reaches(await client(at(server.http), options), "refused")).code;
    assert.equal(await refused({ token: "none" }), 3500);
    assert.equal(await refused({ token: sign({ sub: "ada", exp: inSeconds(-60) }) }), 109);
    const ada = await client(at(server.http), { token: "none" });
    await reaches(ada, "refused");
    assert.equal((await rejection(ada.join("open:x").say("x"))).code, "offline");
});

test("what the application orders is done: leaving, and ending for good or for a moment", async () => {
    const ada = await connected({ token: sign({ sub: "ordered" }) });
    const [room, other] = [await member(ada, name("open")), await member(ada, name("open"))];
    await api("unsubscribe", { channel: room.name, user: "ordered" });
    assert.deepEqual(await reaches(room, "left"), { state: "left", code: 2000, reason: "server unsubscribe" });
    const back = next(other, "joined");
    await api("disconnect", { user: "ordered", disconnect: { code: 4100, reason: "come back" } });
    assert.equal((await back).recovered, true);
    assert.equal(ada.states.all.find(({ state }) => state === "waiting").code, 4100);
    await api("disconnect", { user: "ordered" });
    assert.equal((await reaches(ada, "refused")).code, 3503);
    assert.equal(other.state, "joining");
});

test("a room in which the server has put the client is joined like any other", async () => {
    const room = name("team");
    const ada = await client(at(server.http), { token: sign({ sub: "ada", channels: [room] }) });
    const joined = join(ada, room, { history: 5 });
    await joined.say("one");
    await joined.messages.count(1);
    ada.close();
    await api("publish", { channel: room, data: "two" });
    ada.connect();
    await joined.messages.count(2);
    await joined.say("three");
    await joined.messages.count(3);
    assert.deepEqual(joined.story, ["joined", "one", "joining", "two", "joined", "three"]);
});

test("members are told of each other at once in rooms with presence events", async () => {
    const room = name("events");
    const ada = await member(await connected({ token: sign({ sub: "ada" }) }), room);
    const members = new Record(ada, "members");
    await members.until((all) => all.at(-1)?.count === 1, "one member");
    const bob = await connected({ token: sign({ sub: "bob" }) });
    await member(bob, room);
    const [last] = (await members.until((all) => all.at(-1).count === 2, "two members")).slice(-1);
    assert.deepEqual(last.members.map(({ name, user, isOwn }) => [name, user, isOwn]), [["ada", "ada", true], ["bob", "bob", false]]);
    bob.close();
    await members.until((all) => all.at(-1).count === 1, "one member again");
});

test("a guest has the nick that it wishes for, in front of its first join and whenever it changes it", async () => {
    const ada = await connected({ nick: "ada" });
    const room = await member(ada, name("open"));
    await room.say("one");
    assert.equal(ada.nick, "~ada");
    assert.equal(await ada.rename("countess"), "~countess");
    assert.equal((await rejection(ada.rename("a\nb"))).code, 107);
    ada.close();
    ada.connect();
    await reaches(room, "joined");
    await room.say("two");
    await room.messages.count(2);
    assert.deepEqual(room.messages.all.map(({ name }) => name), ["~ada", "~countess"]);
    const named = await connected({ nick: "eve", token: sign({ sub: "ada" }) });
    assert.equal((await rejection(named.rename("eve"))).code, 103);
});

test("a closed client lets its process end, whatever was under way", async () => {
    const script = `
        const WebSocket = require(${JSON.stringify(require.resolve("ws"))});
        import(${JSON.stringify(FILE)}).then(({ Roomcast }) => {
            for (const url of ["${at(server.http)}", "${at(server.http)}", "ws://127.0.0.1:1/"]) {
                const client = new Roomcast({ url, WebSocket, getToken: async () => ${JSON.stringify(sign({ sub: "ada", exp: inSeconds(3600) }))} });
                const room = client.join("open:ended", { history: 5 });
                room.on("members", () => {});
                client.on("state", ({ state }) => state === "waiting" && client.close());
                room.on("state", ({ state }) => state === "joined" && client.close());
                client.connect();
            }
        });`;
    await new Promise((resolve, reject) => {
        execFile(process.execPath, ["-e", script], { timeout: 120_000 }, (error) => (error ? reject(error) : resolve()));
    });
});
