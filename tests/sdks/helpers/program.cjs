// Programs that tests need, and those that they run to their end. PYTHON names an interpreter that has the packages of
// tests/sdks/run.
"use strict";

const { spawn } = require("node:child_process");
const { once } = require("node:events");
const fs = require("node:fs");
const path = require("node:path");
const readline = require("node:readline");

const WITHIN_MS = 600_000; // a failsafe: the programs have deadlines of their own
// The options of a test that runs such a program.
const NEEDS_PYTHON = { skip: !process.env.PYTHON, timeout: WITHIN_MS };

// The path of the first of these programs that is here.
function findProgram(...names) {
    const folders = (process.env.PATH ?? "").split(":");
    return names.flatMap((name) => folders.map((folder) => path.join(folder, name))).find((file) => fs.existsSync(file));
}

// Runs a program until it ends, at the latest with its test, which gives the signal, and with this process. Returns its
// code and what it has said; `onLine` is called for each line on its standard output.
async function run(program, parameters, { signal, onLine = () => {}, ...options }) {
    const stdio = ["ignore", "pipe", "pipe"];
    const child = spawn(program, parameters, { ...options, stdio, signal, killSignal: "SIGKILL" });
    const said = [];
    for (const output of [child.stdout, child.stderr]) output.on("data", (data) => said.push(data));
    readline.createInterface({ input: child.stdout }).on("line", onLine);
    const kill = () => child.kill("SIGKILL");
    process.once("exit", kill);
    const [code] = await once(child, "close");
    process.off("exit", kill);
    return { code, said: Buffer.concat(said).toString() };
}

// A script of tests/sdks/python.
const script = (name) => path.join(__dirname, "..", "python", name);

module.exports = { findProgram, run, script, NEEDS_PYTHON };
