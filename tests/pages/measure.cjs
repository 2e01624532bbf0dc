// What scripts/pages prints. No test: it measures time, which no test does.
"use strict";

const net = require("node:net");
const { once } = require("node:events");
const { parseArgs } = require("node:util");
const { setTimeout: delay } = require("node:timers/promises");
const { startBrowser } = require("./helpers/browser.cjs");
const { READY } = require("./helpers/chat.cjs");
const { Server } = require("../sdks/helpers/server.cjs");

const SPEAKERS = 10;
const WORDS = "the quick brown fox jumps over the lazy dog and reads https://example.org/a/page?of=words on its way home".split(" ");

const { values } = parseArgs({
    options: {
        loads: { type: "string", default: "20" },
        minutes: { type: "string", default: "10" },
        rate: { type: "string", default: "100" },
    },
});
const [loads, minutes, rate] = [values.loads, values.minutes, values.rate].map(Number);

const median = (numbers) => numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)];

// Notes when an element that matches can be used, in milliseconds from the navigation.
function noteUsable(selector) {
    const look = () => {
        if (window.usableAt !== undefined || !document.querySelector(selector)) return;
        window.usableAt = performance.now();
        observer.disconnect();
    };
    const observer = new MutationObserver(look);
    observer.observe(document, { subtree: true, childList: true, attributes: true });
}

// Loads the chat in a new profile: bytes by the browser's count of what came over the wire, heads included.
async function load(browser, url) {
    const context = await browser.newContext();
    const page = await context.newPage();
    const tools = await context.newCDPSession(page);
    let bytes = 0;
    let requests = 0;
    tools.on("Network.loadingFinished", ({ encodedDataLength }) => {
        bytes += encodedDataLength;
        requests += 1;
    });
    await tools.send("Network.enable");
    await page.addInitScript(noteUsable, READY);
    await page.goto(url);
    await page.waitForFunction(() => window.usableAt !== undefined);
    const usable = await page.evaluate(() => window.usableAt);
    const bodies = await page.evaluate(() =>
        [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")].reduce((sum, entry) => sum + entry.encodedBodySize, 0),
    );
    await context.close();
    return { bytes, bodies, requests, usable };
}

async function measureLoads(browser, url) {
    const all = [];
    while (all.length < loads) all.push(await load(browser, url));
    const of = (name) => all.map((one) => one[name]);
    console.log(`First load of the chat, ${loads} times with an empty cache:\n`);
    console.log("| | median | most |\n|---|---|---|");
    for (const [name, unit] of [["bytes", "bytes transferred"], ["bodies", "bytes of bodies alone"], ["requests", "requests"], ["usable", "ms until usable"]]) {
        console.log(`| ${unit} | ${Math.round(median(of(name)))} | ${Math.round(Math.max(...of(name)))} |`);
    }
}

// A page whose tasks, heap and nodes are watched.
async function watch(browser, url) {
    const context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
    const page = await context.newPage();
    await page.addInitScript(() => {
        window.longTasks = [];
        new PerformanceObserver((list) => window.longTasks.push(...list.getEntries().map(({ duration }) => duration))).observe({ type: "longtask" });
    });
    await page.goto(url);
    const tools = await context.newCDPSession(page);
    await tools.send("Performance.enable");
    return { page, tools };
}

async function look({ page, tools }) {
    await tools.send("HeapProfiler.collectGarbage");
    const { metrics } = await tools.send("Performance.getMetrics");
    const { JSHeapUsedSize, Nodes, TaskDuration } = Object.fromEntries(metrics.map(({ name, value }) => [name, value]));
    const longTasks = await page.evaluate(() => window.longTasks.splice(0));
    return { heap: JSHeapUsedSize, nodes: Nodes, busy: TaskDuration, longTasks };
}

// Line clients that say messages of about 100 bytes at the rate, evenly. Returns a function that stops them.
async function talk(address, room) {
    const [host, port] = address.split(":");
    const sockets = [];
    for (let speaker = 0; speaker < SPEAKERS; speaker += 1) {
        const socket = net.connect(Number(port), host);
        await once(socket, "connect");
        socket.resume();
        socket.write(`NICK speaker-${speaker}\nJOIN ${room}\n`);
        sockets.push(socket);
    }
    const start = performance.now();
    let said = 0;
    const timer = setInterval(() => {
        const due = Math.floor(((performance.now() - start) / 1000) * rate);
        for (; said < due; said += 1) {
            const words = Array.from({ length: 18 }, (_, at) => WORDS[(said * 7 + at) % WORDS.length]);
            sockets[said % SPEAKERS].write(`SAY ${said} ${words.join(" ")}\n`);
        }
    }, 5);
    return () => {
        clearInterval(timer);
        sockets.forEach((socket) => socket.destroy());
        return said;
    };
}

async function measureLoad(browser, server) {
    const pages = {
        chat: await watch(browser, `http://${server.http}/#busy`),
        dashboard: await watch(browser, `http://${server.http}/dashboard`),
    };
    console.log(`\nOne chat page and one dashboard, ${rate} messages per second in the room of the page:\n`);
    console.log("| minute | page | heap after collection | DOM nodes | main thread busy | tasks over 50 ms | longest |\n|---|---|---|---|---|---|---|");
    const before = {};
    const print = async (minute) => {
        for (const [name, page] of Object.entries(pages)) {
            const { heap, nodes, busy, longTasks } = await look(page);
            const share = minute > 0 ? `${(((busy - before[name]) / 60) * 100).toFixed(1)} %` : "";
            before[name] = busy;
            const longest = longTasks.length > 0 ? `${Math.round(Math.max(...longTasks))} ms` : "";
            console.log(`| ${minute} | ${name} | ${(heap / 1048576).toFixed(2)} MiB | ${nodes} | ${share} | ${longTasks.length} | ${longest} |`);
        }
    };
    const stop = await talk(server.tcp, "busy");
    await print(0);
    for (let minute = 1; minute <= minutes; minute += 1) {
        await delay(60_000);
        await print(minute);
    }
    console.log(`\n${stop()} messages were said.`);
}

async function main() {
    const server = await Server.start({ log: "info", pages: "all", "token-secret-file": [] }, "");
    const browser = await startBrowser();
    await measureLoads(browser, `http://${server.http}/#lobby`);
    if (minutes > 0) await measureLoad(browser, server);
    await browser.close();
    await server.remove();
}

main();
