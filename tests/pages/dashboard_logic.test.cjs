// The dashboard's logic without a browser: how figures read, what shapes are drawn, what is kept, and when the server is asked.
"use strict";

const assert = require("node:assert/strict");
const path = require("node:path");
const test = require("node:test");
const { pathToFileURL } = require("node:url");

const folder = path.join(__dirname, "..", "..", "src", "pages", "dashboard");
const load = (name) => import(pathToFileURL(path.join(folder, name)).href);

/** A text with plain spaces, as one types it. */
const plain = (text) => text.replace(/[\u00a0\u202f]/g, " ");

const COLUMNS = ["clients", "rooms", "published", "delivered", "p50", "p99", "pending_bytes", "memory_bytes", "load", "cut"];

/** An answer of a server that has started at `start` and knows the seconds from `from` to `to`. */
function answer(start, from, to) {
    const at = Array.from({ length: to - from + 1 }, (_, index) => from + index);
    const samples = { next: to - start, at };
    for (const column of COLUMNS) samples[column] = at.map((moment) => moment - start);
    return { now: to * 1000, uptime: to - start, samples };
}

test("numbers read as people write them, with a unit", async () => {
    const { bytes, count, percent, rate, seconds, text } = await load("format.js");
    const cases = [
        [count, [[0, "0"], [999, "999"], [15_000, "15 000"], [1_234_567, "1 234 567"], [91_234_567, "91.2 M"]]],
        [rate, [[0, "0 /s"], [1.5, "1.5 /s"], [12.4, "12 /s"], [999.4, "999 /s"], [999.9, "1.0 k/s"], [1234, "1.2 k/s"], [168_400, "168 k/s"]]],
        [bytes, [[0, "0 B"], [34_000_000, "34.0 MB"], [268_435_456, "268 MB"], [1.5e9, "1.5 GB"]]],
        [seconds, [[0, "0 µs"], [0.0000004, "0.4 µs"], [0.00085, "850 µs"], [0.0025, "2.5 ms"], [0.99951, "1.0 s"], [12.34, "12.3 s"]]],
        [percent, [[0, "0 %"], [0.0001, "<0.1 %"], [0.004, "0.4 %"], [0.12, "12 %"], [1, "100 %"]]],
    ];
    for (const [format, pairs] of cases) for (const [number, wanted] of pairs) assert.equal(plain(text(format(number))), wanted);
});

test("the labels of one axis share a unit", async () => {
    const { seconds, text } = await load("format.js");
    assert.deepEqual([0.0005, 0.001, 0.002].map((tick) => plain(text(seconds(tick, 0.002)))), ["0.5 ms", "1.0 ms", "2.0 ms"]);
});

test("the labels of an axis are as far apart as its ticks", async () => {
    const { bytes, rate, seconds } = await load("format.js");
    const { axis } = await load("plot.js");
    const values = (format, { top, ticks }) => ticks.map((tick) => Number(format(tick, top).value));
    assert.deepEqual(values(rate, axis(1_000)), [0, 0.25, 0.5, 0.75, 1]);
    assert.deepEqual(values(seconds, axis(1)), [0, 0.25, 0.5, 0.75, 1]);
    for (const [format, least, most] of [[rate, 1, 1e9], [bytes, 1, 1e12], [seconds, 1e-5, 1e4]]) {
        for (let wanted = least; wanted < most; wanted *= 1.37) {
            const scale = axis(wanted, least);
            const shown = values(format, scale);
            const step = shown.at(-1) / (shown.length - 1);
            shown.forEach((value, at) => assert.ok(Math.abs(value - step * at) < 1e-6, `${wanted}: ${shown} for ${scale.ticks}`));
        }
    }
});

test("a length of time has its two largest units", async () => {
    const { duration } = await load("format.js");
    const cases = [[0, "0 s"], [12.9, "12 s"], [125, "2 min 5 s"], [3600, "1 h"], [273_600, "3 d 4 h"], [86_401, "1 d"], [-3, "0 s"]];
    for (const [length, wanted] of cases) assert.equal(plain(duration(length)), wanted);
});

