// A server of the Centrifuge protocol that says what a test has it say, and nothing else.
"use strict";

const { EventEmitter, once } = require("node:events");
const { WebSocketServer } = require("ws");
const { within } = require("../../sdks/helpers/events.cjs");

class FakeConnection {
    constructor(socket) {
        this.socket = socket;
        this.frames = [];
        this.commands = [];
        this.arrivals = new EventEmitter();
        this.ended = once(socket, "close");
        socket.on("message", (data) => {
            const frame = data.toString().split("\n").map((line) => JSON.parse(line));
            this.frames.push(frame);
            this.commands.push(...frame);
            this.arrivals.emit("frame");
        });
    }

    // The next command of this method (and room) that was not taken yet; `pong` is one too.
    async take(method, channel) {
        const isWanted = (command) =>
            method === "pong" ? Object.keys(command).length === 0 : command[method] && (!channel || command[method].channel === channel);
        const search = async () => {
            for (;;) {
                const place = this.commands.findIndex(isWanted);
                if (place >= 0) return this.commands.splice(place, 1)[0];
                await once(this.arrivals, "frame");
            }
        };
        return within(search(), `command ${method} ${channel ?? ""}; left are ${JSON.stringify(this.commands)}`);
    }

    // Sends all of these in one frame.
    send(...replies) {
        this.socket.send(replies.map((reply) => JSON.stringify(reply)).join("\n"));
    }

    // Answers a connect.
    async welcome(result = {}) {
        const command = await this.take("connect");
        this.send({ id: command.id, connect: { client: "0123456789abcdef", ...result } });
        return command;
    }

    // Answers a subscribe.
    async admit(channel, result = {}) {
        const command = await this.take("subscribe", channel);
        this.send({ id: command.id, subscribe: result });
        return command.subscribe;
    }

    async fail(method, code, temporary) {
        const { id } = await this.take(method);
        this.send({ id, error: { code, message: `error ${code}`, temporary } });
    }
}

class FakeServer {
    static async start() {
        const fake = new FakeServer();
        fake.server = new WebSocketServer({ port: 0, host: "127.0.0.1" });
        await once(fake.server, "listening");
        fake.url = `ws://127.0.0.1:${fake.server.address().port}/connection/websocket`;
        fake.waiting = [];
        fake.arrivals = new EventEmitter();
        fake.server.on("connection", (socket) => {
            fake.waiting.push(new FakeConnection(socket));
            fake.arrivals.emit("connection");
        });
        return fake;
    }

    // The next connection.
    async accept() {
        if (this.waiting.length === 0) await within(once(this.arrivals, "connection"), "connection");
        return this.waiting.shift();
    }

    stop() {
        this.server.clients.forEach((socket) => socket.terminate());
        this.server.close();
    }
}

// A publication of the fake server.
const publication = (offset, data = `message ${offset}`) => ({ offset, data });
const published = (channel, ...rest) => ({ push: { channel, pub: publication(...rest) } });

module.exports = { FakeServer, publication, published };
