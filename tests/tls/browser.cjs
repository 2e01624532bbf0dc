// A real browser: opens /health over https, joins a room over wss from that page, and chats with whom it finds there. Prints
// what it has heard. Drives Chromium through the pipe of its developer tools, and needs no package.
"use strict";

const assert = require("node:assert/strict");
const { spawn } = require("node:child_process");

const WITHIN_MS = 60_000; // a failsafe

const [browser, folder, address, key] = process.argv.slice(2);
const chromium = spawn(
    browser,
    [
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--remote-debugging-pipe",
        `--user-data-dir=${folder}`,
        // Trusts this key, and checks all else.
        `--ignore-certificate-errors-spki-list=${key}`,
    ],
    { stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"] },
);
const [, , , commands, answers] = chromium.stdio;
const waiting = new Map();
let calls = 0;
let received = "";

function end(code) {
    chromium.once("exit", () => process.exit(code));
    chromium.kill("SIGKILL");
}

function fail(error) {
    console.error(error);
    end(1);
}

answers.setEncoding("utf8").on("data", (data) => {
    const messages = (received + data).split("\0");
    received = messages.pop();
    for (const { id, result, error } of messages.map(JSON.parse)) {
        const { resolve, reject } = waiting.get(id) ?? {};
        waiting.delete(id);
        error ? reject?.(new Error(error.message)) : resolve?.(result);
    }
});

function call(method, params, sessionId) {
    const id = ++calls;
    return new Promise((resolve, reject) => {
        waiting.set(id, { resolve, reject });
        commands.write(`${JSON.stringify({ id, method, params, sessionId })}\0`);
    });
}

// Runs in the page.
function chat() {
    return new Promise((resolve, reject) => {
        const socket = new WebSocket(`wss://${location.host}/ws`);
        const heard = [];
        socket.onopen = () => ["NICK b", "JOIN browser", "hello"].forEach((line) => socket.send(line));
        socket.onmessage = ({ data }) => {
            heard.push(data);
            if (data === "[o] welcome") socket.close(4321, "done");
        };
        socket.onclose = ({ code }) => (code === 4321 ? resolve(heard) : reject(new Error(`closed with ${code}: ${heard}`)));
    });
}

async function run() {
    const { targetId } = await call("Target.createTarget", { url: "about:blank" });
    const { sessionId } = await call("Target.attachToTarget", { targetId, flatten: true });
    const evaluate = async (expression) => {
        const params = { expression, awaitPromise: true, returnByValue: true };
        const { result, exceptionDetails } = await call("Runtime.evaluate", params, sessionId);
        assert.equal(exceptionDetails, undefined, JSON.stringify(exceptionDetails));
        return result.value;
    };
    const { errorText } = await call("Page.navigate", { url: `https://${address}/health` }, sessionId);
    assert.equal(errorText, undefined);
    assert.equal(await evaluate("fetch('/health').then((answer) => answer.text())"), "OK");
    console.log((await evaluate(`(${chat})()`)).join("\n"));
}

setTimeout(() => fail(new Error("the browser takes too long")), WITHIN_MS);
chromium.once("error", fail);
run().then(() => end(0), fail);
