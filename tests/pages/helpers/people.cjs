// Those who talk with the pages: line clients, as nc is one, and the official SDK for JavaScript.
"use strict";

const net = require("node:net");
const readline = require("node:readline");
const { EventEmitter, once } = require("node:events");
const { Centrifuge } = require("centrifuge");
const WebSocket = require("ws");
const { next, Record } = require("../../sdks/helpers/events.cjs");

// A line client that is in the room under this nick. Says lines, and records those that it hears.
async function lineClient(address, nick, room) {
    const [host, port] = address.split(":");
    const socket = net.connect(Number(port), host);
    await once(socket, "connect");
    socket.on("error", () => {});
    const heard = new EventEmitter();
    const lines = new Record(heard, "line");
    readline.createInterface({ input: socket }).on("line", (line) => heard.emit("line", line));
    const say = (line) => socket.write(`${line}\n`);
    say(`NICK ${nick}`);
    say(`JOIN ${room}`);
    await lines.until((all) => all.some((line) => line.startsWith("Joined ")), `entry of ${nick}`);
    return { say, lines, close: () => socket.destroy() };
}

// A client of the SDK that is in the room; `publications` records what it hears.
async function sdkClient(address, room, options = {}) {
    const client = new Centrifuge(`ws://${address}/connection/websocket`, { websocket: WebSocket, minReconnectDelay: 10, maxReconnectDelay: 100, ...options });
    const subscription = client.newSubscription(room);
    const publications = new Record(subscription, "publication");
    const subscribed = next(subscription, "subscribed");
    subscription.subscribe();
    client.connect();
    await subscribed;
    return { client, publications, publish: (data) => subscription.publish(data), close: () => client.disconnect() };
}

module.exports = { lineClient, sdkClient };
