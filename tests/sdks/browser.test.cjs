// The SDK on a page of another host, in a real browser.
"use strict";

const assert = require("node:assert/strict");
const fs = require("node:fs");
const path = require("node:path");
const test = require("node:test");
const { Server } = require("./helpers/server.cjs");
const { Browser, findBrowser, serve } = require("./helpers/page.cjs");
const { connectAs, subscribe, scenario } = require("./helpers/clients.cjs");
const { sign } = require("./helpers/tokens.cjs");

const dist = path.join(path.dirname(require.resolve("centrifuge")), "..", "dist");
const page = (script) => `<!doctype html><meta charset="utf-8"><script src="/${script}"></script>`;

// Runs in the page: connects over one transport, and returns what the client has seen.
async function talk(transport, address, token, room, isBinary) {
    const encode = (value) => (isBinary ? new TextEncoder().encode(JSON.stringify(value)) : value);
    const decode = (data) => (isBinary ? JSON.parse(new TextDecoder().decode(data)) : data);
    const scheme = transport === "websocket" ? "ws" : "http";
    const endpoint = `${scheme}://${address}/connection/${transport}`;
    const delays = { minReconnectDelay: 10, maxReconnectDelay: 100 };
    const options = { token, emulationEndpoint: `http://${address}/emulation`, ...delays };
    const client = new Centrifuge([{ transport, endpoint }], options);
    const seen = { transport: null, heard: [], refused: null };
    const fail = (reject) => client.on("disconnected", ({ code, reason }) => reject(new Error(`disconnected: ${code} ${reason}`)));
    client.on("connected", (context) => (seen.transport = context.transport));
    const subscription = client.newSubscription(room);
    const heard = new Promise((resolve, reject) => {
        fail(reject);
        setTimeout(() => reject(new Error(`too late: ${client.state}, ${JSON.stringify(seen)}`)), 120_000);
        subscription.on("publication", ({ data }) => {
            seen.heard.push(decode(data));
            if (decode(data) === "welcome") resolve();
        });
    });
    subscription.subscribe();
    client.connect();
    await subscription.ready();
    await subscription.publish(encode({ hello: transport }));
    await heard;
    seen.users = Object.values((await subscription.presence()).clients).map(({ user }) => user).sort();
    seen.retained = (await subscription.history({ limit: -1 })).publications.length;
    seen.refused = await client.presence("closed:room").catch(({ code }) => code);
    client.disconnect();
    return seen;
}

const program = findBrowser();
if (!program) console.error("sdks: skipped the browser, there is no Chromium here");

if (program) {
    let server, browser, pages;
    test.before(async () => {
        const files = { "/json": page("centrifuge.js"), "/protobuf": page("centrifuge.protobuf.js") };
        for (const script of ["centrifuge.js", "centrifuge.protobuf.js"]) files[`/${script}`] = fs.readFileSync(path.join(dist, script));
        pages = await serve(files);
        server = await Server.start({ "allowed-origins": [pages.origin] });
        browser = Browser.start(program);
    });
    test.after(async () => {
        pages.close();
        await browser.stop();
        await server.remove();
    });

    for (const [encoding, transport] of [
        ["json", "websocket"], ["protobuf", "websocket"], ["json", "http_stream"], ["protobuf", "http_stream"], ["json", "sse"],
    ]) {
        scenario(`a page and a program meet in a room (${encoding} over ${transport})`, async () => {
            const room = `chat:${encoding}-${transport}`;
            const bob = await subscribe(await connectAs("bob", server.http), room);
            bob.on("publication", ({ data }) => data.hello && bob.publish("welcome"));
            const evaluate = await browser.open(`${pages.origin}/${encoding}`);
            const parameters = [transport, server.http, sign({ sub: "ada" }), room, encoding === "protobuf"].map((value) => JSON.stringify(value));
            const seen = await evaluate(`(${talk})(${parameters})`);
            assert.deepEqual(seen, {
                transport, heard: [{ hello: transport }, "welcome"], refused: 103, users: ["ada", "bob"], retained: 2,
            });
        });
    }

    scenario("a page of a host that is not allowed cannot connect", async () => {
        const strangers = await serve({ "/": page("centrifuge.js"), "/centrifuge.js": fs.readFileSync(path.join(dist, "centrifuge.js")) });
        const evaluate = await browser.open(`${strangers.origin}/`);
        const refused = (transport, scheme) => `new Promise((resolve) => {
            const client = new Centrifuge([{ transport: "${transport}", endpoint: "${scheme}://${server.http}/connection/${transport}" }]);
            client.on("connected", () => resolve("connected"));
            client.on("error", ({ type }) => { client.disconnect(); resolve(type); });
            client.connect();
        })`;
        assert.equal(await evaluate(refused("websocket", "ws")), "transport");
        assert.equal(await evaluate(refused("http_stream", "http")), "transport");
        assert.equal(await evaluate(refused("sse", "http")), "transport");
        strangers.close();
    });
}