test("an axis ends above the greatest value, at a round number, with at most five ticks", async () => {
    const { axis } = await load("plot.js");
    assert.deepEqual(axis(0, 10), { top: 10, ticks: [0, 2.5, 5, 7.5, 10] });
    assert.deepEqual(axis(100), { top: 100, ticks: [0, 25, 50, 75, 100] });
    assert.deepEqual(axis(10, 10, true), { top: 10, ticks: [0, 5, 10] }, "whole quantities have whole ticks");
    assert.deepEqual(axis(1, 1, true), { top: 1, ticks: [0, 1] });
    for (let most = 1; most < 1e6; most = Math.ceil(most * 1.37)) {
        const { top, ticks } = axis(most, 1, true);
        assert.ok(top >= most && ticks.length <= 5 && ticks.every(Number.isInteger), `${most}: ${ticks}`);
    }
    for (let most = 1e-6; most < 1e12; most *= 1.37) {
        const { top, ticks } = axis(most, 1e-9);
        assert.ok(top >= most * (1 - 1e-9) && top <= most * 1.7, `${most} below ${top}`);
        assert.ok(ticks.length >= 3 && ticks.length <= 5, `${most}: ${ticks}`);
    }
});

test("a line breaks where values are missing for long and where the server was away", async () => {
    const { line } = await load("plot.js");
    const pieces = (at, values) => line(at, values, at.at(-1), 10).line.split("M").length - 1;
    assert.equal(pieces([1, 2, 3], [1, 2, 3]), 1);
    assert.equal(pieces([1, 2, 3, 4], [1, null, null, 4]), 1);
    assert.equal(pieces([1, 2, 3, 4, 5], [1, null, null, null, 5]), 2);
    assert.equal(pieces([1, 2, 30, 31], [1, 2, 3, 4]), 2);
    assert.equal(pieces([1, 2], [null, null]), 0);
});

test("a line ends at the right edge, and values above the top stay inside", async () => {
    const { line } = await load("plot.js");
    const { line: drawn, area } = line([599, 600], [0, 20], 600, 10);
    assert.equal(drawn, "M599 100h0L600 0");
    assert.equal(area, "M599 100V100L600 0V100Z");
});

test("bars stand only where something happened", async () => {
    const { bars } = await load("plot.js");
    assert.equal(bars([598, 599, 600], [0, 5, null], 600, 10), "M599 100V50");
});

test("thinning keeps the greatest value of each span", async () => {
    const { thinned } = await load("plot.js");
    assert.deepEqual(thinned([9, 10, 11, 14, 15], [1, 2, 7, null, null], 5), { at: [5, 10, 15], values: [1, 7, null] });
});

test("the newest value is the last one of ten seconds, in which a quiet server delivers nothing", async () => {
    const { newest } = await load("plot.js");
    assert.equal(newest([1, 2, null, null]), 2);
    assert.equal(newest([2, ...Array(10).fill(null)]), null);
    assert.equal(newest([]), null);
});

test("the nearest sample to a moment is found at both ends and between", async () => {
    const { nearest } = await load("plot.js");
    assert.deepEqual([0, 10, 14, 15, 16, 99].map((moment) => nearest([10, 14, 20], moment)), [0, 0, 1, 1, 1, 2]);
    assert.equal(nearest([], 5), -1);
});

test("a table has one row per minute, the newest first", async () => {
    const { byMinute } = await load("plot.js");
    const rows = byMinute([58, 59, 60, 61], [
        { values: [1, 3, null, null], summary: "mean" },
        { values: [1, 3, 5, 2], summary: "max" },
        { values: [1, 1, 0, 2], summary: "sum" },
    ]);
    assert.deepEqual(rows, [{ minute: 60, values: [null, 5, 2] }, { minute: 0, values: [2, 3, 2] }]);
});

test("answers to requests with `since` make one gapless history", async () => {
    const { History } = await load("history.js");
    const history = new History();
    assert.equal(history.since, undefined);
    history.merge(answer(1000, 1001, 1300));
    assert.equal(history.since, 300);
    history.merge(answer(1000, 1301, 1301));
    history.merge({ ...answer(1000, 1301, 1301), samples: { ...answer(1000, 1302, 1301).samples, next: 301 } });
    history.merge(answer(1000, 1300, 1303));
    assert.equal(history.since, 303);
    assert.deepEqual(history.samples.at, Array.from({ length: 303 }, (_, index) => 1001 + index));
    assert.deepEqual(history.samples.p99, history.samples.at.map((moment) => moment - 1000));
});

test("history never grows beyond ten minutes", async () => {
    const { History, SPAN_SECONDS } = await load("history.js");
    const history = new History();
    for (let end = 1001; end < 4000; end += 1) history.merge(answer(1000, end, end));
    history.merge(answer(1000, 3001, 4000));
    for (const column of ["at", ...COLUMNS]) assert.equal(history.samples[column].length, SPAN_SECONDS + 1, column);
});

