// The dashboard shows what the server does, says in words whether all is well, and shows figures only to whom it may.
"use strict";

const assert = require("node:assert/strict");
const http = require("node:http");
const net = require("node:net");
const { once } = require("node:events");
const { setTimeout: pause } = require("node:timers/promises");
const { Server } = require("../sdks/helpers/server.cjs");
const { scenario } = require("./helpers/scenario.cjs");
const { DESKTOP, OUTAGE, PHONE } = require("./helpers/browser.cjs");
const { Dashboard } = require("./helpers/dashboard.cjs");
const { lineClient, sdkClient } = require("./helpers/people.cjs");

const SETTINGS = { greeting: "", "token-secret-file": [], pages: "all" };
// The browser writes these for the answer that asks for a key, of which the page reads the status only.
const KEY_NEEDED = [/status of 40[13]/];

async function start(defer, settings = {}, keys = {}) {
    const server = await Server.start({ ...SETTINGS, ...settings }, "", keys);
    defer(() => server.remove());
    return server;
}

// How often each of those who talk says something.
const PAUSE_MS = 100;

// Clients that talk until the test ends, at a rate with which a slow machine is not busy.
async function talk(server, defer, room, count) {
    let isOver = false;
    const clients = await Promise.all(Array.from({ length: count }, () => sdkClient(server.http, room)));
    const talks = clients.map(async (client) => {
        const say = () => client.publish({ text: "words" }).catch(() => (isOver = true));
        while (!isOver) await Promise.all([say(), pause(PAUSE_MS)]);
    });
    defer(async () => {
        isOver = true;
        clients.forEach((client) => client.close());
        await Promise.all(talks);
    });
}

// Waits until the server has so many samples.
async function untilSamples(server, count) {
    for (;;) {
        const response = await fetch(`http://${server.http}/dashboard/stats`);
        const { samples } = await response.json();
        if (samples.at.length >= count) return;
    }
}

scenario("figures of a real load appear, and the page says that all is well", async ({ visit, defer }) => {
    const server = await start(defer);
    await talk(server, defer, "busy", 4);
    const tom = await lineClient(server.tcp, "tom", "quiet");
    defer(tom.close);
    const page = await Dashboard.open(visit, server.http);
    await page.untilVerdict((level) => level === "ok", /^All is well: .*\.$/);
    await page.untilTile("Clients", (value) => value === "5");
    await page.untilTile("Rooms", (value) => value === "2");
    await page.untilTile("Publishes", (value) => parseFloat(value) > 0);
    await page.untilTile("Deliveries", (value) => parseFloat(value) > 0);
    await page.untilTile("Latency, p99", (value) => parseFloat(value) > 0);
    await page.untilTile("Memory", (value) => parseFloat(value) > 0);
    await page.untilRooms((rooms) => rooms.join() === "busy,quiet");
    await page.sortRoomsByRate();
    await page.untilRooms((rooms) => rooms[0] === "busy");
    await page.visitor.until("the transports", () => {
        const rows = [...document.querySelectorAll("#transports tr")].map((row) => [...row.cells].map(({ textContent }) => textContent));
        const amount = (transport) => rows.find(([name]) => name === transport)?.[1];
        return amount("TCP") === "1" && amount("WebSocket") === "4";
    });
    await page.visitor.screenshot("dashboard-desktop-light", { fullPage: true });
});

scenario("the charts have data at the first paint when the server has run for some seconds", async ({ visit, defer }) => {
    const server = await start(defer);
    await talk(server, defer, "busy", 2);
    await untilSamples(server, 4);
    const page = await Dashboard.open(visit, server.http);
    const paths = await page.firstCharts();
    assert.ok(paths.length >= 4 && paths.every((points) => points >= 3), `points of the lines: ${paths}`);
});

for (const [name, viewport] of [["desktop", DESKTOP], ["phone", PHONE], ["narrowest", { width: 320, height: 568 }]]) {
    scenario(`the dashboard is accessible and fits the window: ${name}`, async ({ visit, defer }) => {
        const server = await start(defer);
        await talk(server, defer, "busy", 2);
        await untilSamples(server, 2);
        for (const colorScheme of ["light", "dark"]) {
            const page = await Dashboard.open(visit, server.http, { viewport, colorScheme, reducedMotion: "reduce" });
            await page.untilLevel("ok");
            await page.untilTile("Publishes", (value) => parseFloat(value) > 0);
            await page.visitor.assertFits();
            await page.visitor.assertAccessible(`the dashboard, ${name}, ${colorScheme}`);
            await page.visitor.screenshot(`dashboard-${name}-${colorScheme}`, { fullPage: true });
        }
    });
}

scenario("a slow consumer that is cut shows, with the reason", async ({ visit, defer }) => {
    const server = await start(defer, { "outbox-bytes": "64KiB" });
    const [host, port] = server.tcp.split(":");
    const slow = net.connect(Number(port), host);
    await once(slow, "connect");
    slow.on("error", () => {});
    defer(() => slow.destroy());
    slow.write("JOIN flood\n");
    await new Promise((resolve) => slow.once("data", resolve));
    slow.pause();
    const page = await Dashboard.open(visit, server.http);
    await page.untilLevel("ok");
    const mallory = await sdkClient(server.http, "flood");
    defer(mallory.close);
    let isCut = false;
    const cut = page.untilEnding(/slow/i).finally(() => (isCut = true));
    while (!isCut) await mallory.publish({ text: "x".repeat(50_000) });
    await cut;
    await page.untilVerdict((level) => level !== "ok", /1 client was cut in the last minute/);
    await page.visitor.screenshot("dashboard-desktop-slow", { fullPage: true });
    await page.visitor.assertAccessible("the dashboard with a slow consumer");
});

