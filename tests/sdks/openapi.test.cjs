// schemathesis makes requests from the description of the server API, right and wrong ones, and compares the answers
// with the description.
"use strict";

const assert = require("node:assert/strict");
const path = require("node:path");
const test = require("node:test");
const { Server } = require("./helpers/server.cjs");
const { run, script, NEEDS_PYTHON } = require("./helpers/program.cjs");
const { connectAs, subscribe } = require("./helpers/clients.cjs");

const SEED = process.env.SEED ?? "1";
const EXAMPLES = "25"; // random requests of each method, beside those that reach each part of its description

// Both ways of telling errors are tested, each without one check. Where errors come with status 200, as libraries
// expect them, no status shows that wrong parameters were refused. Where they come as statuses, parameters that fit the
// description may be refused too: it cannot say which names a room may have. There the calls of a batch are left out,
// since each is refused in its own reply.
const MODES = [
    { name: "errors in answers", flags: ["--exclude-checks", "negative_data_rejection"] },
    {
        name: "errors as statuses",
        flags: ["--exclude-checks", "positive_data_acceptance", "--exclude-path", "/api/batch", "--header", "X-Centrifugo-Error-Mode: transport"],
    },
];

let server;
test.before(async () => {
    server = await Server.start({ log: "info" }, "", { backend: ["--may", "all"] });
    // The examples of the description name this room: its answers have members and publications then.
    const lobby = await subscribe(await connectAs("ada", server.http), "lobby");
    await lobby.publish({ text: "hello" });
});
test.after(() => server.remove());

for (const { name, flags } of MODES) {
    test(`answers are as the description says, with ${name}`, NEEDS_PYTHON, async ({ signal }) => {
        const program = path.join(path.dirname(process.env.PYTHON), "schemathesis");
        const all = ["run", `http://${server.http}/api/openapi.json`, "--header", `X-API-Key: ${server.keys.backend}`];
        all.push("--phases", "examples,coverage,fuzzing", "--max-examples", EXAMPLES, "--seed", SEED, "--no-shrink");
        all.push("--generation-database", "none", "--continue-on-failure", "--warnings", "off", "--no-color", ...flags);
        const env = { ...process.env, SCHEMATHESIS_HOOKS: "schemathesis_hooks", PYTHONPATH: script("") };
        const { code, said } = await run(program, all, { signal, env, cwd: server.folder });
        assert.equal(code, 0, said);
        assert.equal(server.child.exitCode, null, server.log.all.join("\n"));
    });
}
