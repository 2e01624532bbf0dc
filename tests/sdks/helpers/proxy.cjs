// A TCP proxy that cuts connections, and that stops reading from the server.
"use strict";

const net = require("node:net");
const { once } = require("node:events");

class Proxy {
    // Starts a proxy in front of this address (`host:port`).
    static async start(target) {
        const proxy = new Proxy();
        proxy.target = target;
        proxy.pairs = new Set();
        // Bytes from the server after which all connections are cut.
        proxy.bytesLeft = Infinity;
        // Whether new connections are closed at once.
        proxy.isDown = false;
        proxy.listener = net.createServer((front) => proxy.accept(front));
        proxy.listener.listen(0, "127.0.0.1");
        await once(proxy.listener, "listening");
        proxy.address = `127.0.0.1:${proxy.listener.address().port}`;
        return proxy;
    }

    accept(front) {
        if (this.isDown) {
            front.destroy();
            return;
        }
        const [host, port] = this.target.split(":");
        const back = net.connect(Number(port), host);
        const pair = { front, back };
        this.pairs.add(pair);
        for (const [socket, other] of [[front, back], [back, front]]) {
            socket.on("error", () => other.destroy());
            socket.on("close", () => {
                other.end();
                this.pairs.delete(pair);
            });
        }
        front.pipe(back);
        back.on("data", (data) => this.forward(pair, data));
        back.on("end", () => front.end());
    }

    forward({ front }, data) {
        if (data.length < this.bytesLeft) {
            this.bytesLeft -= data.length;
            front.write(data);
            return;
        }
        front.write(data.subarray(0, this.bytesLeft));
        this.bytesLeft = Infinity;
        this.cut();
    }

    // Cuts all connections.
    cut() {
        for (const { front, back } of this.pairs) {
            front.end();
            back.destroy();
        }
    }

    // Cuts all connections after so many more bytes from the server.
    cutAfter(bytes) {
        this.bytesLeft = bytes;
    }

    // Stops reading from the server, so that it finds a slow client.
    stall() {
        this.pairs.forEach(({ back }) => back.pause());
    }

    goOn() {
        this.pairs.forEach(({ back }) => back.resume());
    }

    stop() {
        this.cut();
        this.listener.close();
    }
}

module.exports = { Proxy };