scenario("the dashboard survives a restart of the server and shows the new one", async ({ visit, defer }) => {
    const server = await start(defer);
    const page = await Dashboard.open(visit, server.http, { expected: OUTAGE });
    await page.untilLevel("ok");
    await server.stop("SIGKILL");
    await page.untilState("lost");
    await page.visitor.screenshot("dashboard-desktop-lost", { fullPage: true });
    await page.visitor.assertAccessible("the dashboard without its server");
    await server.run();
    const tom = await lineClient(server.tcp, "tom", "new");
    defer(tom.close);
    await page.untilState("live");
    await page.untilLevel("ok");
    await page.untilTile("Clients", (value) => value === "1");
    await page.untilRooms((rooms) => rooms.join() === "new");
});

scenario("hostile room names stand in the lists as they are", async ({ visit, defer }) => {
    const server = await start(defer);
    const names = ["<b>bold</b>", "<img/src=x/onerror=alert(1)>", "__proto__", "constructor", "a".repeat(128)];
    for (const name of names) {
        const client = await lineClient(server.tcp, "mallory", name);
        defer(client.close);
    }
    const page = await Dashboard.open(visit, server.http, { viewport: PHONE });
    await page.untilRooms((rooms) => names.every((name) => rooms.includes(name)));
    assert.equal(await page.visitor.page.evaluate(() => document.querySelectorAll("#rooms b, img").length), 0);
    await page.visitor.assertFits();
});

// An HTTP proxy that says for whom it asks, as nginx does.
async function frontend(target, defer) {
    const [host, port] = target.split(":");
    const server = http.createServer((request, response) => {
        const headers = { ...request.headers, "x-forwarded-for": "203.0.113.7" };
        const onward = http.request({ host, port, path: request.url, method: request.method, headers }, (answer) => {
            response.writeHead(answer.statusCode, answer.headers);
            answer.pipe(response);
        });
        onward.on("error", () => response.destroy());
        request.pipe(onward);
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    defer(() => server.closeAllConnections());
    defer(() => server.close());
    return `127.0.0.1:${server.address().port}`;
}

scenario("through a proxy the figures need an API key, which the page keeps in memory only", async ({ visit, defer }) => {
    const server = await start(defer, { pages: "chat" }, { ops: ["--may", "info"], other: ["--may", "publish"] });
    const direct = await Dashboard.open(visit, server.http);
    await direct.untilLevel("ok");
    const address = await frontend(server.http, defer);
    const page = await Dashboard.open(visit, address, { expected: KEY_NEEDED });
    await page.untilState("locked");
    await page.visitor.screenshot("dashboard-desktop-key");
    await page.visitor.assertAccessible("the form for a key");
    await page.giveKey("no-such-key");
    await page.untilKeyError();
    await page.giveKey(server.keys.other);
    await page.untilKeyError();
    await page.giveKey(server.keys.ops);
    await page.untilState("live");
    await page.untilLevel("ok");
    const overlap = await page.visitor.page.evaluate(() => {
        const word = document.activeElement;
        word.blur();
        word.focus({ focusVisible: true });
        const { outlineOffset, outlineWidth } = getComputedStyle(word);
        const end = word.getBoundingClientRect().bottom + parseFloat(outlineOffset) + parseFloat(outlineWidth);
        return end - document.getElementById("verdict-sentences").getBoundingClientRect().top;
    });
    assert.ok(overlap <= 2, `the ring around the verdict ends ${overlap} pixels below the sentence's upper edge`);
    const kept = await page.visitor.page.evaluate((key) => {
        const places = [...Object.values(localStorage), ...Object.values(sessionStorage), document.cookie, location.href, document.documentElement.outerHTML];
        return places.some((place) => place.includes(key)) || document.getElementById("key").value.includes(key);
    }, server.keys.ops);
    assert.equal(kept, false);
    await page.visitor.page.reload();
    await page.untilState("locked");
});

scenario("pages can be turned off", async ({ defer }) => {
    const server = await start(defer, { pages: "off" });
    for (const path of ["/", "/dashboard", "/dashboard/stats", "/roomcast.js", "/pages/base.css"]) {
        const { status } = await fetch(`http://${server.http}${path}`);
        assert.deepEqual([path, status], [path, 404]);
    }
});

scenario("ten dashboards are open at once, and chat goes on", async ({ visit, defer }) => {
    const server = await start(defer);
    const pages = await Promise.all(Array.from({ length: 10 }, () => Dashboard.open(visit, server.http)));
    await talk(server, defer, "busy", 2);
    for (const page of pages) {
        await page.untilLevel("ok");
        await page.untilTile("Publishes", (value) => parseFloat(value) > 0);
        await page.untilRooms((rooms) => rooms.join() === "busy");
    }
});