test("a restart of the server keeps what was before, and asks the new server for what is new", async () => {
    const { History } = await load("history.js");
    const history = new History();
    history.merge(answer(1000, 1001, 1300));
    history.merge(answer(1310, 1311, 1312));
    assert.deepEqual(history.samples.at.slice(-3), [1300, 1311, 1312]);
    assert.equal(history.since, 2);
    history.merge(answer(1310, 1313, 1313));
    assert.deepEqual(history.samples.at.slice(-4), [1300, 1311, 1312, 1313]);
    assert.equal(history.since, 3);
});

/** A poller whose clock stands still until `tick`, and what it has done. */
async function poller(respond) {
    const { Poller } = await load("poller.js");
    const seen = { requests: [], states: [], stats: 0, atOnce: 0, atOnceMax: 0 };
    const timers = new Map();
    let now = 0;
    let timerCount = 0;
    const environment = {
        async fetch(url, { headers, signal }) {
            seen.requests.push({ url, key: headers["X-API-Key"], now });
            seen.atOnce += 1;
            seen.atOnceMax = Math.max(seen.atOnceMax, seen.atOnce);
            try {
                return await respond(seen.requests.length, signal);
            } finally {
                seen.atOnce -= 1;
            }
        },
        setTimeout(run, ms) {
            timers.set((timerCount += 1), { run, at: now + ms });
            return timerCount;
        },
        clearTimeout: (timer) => timers.delete(timer),
        now: () => now,
        random: () => 1,
    };
    const listener = {
        since: () => (seen.stats > 0 ? seen.stats : undefined),
        onStats: () => (seen.stats += 1),
        onState: (state, { isKeyRefused }) => seen.states.push(isKeyRefused ? `${state} again` : state),
    };
    const settle = () => new Promise((resolve) => setImmediate(resolve));
    const tick = async (ms) => {
        for (const end = now + ms; ; ) {
            await settle();
            const due = [...timers].filter(([, { at }]) => at <= end).sort(([, one], [, other]) => one.at - other.at)[0];
            if (!due) return void (now = end);
            timers.delete(due[0]);
            now = due[1].at;
            due[1].run();
        }
    };
    return { poller: new Poller(listener, environment), seen, timers, tick, settle };
}

const good = { status: 200, json: async () => ({}) };
const refusal = (status) => ({ status, text: async () => "" });

test("the server is asked once a second, for what is new", async () => {
    const { poller: one, seen, tick } = await poller(async () => good);
    one.pause(false);
    await tick(2500);
    assert.deepEqual(seen.requests.map(({ url }) => url), ["/dashboard/stats", "/dashboard/stats?since=1", "/dashboard/stats?since=2"]);
    assert.deepEqual(seen.states, ["live"]);
});

test("an answer that does not come is given up, and no second request is made meanwhile", async () => {
    const hang = (_, signal) => new Promise((_, reject) => signal.addEventListener("abort", reject));
    const { poller: one, seen, tick } = await poller(hang);
    one.pause(false);
    await tick(4000);
    void one.ask();
    one.pause(false);
    await tick(20_000);
    assert.equal(seen.atOnceMax, 1);
    assert.deepEqual(seen.states, ["lost"]);
});

test("a server that is away is asked ever less often, and every second again once it is back", async () => {
    const { poller: one, seen, tick } = await poller(async (number) => {
        if (number > 1 && number <= 8) throw new TypeError("no connection");
        return good;
    });
    one.pause(false);
    await tick(60_000);
    const times = seen.requests.map(({ now }) => now);
    assert.deepEqual(times.slice(0, 10), [0, 1000, 2000, 4000, 8000, 16_000, 26_000, 36_000, 46_000, 47_000]);
    assert.deepEqual(seen.states, ["live", "lost", "live"]);
});

test("an answer that is no JSON, and one of a server that stops, count as none", async () => {
    const broken = { status: 200, json: async () => { throw new SyntaxError("no JSON"); } };
    const { poller: one, seen, tick } = await poller(async (number) => [broken, refusal(503), good][number - 1]);
    one.pause(false);
    await tick(3000);
    assert.deepEqual(seen.states, ["lost", "live"]);
});

