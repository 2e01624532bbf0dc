// What a room remembers, page by page.
"use strict";

const assert = require("node:assert/strict");
const { before, after } = require("node:test");
const { Server } = require("./helpers/server.cjs");
const { rejection } = require("./helpers/events.cjs");
const { connect, inEachDialect, room } = require("./helpers/clients.cjs");

let server;
before(async () => (server = await Server.start()));
after(() => server.remove());

const numbers = (from, to) => {
    const step = from <= to ? 1 : -1;
    return Array.from({ length: Math.abs(to - from) + 1 }, (_, n) => from + n * step);
};
const offsets = ({ publications }) => publications.map(({ offset }) => Number(offset));

async function roomOf(client, prefix, count) {
    const name = room(prefix);
    for (let n = 1; n <= count; n++) await client.publish(name, { n });
    return name;
}

inEachDialect("history gives a position, the oldest, the newest, and what lies behind a position", async (dialect) => {
    const ada = await connect(server.http, {}, dialect);
    const name = await roomOf(ada, "open", 10);
    const nothing = await ada.history(name);
    assert.deepEqual([nothing.publications, Number(nothing.offset)], [[], 10]);
    assert.match(nothing.epoch, /./);
    const { epoch } = nothing;
    const all = await ada.history(name, { limit: -1 });
    assert.deepEqual(offsets(all), numbers(1, 10));
    assert.deepEqual(all.publications.map(({ data }) => data.n), numbers(1, 10));
    assert.deepEqual([Number(all.offset), all.epoch], [10, epoch]);
    assert.ok(all.publications.every(({ info }) => info.client === ada.id));
    const page = async (options) => offsets(await ada.history(name, options));
    assert.deepEqual(await page({ limit: 3 }), [1, 2, 3]);
    assert.deepEqual(await page({ limit: 3, reverse: true }), [10, 9, 8]);
    assert.deepEqual(await page({ limit: 3, since: { offset: 4, epoch } }), [5, 6, 7]);
    assert.deepEqual(await page({ limit: 3, since: { offset: 4, epoch }, reverse: true }), [3, 2, 1]);
    assert.deepEqual(await page({ limit: -1, since: { offset: 8, epoch: "" } }), [9, 10]);
    assert.deepEqual(await page({ limit: 3, since: { offset: 10, epoch } }), []);
    assert.deepEqual(await page({ limit: 3, since: { offset: 1, epoch }, reverse: true }), []);
});

inEachDialect("pages put together are everything, in either direction", async (dialect) => {
    const ada = await connect(server.http, {}, dialect);
    const name = await roomOf(ada, "open", 23);
    for (const reverse of [false, true]) {
        const seen = [];
        let since;
        for (;;) {
            const page = await ada.history(name, { limit: 5, reverse, since });
            if (page.publications.length === 0) break;
            seen.push(...offsets(page));
            since = { offset: page.publications.at(-1).offset, epoch: page.epoch };
        }
        assert.deepEqual(seen, reverse ? numbers(23, 1) : numbers(1, 23));
    }
});

inEachDialect("a history that was trimmed starts at the oldest that is retained", async (dialect) => {
    const ada = await connect(server.http, {}, dialect);
    const name = await roomOf(ada, "few", 25);
    const { epoch, offset } = await ada.history(name);
    assert.equal(Number(offset), 25);
    assert.deepEqual(offsets(await ada.history(name, { limit: -1 })), numbers(16, 25));
    assert.deepEqual(offsets(await ada.history(name, { limit: 2, since: { offset: 3, epoch } })), [16, 17]);
});

inEachDialect("what cannot be had of a history is refused with the code that says why", async (dialect) => {
    const ada = await connect(server.http, {}, dialect);
    const name = await roomOf(ada, "open", 3);
    const { epoch } = await ada.history(name);
    const refused = async (room, options) => (await rejection(ada.history(room, options))).code;
    assert.equal(await refused(name, { limit: 1, since: { offset: 1, epoch: `${epoch}x` } }), 112);
    assert.equal(await refused(name, { limit: 1, since: { offset: 0, epoch }, reverse: true }), 107);
    assert.equal(await refused(room("closed"), { limit: 1 }), 103);
    assert.equal(await refused(room("forgetful"), { limit: 1 }), 108);
});
