// Tokens of connections: accepted, renewed, expired, refused.
"use strict";

const assert = require("node:assert/strict");
const { execFileSync } = require("node:child_process");
const path = require("node:path");
const { before, after } = require("node:test");
const { Server, PROGRAM } = require("./helpers/server.cjs");
const { next, Record } = require("./helpers/events.cjs");
const { sign, inSeconds, tokenSource } = require("./helpers/tokens.cjs");
const { client, connect, subscribe, scenario, inEachDialect, room } = require("./helpers/clients.cjs");

let server;
before(async () => (server = await Server.start()));
after(() => server.remove());

const ada = (claims = {}) => sign({ sub: "ada", ...claims });
const expired = ada({ exp: inSeconds(-10) });
const never = () => new Promise(() => {});

// The code with which a client is disconnected that connects with these options.
async function disconnection(options, dialect, address = server.http) {
    const refused = client(address, options, dialect);
    const disconnected = next(refused, "disconnected");
    refused.connect();
    return (await disconnected).code;
}

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
    const { getToken, calls } = tokenSource(() => ada({ exp: inSeconds(1) }), () => ada({ exp: inSeconds(3600) }));
    const connected = await connect(server.http, { getToken }, dialect);
    const connecting = new Record(connected, "connecting");
    const subscription = await subscribe(connected, room("open"));
    await calls.count(2);
    await subscription.publish("still there");
    await subscription.publications.count(1);
    assert.deepEqual(connecting.all, []);
});

inEachDialect("a connection without its next token ends, and comes back with a new one", async (dialect) => {
    // The second call is that of the renewal, and never answers.
    const { getToken, calls } = tokenSource(() => ada({ exp: inSeconds(1) }), never, () => ada());
    const connected = await connect(server.http, { getToken }, dialect);
    const [connecting, again] = [next(connected, "connecting"), next(connected, "connected")];
    assert.equal((await connecting).code, 3005);
    await again;
    assert.equal(calls.all.length, 3);
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
        const { getToken } = tokenSource(() => ada({ exp: inSeconds(1) }), token);
        assert.equal(await disconnection({ getToken }, dialect), 3500);
    }
});

scenario("a renewed token that names other rooms has the client connect again", async () => {
    const { getToken } = tokenSource(
        () => ada({ exp: inSeconds(1), channels: ["news"] }),
        () => ada({ channels: ["news", "alerts"] }),
    );
    const connected = await connect(server.http, { getToken });
    const [connecting, subscribed] = [next(connected, "connecting"), next(connected, "subscribed", ({ channel }) => channel === "alerts")];
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
