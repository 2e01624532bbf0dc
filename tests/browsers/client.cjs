// A member through the ws of npm: says hello once everybody is there, prints what it hears, closes.
"use strict";

const assert = require("node:assert/strict");
const WebSocket = require("ws");

const WITHIN_MS = 120_000; // a failsafe

const [url, nick, ...everybody] = process.argv.slice(2);
const everybodyIsThere = `Members of browsers: [${everybody.map((name) => `"${name}"`).join(", ")}]`;
const socket = new WebSocket(url);
const heard = [];
let answered = 0;

const failsafe = setTimeout(() => assert.fail(`only heard ${heard}`), WITHIN_MS);

socket.on("open", () => {
    socket.send(`NICK ${nick}`);
    socket.send("JOIN browsers");
    socket.ping("beat");
});

socket.on("pong", (payload) => {
    assert.equal(payload.toString(), "beat");
    socket.send("WHO");
});

socket.on("message", (data, isBinary) => {
    assert.equal(isBinary, false);
    const text = data.toString();
    const greetings = [/^Welcome! /, new RegExp(`^You are ${nick}$`), /^Joined browsers$/];
    if (answered < greetings.length) {
        assert.match(text, greetings[answered]);
        answered += 1;
    } else if (text === everybodyIsThere) {
        socket.send("grüß dich 🦀");
    } else if (text.startsWith("Members of ")) {
        socket.send("WHO");
    } else {
        assert.ok(text.startsWith("["), text);
        heard.push(text);
        if (heard.length === everybody.length) {
            socket.close(4321, "done");
        }
    }
});

socket.on("close", (code) => {
    assert.equal(heard.length, everybody.length, `closed with ${code}, only heard ${heard}`);
    assert.equal(code, 4321);
    console.log(heard.join("\n"));
    clearTimeout(failsafe);
});
