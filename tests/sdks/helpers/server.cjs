// The built server as a process, with settings of the test. Ends with the test's process at the latest.
"use strict";

const { execFileSync, spawn } = require("node:child_process");
const { randomInt } = require("node:crypto");
const { EventEmitter } = require("node:events");
const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");
const readline = require("node:readline");
const { SECRET } = require("./tokens.cjs");
const { within, Record } = require("./events.cjs");

const PROGRAM = process.env.ROOMCAST;

// Rules of most tests: rooms for everybody, for whom a token lets in, and for nobody.
const RULES = `
[[rule]]
rooms = "events:*"
join = "anyone"
presence-events = true

[[rule]]
rooms = "open:*"
join = "anyone"
publish = "anyone"

[[rule]]
rooms = "few:*"
join = "anyone"
publish = "anyone"
history-messages = 10

[[rule]]
rooms = "forgetful:*"
join = "anyone"
history-messages = 0

[[rule]]
rooms = "closed:*"
join = "nobody"

[[rule]]
rooms = "team:*"
join = "token"
publish = "anyone"

[[rule]]
rooms = "$*"
join = "token"

[[rule]]
rooms = "*"
join = "anyone"
`;

// Limits that the tests do not mean to reach, and no leeway that a test would have to wait for.
const SETTINGS = {
    "token-leeway": "0s",
    "token-grace": "60s",
    "history-messages": 1000,
    "recovery-messages": 1000,
    "outbox-messages": 4096,
    "log": "debug",
};

const processes = new Set();
process.once("exit", () => processes.forEach((child) => child.kill("SIGKILL")));
// Otherwise a signal would end this process without the event above.
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => process.exit(1));

// An address of the loopback network for one server alone: nobody else is given its ports while it is stopped. No proxy
// of the environment stands before it.
function ownLoopback() {
    const address = `127.${randomInt(1, 255)}.${randomInt(256)}.${randomInt(1, 255)}`;
    for (const name of ["no_proxy", "NO_PROXY"]) process.env[name] = [process.env[name], address].filter(Boolean).join(",");
    return address;
}

class Server {
    // Starts a server with these settings, on free ports if it names none. `keys` holds the flags of `roomcast gen-key`
    // by the names of API keys; `server.keys` then holds the keys.
    static async start(settings = {}, rules = RULES, keys = {}) {
        const server = new Server();
        server.folder = fs.mkdtempSync(path.join(os.tmpdir(), "roomcast-sdks-"));
        fs.writeFileSync(path.join(server.folder, "main.key"), SECRET, { mode: 0o600 });
        const all = { ...SETTINGS, "token-secret-file": [path.join(server.folder, "main.key")], ...server.useKeys(keys), ...settings };
        const lines = Object.entries(all).map(([name, value]) => `${name} = ${JSON.stringify(value)}`);
        fs.writeFileSync(path.join(server.folder, "roomcast.toml"), `${lines.join("\n")}\n${rules}`);
        server.http = server.tcp = `${ownLoopback()}:0`;
        await server.run();
        return server;
    }

    // Writes the file of API keys, and returns the setting that names it.
    useKeys(keys) {
        this.keys = {};
        const lines = Object.entries(keys).map(([name, flags]) => {
            const [, key, , line] = execFileSync(PROGRAM, ["gen-key", name, ...flags], { encoding: "utf8" }).split("\n");
            this.keys[name] = key;
            return `${line}\n`;
        });
        const file = path.join(this.folder, "keys.toml");
        if (lines.length > 0) fs.writeFileSync(file, lines.join(""));
        return lines.length > 0 ? { "api-keys-file": file } : {};
    }

    // Runs the server on its addresses, once more after a stop.
    async run() {
        const config = path.join(this.folder, "roomcast.toml");
        const ready = path.join(this.folder, "ready");
        const flags = ["--config", config, "--ready-file", ready, "--tcp", this.tcp, "--http", this.http];
        this.child = spawn(PROGRAM, flags, { stdio: ["ignore", "ignore", "pipe"], env: { PATH: process.env.PATH } });
        processes.add(this.child);
        this.ended = new Promise((resolve) => this.child.once("exit", resolve));
        const lines = new EventEmitter();
        this.log = new Record(lines, "line");
        const listening = new Promise((resolve, reject) => {
            readline.createInterface({ input: this.child.stderr }).on("line", (line) => {
                lines.emit("line", line);
                if (line.includes("listening for http")) resolve();
            });
            this.ended.then(() => reject(new Error(`the server did not start: ${this.log.all.join("\n")}`)));
        });
        await within(listening, "the server's start");
        for (const line of fs.readFileSync(ready, "utf8").trim().split("\n")) {
            const [port, address] = line.split(" ");
            this[port] = address;
        }
    }

    // Stops the server with this signal, and returns the code with which it has ended.
    async stop(signal = "SIGTERM") {
        this.child.kill(signal);
        const code = await within(this.ended, `the server's end after ${signal}`);
        processes.delete(this.child);
        return code;
    }

    // Waits until the log has had so many lines with this text.
    logged(text, count = 1) {
        const lines = (all) => all.filter((line) => line.includes(text));
        return this.log.until((all) => lines(all).length >= count, `line of the log with ${text}`);
    }

    // Ends the server and removes its files.
    async remove() {
        if (processes.has(this.child)) await this.stop("SIGKILL");
        fs.rmSync(this.folder, { recursive: true });
    }
}

module.exports = { Server, RULES, PROGRAM };
