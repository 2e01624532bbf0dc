// The official SDK for Python. PYTHON names an interpreter that has it.
"use strict";

const assert = require("node:assert/strict");
const { spawn } = require("node:child_process");
const path = require("node:path");
const readline = require("node:readline");
const test = require("node:test");
const { Server } = require("./helpers/server.cjs");
const { Proxy } = require("./helpers/proxy.cjs");
const { SECRET } = require("./helpers/tokens.cjs");

const WITHIN_MS = 60_000; // a failsafe

test("rooms as Python has them, in JSON and in Protobuf", { skip: !process.env.PYTHON, timeout: WITHIN_MS }, async () => {
    const server = await Server.start();
    const proxy = await Proxy.start(server.http);
    const script = path.join(__dirname, "python", "core.py");
    const stdio = ["ignore", "pipe", "pipe"];
    const child = spawn(process.env.PYTHON, [script, server.http, proxy.address, SECRET], { stdio });
    const said = [];
    readline.createInterface({ input: child.stdout }).on("line", () => proxy.cut());
    child.stderr.on("data", (data) => said.push(data));
    try {
        const code = await new Promise((resolve) => child.once("exit", resolve));
        assert.equal(code, 0, Buffer.concat(said).toString());
    } finally {
        child.kill("SIGKILL");
        proxy.stop();
        await server.remove();
    }
});
