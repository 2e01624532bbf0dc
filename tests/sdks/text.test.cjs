// Clients of the text protocol and of the SDK in one room.
"use strict";

const assert = require("node:assert/strict");
const net = require("node:net");
const readline = require("node:readline");
const { EventEmitter, once } = require("node:events");
const { before, after } = require("node:test");
const { Server } = require("./helpers/server.cjs");
const { Record } = require("./helpers/events.cjs");
const { sign } = require("./helpers/tokens.cjs");
const { connect, subscribe, inEachDialect, room } = require("./helpers/clients.cjs");

let server;
before(async () => (server = await Server.start({ greeting: "" })));
after(() => server.remove());

// A line client, such as `nc`. Says lines, and records those that it hears.
async function lineClient() {
    const [host, port] = server.tcp.split(":");
    const socket = net.connect(Number(port), host);
    await once(socket, "connect");
    const heard = new EventEmitter();
    const lines = new Record(heard, "line");
    readline.createInterface({ input: socket }).on("line", (data) => heard.emit("line", { data }));
    return { say: (line) => socket.write(`${line}\n`), lines, close: () => socket.destroy() };
}

inEachDialect("a line client and an SDK hear each other", async (dialect) => {
    const name = room("chat");
    const token = sign({ sub: "ada", name: "Ada" });
    const ada = await subscribe(await connect(server.http, { token }, dialect), name);
    const guest = await subscribe(await connect(server.http, {}, dialect), name);
    const line = await lineClient();
    line.say("NICK tom");
    line.say(`JOIN ${name}`);
    await line.lines.count(2);
    line.say("hello");
    await ada.publications.count(1);
    for (const data of [{ text: "hi", more: 1 }, "just text", { a: [1, "x"] }, 7, null, { text: "two\nlines" }]) {
        await ada.publish(data);
    }
    await guest.publish({ text: "from nobody" });
    await line.lines.count(11);
    await ada.publications.count(8);
    assert.deepEqual(ada.publications.data[0], { text: "hello" });
    const { info, offset } = ada.publications.all[0];
    assert.deepEqual([info.connInfo, info.user, Number(offset)], [{ name: "~tom" }, "", 1]);
    assert.deepEqual(line.lines.data.slice(1, 10), [
        `Joined ${name}`,
        "[~tom] hello",
        "[Ada] hi",
        "[Ada] just text",
        '[Ada] {"a":[1,"x"]}',
        "[Ada] 7",
        "[Ada] null",
        "[Ada] two",
        "[Ada] lines",
    ]);
    assert.match(line.lines.data[10], /^\[client-\d+\] from nobody$/);
    const { clients } = await ada.presence();
    assert.deepEqual(Object.values(clients).map(({ connInfo }) => connInfo?.name ?? null).filter(Boolean).sort(), ["Ada", "~tom"]);
    line.close();
});
