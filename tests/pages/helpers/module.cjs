// Clients of the module that the server serves as /roomcast.js, in node.
"use strict";

const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");
const test = require("node:test");
const WebSocket = require("ws");
const { Record, within } = require("../../sdks/helpers/events.cjs");

// The files of the module with the paths that they have at the server.
const PAGES = path.resolve(__dirname, "../../../src/pages");
const SERVED = fs.mkdtempSync(path.join(os.tmpdir(), "roomcast-module-"));
const FILE = path.join(SERVED, "roomcast.js");
fs.cpSync(path.join(PAGES, "roomcast.js"), FILE);
fs.cpSync(path.join(PAGES, "roomcast"), path.join(SERVED, "pages", "roomcast"), { recursive: true });
fs.writeFileSync(path.join(SERVED, "package.json"), '{"type":"module"}');
process.once("exit", () => fs.rmSync(SERVED, { recursive: true }));

const ROOM_EVENTS = ["state", "message", "gap"];

const open = new Set();
test.after(() => open.forEach((client) => client.close()));

// A client that connects to this URL, and never waits in front of an attempt unless `isPatient`.
async function client(url, { isPatient = false, ...options } = {}) {
    const { Roomcast } = await import(FILE);
    const created = new Roomcast({ url, WebSocket, ...options });
    created.states = new Record(created, "state");
    if (!isPatient) created.on("state", ({ state }) => state === "waiting" && setImmediate(() => created.retry()));
    created.connect();
    open.add(created);
    return created;
}

// A room with a record of its messages.
function join(client, name, options) {
    const room = client.join(name, options);
    room.messages = new Record(room, "message");
    room.states = new Record(room, "state");
    room.story = [];
    for (const event of ROOM_EVENTS) {
        room.on(event, ({ state, text, offset }) => room.story.push(state ?? (event === "gap" ? "gap" : text ?? offset)));
    }
    return room;
}

// Waits until a client or a room is in this state, and gives the event that has said so.
async function reaches(subject, state) {
    const all = await subject.states.until((all) => subject.state === state && all.at(-1)?.state === state, `state ${state}`);
    return all.at(-1);
}

// The event with which a client or a room comes into this state from now on.
function next(subject, state) {
    let stop;
    const event = new Promise((resolve) => (stop = subject.on("state", (event) => event.state === state && resolve(event))));
    return within(event, `state ${state}`).finally(stop);
}

module.exports = { client, join, reaches, next, FILE };
