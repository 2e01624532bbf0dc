// The chat in ten lines of README.md and docs/javascript.md, exactly as it stands there, as a file in a real browser.
"use strict";

const assert = require("node:assert/strict");
const fs = require("node:fs");
const path = require("node:path");
const { pathToFileURL } = require("node:url");
const { test, before, after } = require("node:test");
const { Server } = require("../sdks/helpers/server.cjs");
const { findBrowser } = require("../sdks/helpers/page.cjs");
const { client, join, reaches } = require("./helpers/module.cjs");

const ROOT = path.resolve(__dirname, "../..");
const program = findBrowser();

let server, browser;
before(async () => {
    server = await Server.start({ "allowed-origins": ["*"] });
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
    const lines = (await page.locator("pre").textContent()).trim().split("\n").map((line) => line.replace(/^\S+: /, ""));
    assert.deepEqual(lines, ["in the history", "<b>hello</b> from a page", "hello from node"]);
    assert.equal(await page.locator("input").inputValue(), "");
    assert.deepEqual(errors, []);
});
