// Handshakes as other SDKs and older ones send them, and what their streams begin with.
"use strict";

const assert = require("node:assert/strict");
const { before, after } = require("node:test");
const { EventSource } = require("eventsource");
const WebSocket = require("ws");
const { Server } = require("./helpers/server.cjs");
const { within } = require("./helpers/events.cjs");
const { sign } = require("./helpers/tokens.cjs");
const { connect, scenario, room } = require("./helpers/clients.cjs");

let server;
before(async () => (server = await Server.start()));
after(() => server.remove());

// What a WebSocket client hears first that says this when it is open.
async function firstAnswer(socket, said) {
    const answer = new Promise((resolve, reject) => {
        socket.on("error", reject);
        socket.on("message", (data, isBinary) => resolve([data, isBinary]));
    });
    socket.on("open", () => socket.send(said));
    const [data, isBinary] = await within(answer, "answer");
    socket.close();
    return { data, isBinary, subprotocol: socket.protocol };
}

const url = (query = "") => `ws://${server.http}/connection/websocket${query}`;
const CONNECT = '{"id":1,"connect":{}}';
// The same in Protobuf: its length, field 1 with 1, field 4 without content.
const CONNECT_BYTES = Buffer.from([4, 0x08, 1, 0x22, 0]);

scenario("a list of subprotocols that is empty, as an older SDK for Python sends it, is none", async () => {
    const socket = new WebSocket(url(), { headers: { "Sec-WebSocket-Protocol": "" } });
    const { data, isBinary, subprotocol } = await firstAnswer(socket, CONNECT);
    assert.equal(JSON.parse(data).id, 1);
    assert.deepEqual([isBinary, subprotocol], [false, ""]);
});

scenario("Protobuf is asked for by a subprotocol or by the query, as older SDKs for Dart do", async () => {
    const chosen = await firstAnswer(new WebSocket(url(), "centrifuge-protobuf"), CONNECT_BYTES);
    assert.deepEqual([chosen.isBinary, chosen.subprotocol], [true, "centrifuge-protobuf"]);
    for (const query of ["?format=protobuf", "?cf_protocol=protobuf"]) {
        const { isBinary, data } = await firstAnswer(new WebSocket(url(query)), CONNECT_BYTES);
        assert.deepEqual([isBinary, data[0]], [true, data.length - 1]);
    }
});

scenario("a client that only listens hears its rooms by an EventSource alone", async () => {
    const name = room("open");
    const request = encodeURIComponent(JSON.stringify({ token: sign({ sub: "ada", channels: [name] }) }));
    const source = new EventSource(`http://${server.http}/connection/uni_sse?cf_connect=${request}`);
    const heard = [];
    const publication = new Promise((resolve) => {
        source.onmessage = ({ data }) => {
            heard.push(JSON.parse(data));
            if (heard.at(-1).pub) resolve();
        };
    });
    const speaker = await connect(server.http);
    for (let joined = false; !joined; ) joined = (await speaker.presenceStats(name)).numClients === 1;
    await speaker.publish(name, { n: 1 });
    await within(publication, "publication");
    assert.deepEqual(Object.keys(heard[0]), ["connect"]);
    assert.deepEqual(Object.keys(heard[0].connect.subs), [name]);
    assert.deepEqual([heard.at(-1).channel, heard.at(-1).pub.data], [name, { n: 1 }]);
    source.close();
});
