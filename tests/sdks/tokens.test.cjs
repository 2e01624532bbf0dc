// Tokens of connections: accepted, renewed, expired, refused.
"use strict";

const assert = require("node:assert/strict");
const { execFileSync } = require("node:child_process");
const path = require("node:path");
const { before, after } = require("node:test");
const { Server, PROGRAM } = require("./helpers/server.cjs");
const { next, Record } = require("./helpers/events.cjs");
const { sign, inSeconds, tokenSource, tokensByState } = require("./helpers/tokens.cjs");
const { client, connect, subscribe, scenario, inEachDialect, room } = require("./helpers/clients.cjs");

let server;
before(async () => (server = await Server.start()));
after(() => server.remove());

const ada = (claims = {}) => sign({ sub: "ada", ...claims });
const expired = ada({ exp: inSeconds(-10) });
// Makes a token that the SDK renews at once.
const short = () => ada({ exp: inSeconds(1) });
const never = () => new Promise(() => {});

// The code with which a client is disconnected once it connects.
async function end(refused) {
    const disconnected = next(refused, "disconnected");
    refused.connect();
    return (await disconnected).code;
}

// The code with which a client is disconnected that connects with these options.
const disconnection = (options, dialect, address = server.http) => end(client(address, options, dialect));

scenario("a token that gen-token has signed is one", async () => {
    const config = ["--config", path.join(server.folder, "roomcast.toml")];
    const gen = ["gen-token", ...config, "--user", "ada", "--room", "team:*=join"];
    const token = execFileSync(PROGRAM, gen, { encoding: "utf8" }).trim();
    const subscription = await subscribe(await connect(server.http, { token }), room("team"));
    await subscription.publish("in");
    const [{ info }] = await subscription.publications.count(1);
    assert.equal(info.user, "ada");
});

inEachDialect("a token is renewed before it expires, and the connection stays", async (dialect) => {
    const long = () => ada({ exp: inSeconds(3600) });
    const { getToken, renewal } = tokensByState(() => created.state, { first: short, renewed: long });
    const created = client(server.http, { getToken }, dialect);
    const connected = next(created, "connected");
    created.connect();
    await connected;
    const connecting = new Record(created, "connecting");
    const subscription = await subscribe(created, room("open"));
    await renewal();
    await subscription.publish("still there");
    await subscription.publications.count(1);
    assert.deepEqual(connecting.all, []);
});

inEachDialect("a connection without its next token ends, and comes back with a new one", async (dialect) => {
    const strict = await Server.start({ "token-grace": "1s" });
    try {
        const { getToken, calls } = tokensByState(() => created.state, { first: short, renewed: never, again: () => ada() });
        const created = client(strict.http, { getToken }, dialect);
        const expiry = next(created, "connecting", ({ code }) => code !== 0);
        created.connect();
        assert.equal((await expiry).code, 3005);
        await next(created, "connected");
        assert.deepEqual(calls.all.filter((kind) => kind !== "first"), ["renewed", "again"]);
    } finally {
        await strict.remove();
    }
});

inEachDialect("a token that has expired is replaced, or ends the connection for good", async (dialect) => {
    const { getToken, calls } = tokenSource(() => ada());
    await connect(server.http, { token: expired, getToken }, dialect);
    assert.equal(calls.all.length, 1);
    // 1 is the SDK's own code for a client that is not authorized.
    assert.equal(await disconnection({ token: expired }, dialect), 1);
    const early = ada({ nbf: inSeconds(60) });
    assert.equal(await disconnection({ token: early }, dialect), 1);
});

inEachDialect("a token that is not valid ends the connection for good", async (dialect) => {
    const forged = sign({ sub: "ada" }, "another secret, of 32 bytes or more");
    for (const token of [forged, "no token", `${ada()}x`, sign({ sub: 7 }), ada({ channel: "a" })]) {
        assert.equal(await disconnection({ token }, dialect), 3500, token);
    }
    for (const token of [forged, sign({ sub: "bob" })]) {
        const { getToken } = tokensByState(() => created.state, { first: short, renewed: () => token });
        const created = client(server.http, { getToken }, dialect);
        assert.equal(await end(created), 3500);
    }
});

scenario("a renewed token that names other rooms has the client connect again", async () => {
    const others = () => ada({ channels: ["news", "alerts"] });
    const first = () => ada({ exp: inSeconds(1), channels: ["news"] });
    const { getToken } = tokensByState(() => created.state, { first, renewed: others, again: others });
    const created = client(server.http, { getToken });
    const connecting = next(created, "connecting", ({ code }) => code !== 0);
    const subscribed = next(created, "subscribed", ({ channel }) => channel === "alerts");
    created.connect();
    assert.equal((await connecting).code, 3010);
    await subscribed;
});

scenario("where everybody needs a token a client without one is sent away for good", async () => {
    const strict = await Server.start({ anonymous: "deny" });
    try {
        assert.equal(await disconnection({}, undefined, strict.http), 3501);
        await connect(strict.http, { token: ada() });
    } finally {
        await strict.remove();
    }
});