test("nothing is asked while the page is hidden, and at once when it shows again", async () => {
    const { poller: one, seen, tick, timers } = await poller(async () => good);
    one.pause(false);
    await tick(1500);
    one.pause(true);
    await tick(60_000);
    assert.equal(seen.requests.length, 2);
    assert.equal(timers.size, 0);
    one.pause(false);
    await tick(0);
    assert.equal(seen.requests.length, 3);
});

test("a hidden page asks nothing after an answer that was under way", async () => {
    let release;
    const { poller: one, seen, tick, settle, timers } = await poller(() => new Promise((resolve) => (release = () => resolve(good))));
    one.pause(false);
    await settle();
    one.pause(true);
    release();
    await tick(60_000);
    assert.equal(seen.requests.length, 1);
    assert.equal(timers.size, 0);
});

test("a key is asked for once, sent with each request, and refused in words", async () => {
    const { poller: one, seen, tick, timers } = await poller(async () => (seen.requests.at(-1).key === "right" ? good : refusal(401)));
    one.pause(false);
    await tick(60_000);
    assert.equal(seen.requests.length, 1);
    assert.equal(timers.size, 0);
    one.unlock("wrong");
    await tick(10);
    one.unlock("\u{1f511} no header can carry this");
    one.unlock(" right\n");
    await tick(1500);
    assert.deepEqual(seen.states, ["locked", "locked again", "locked again", "live"]);
    assert.deepEqual(seen.requests.map(({ key }) => key), [undefined, "wrong", "right", "right"]);
});

test("a key without the right is refused as a wrong one is", async () => {
    const { poller: one, seen, tick } = await poller(async (number) => refusal(number === 1 ? 401 : 403));
    one.pause(false);
    await tick(0);
    one.unlock("of-somebody");
    await tick(0);
    assert.deepEqual(seen.states, ["locked", "locked again"]);
});

test("a key that is given while a request without it is under way is asked with, and is not refused for that answer", async () => {
    let release;
    const { poller: one, seen, tick, settle } = await poller((number) =>
        number > 1 ? Promise.resolve(good) : new Promise((resolve) => (release = () => resolve(refusal(401)))));
    one.pause(false);
    await settle();
    one.unlock("right");
    release();
    await tick(10);
    assert.deepEqual(seen.requests.map(({ key }) => key), [undefined, "right"]);
    assert.deepEqual(seen.states, ["live"]);
});

test("the body of a refusal is read, because Chromium reports a request with an unread body as aborted", async () => {
    let isRead = false;
    const { poller: one, tick } = await poller(async () => ({ status: 401, text: async () => ((isRead = true), "") }));
    one.pause(false);
    await tick(0);
    assert.ok(isRead);
});

test("a server without pages is asked now and then", async () => {
    const { poller: one, seen, tick } = await poller(async (number) => (number < 3 ? refusal(404) : good));
    one.pause(false);
    await tick(20_000);
    assert.deepEqual(seen.requests.map(({ now }) => now), [0, 10_000, 20_000]);
    assert.deepEqual(seen.states, ["off", "live"]);
});

test("charts read out the moment under the pointer, else the one that was set, else the newest", async () => {
    const { Cursor } = await load("cursor.js");
    const cursor = new Cursor();
    const seen = [];
    cursor.onChange(() => seen.push(cursor.moment));
    cursor.hover(5);
    cursor.pin(5);
    cursor.hover(undefined);
    cursor.hover(7);
    cursor.hover(undefined);
    cursor.pin(undefined);
    assert.deepEqual(seen, [5, 7, 5, undefined]);
});

test("the charts' words are own words: a hostile phrase of the server does not name an inherited property", async () => {
    const { levelWord, reasonName, transportName } = await load("words.js");
    for (const word of [levelWord, reasonName, transportName]) assert.equal(word("constructor"), "constructor");
    assert.equal(reasonName("slow-consumer"), "Slow consumer, cut");
});

test("every reason of the server has words", async () => {
    const { reasonName } = await load("words.js");
    const table = require("node:fs").readFileSync(path.join(folder, "..", "..", "protocol", "disconnect.rs"), "utf8");
    const [variants] = table.match(/pub enum Disconnect \{[\s\S]*?\n\}/);
    const names = [...variants.matchAll(/^ {4}([A-Z]\w+),$/gm)].map(([, name]) => name);
    const reasons = names.map((name) => name.replace(/(?<=.)[A-Z]/g, "-$&").toLowerCase());
    assert.ok(reasons.includes("closed-by-peer") && reasons.length > 15);
    for (const reason of reasons) assert.notEqual(reasonName(reason), reason);
});
