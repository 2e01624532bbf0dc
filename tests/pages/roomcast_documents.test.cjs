// The chat in ten lines of README.md and docs/javascript.md, exactly as it stands there, as a file in a real browser; and the
// other lines of JavaScript in README.md, docs/javascript.md and docs/protocol.md, on a page of the server.
"use strict";

const assert = require("node:assert/strict");
const fs = require("node:fs");
const path = require("node:path");
const { pathToFileURL } = require("node:url");
const { test, before, after } = require("node:test");
const { Server, RULES } = require("../sdks/helpers/server.cjs");
const { findBrowser } = require("../sdks/helpers/page.cjs");
const { sign } = require("../sdks/helpers/tokens.cjs");
const { client, join, reaches } = require("./helpers/module.cjs");

const ROOT = path.resolve(__dirname, "../..");
const program = findBrowser();

let server, browser;
before(async () => {
    server = await Server.start({ "allowed-origins": ["*"] }, RULES, { backend: [] });
    const { chromium } = program ? require("playwright-core") : {};
    browser = await chromium?.launch({ executablePath: program, args: ["--no-sandbox"] });
});
after(async () => {
    await browser?.close();
    await server.remove();
});

const document = (name) => fs.readFileSync(path.join(ROOT, name), "utf8");
const chat = (name) => document(name).match(/```html\n(<!doctype html>[^`]*(?:`[^`]+`[^`]*)*?)```/)[1];

test("README.md and docs/javascript.md have the same chat of ten lines", () => {
    assert.equal(chat("README.md"), chat("docs/javascript.md"));
    assert.equal(chat("README.md").trim().split("\n").length, 10);
});

test("the ten lines are a chat when they are opened as a file", { skip: !program && "there is no Chromium here" }, async () => {
    const tom = await client(`ws://${server.http}/connection/websocket`);
    const room = join(tom, "lobby");
    await reaches(room, "joined");
    await room.say("in the history");
    const file = path.join(server.folder, "chat.html");
    fs.writeFileSync(file, chat("README.md").replace("localhost:3000", server.http));
    const page = await browser.newPage();
    const errors = [];
    page.on("pageerror", (error) => errors.push(String(error)));
    page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
    await page.goto(pathToFileURL(file).href);
    await page.getByText("in the history").waitFor();
    await page.keyboard.type("<b>hello</b> from a page");
    await page.keyboard.press("Enter");
    await room.messages.count(2);
    await room.say("hello from node");
    await page.getByText("hello from node").waitFor();
    await room.publish({ votes: 7 });
    const headers = { "X-API-Key": server.keys.backend };
    const body = JSON.stringify({ channel: "lobby", data: { text: "hello from a backend" } });
    assert.equal((await fetch(`http://${server.http}/api/publish`, { method: "POST", headers, body })).status, 200);
    await page.getByText("server: hello from a backend").waitFor();
    const lines = (await page.locator("pre").textContent()).trim().split("\n").map((line) => line.replace(/^\S+: /, ""));
    assert.deepEqual(lines, ["in the history", "<b>hello</b> from a page", "hello from node", '{"votes":7}', "hello from a backend"]);
    assert.equal(await page.locator("input").inputValue(), "");
    assert.deepEqual(errors, []);
});

// The line of a document that contains a text, for this server.
const line = (name, text) => document(name).split("\n").find((line) => line.includes(text)).replace("wss://chat.example", `ws://${server.http}`);

test("the lines of the documents run on a page of the server", { skip: !program && "there is no Chromium here" }, async () => {
    const page = await browser.newPage();
    const said = new Promise((resolve) => page.on("console", (message) => /hello from a browser/.test(message.text()) && resolve(message.text())));
    await page.goto(`http://${server.http}/`);
    const [socket] = document("README.md").match(/^const socket = new WebSocket[^`]*/m);
    await page.evaluate(socket.replace("localhost:3000", server.http));
    assert.match(await said, /^\[WS-\d+\] hello from a browser$/);
    const open = line("docs/protocol.md", "new WebSocket(").replace(/;$/, "");
    const protocol = await page.evaluate(`(async () => {
        const token = "${sign({ sub: "ada" })}", socket = ${open};
        await new Promise((resolve, reject) => { socket.onopen = resolve; socket.onerror = reject; });
        return socket.protocol;
    })()`);
    assert.equal(protocol, "roomcast");
    const state = await page.evaluate(`(async () => {
        const { Roomcast } = await import("/roomcast.js");
        const url = undefined, token = undefined, getToken = undefined, nick = "ada";
        ${line("docs/javascript.md", "new Roomcast({ url")}
        const connected = new Promise((resolve) => server.on("state", ({ state }) => state === "connected" && resolve(state)));
        server.connect();
        return connected;
    })()`);
    assert.equal(state, "connected");
});
