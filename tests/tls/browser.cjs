// A real browser: opens /health over https, joins a room over wss from that page, and chats with whom it finds there. Prints
// what it has heard: `node tests/tls/browser.cjs PROGRAM ADDRESS KEY`, with the key of the server's certificate.
"use strict";

const assert = require("node:assert/strict");
const { Browser } = require("../sdks/helpers/page.cjs");

const WITHIN_MS = 600_000; // a failsafe

const [program, address, key] = process.argv.slice(2);

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
    // Trusts this key, and checks all else.
    const browser = Browser.start(program, [`--ignore-certificate-errors-spki-list=${key}`]);
    const evaluate = await browser.open(`https://${address}/health`);
    assert.equal(await evaluate("fetch('/health').then((answer) => answer.text())"), "OK");
    console.log((await evaluate(`(${chat})()`)).join("\n"));
    await browser.stop();
}

function fail(error) {
    console.error(error);
    process.exit(1);
}

setTimeout(() => fail(new Error("the browser takes too long")), WITHIN_MS).unref();
run().catch(fail);
