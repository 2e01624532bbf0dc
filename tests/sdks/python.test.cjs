// The official SDK for Python.
"use strict";

const assert = require("node:assert/strict");
const test = require("node:test");
const { Server } = require("./helpers/server.cjs");
const { Proxy } = require("./helpers/proxy.cjs");
const { run, script, NEEDS_PYTHON } = require("./helpers/program.cjs");
const { SECRET } = require("./helpers/tokens.cjs");

test("rooms as Python has them, in JSON and in Protobuf", NEEDS_PYTHON, async ({ signal }) => {
    const server = await Server.start();
    const proxy = await Proxy.start(server.http);
    try {
        const parameters = [script("core.py"), server.http, proxy.address, SECRET];
        const { code, said } = await run(process.env.PYTHON, parameters, { signal, onLine: () => proxy.cut() });
        assert.equal(code, 0, said);
    } finally {
        proxy.stop();
        await server.remove();
    }
});
