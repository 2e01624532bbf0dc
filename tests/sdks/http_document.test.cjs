// Runs the commands of docs/http.md and README.md as they stand there, but for the server's port, in one shell for each
// document, and compares the answers with those that are shown. Ids, positions and times differ from server to server:
// the same is shown for the same.
"use strict";

const assert = require("node:assert/strict");
const { spawn } = require("node:child_process");
const { EventEmitter } = require("node:events");
const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");
const test = require("node:test");
const { Server, PROGRAM } = require("./helpers/server.cjs");
const { findProgram } = require("./helpers/program.cjs");
const { Browser, findBrowser, serve } = require("./helpers/page.cjs");
const { within, Record, DEADLINE_MS } = require("./helpers/events.cjs");
const { connectAs, subscribe } = require("./helpers/clients.cjs");

const root = path.join(__dirname, "..", "..");

// What differs from server to server: how a document shows it, and how a server says it.
const SHOWN = [
    [/(?<![0-9a-z-])[0-9a-f]{16}(?![0-9a-z])/, "[0-9a-f]{16}"], // an id
    [/(?<![0-9a-z])1k[0-9a-z]{11}(?![0-9a-z])/, "[0-9a-z]{13}"], // an epoch
];
// What differs from answer to answer.
const SHOWN_ONCE = [
    [/\d{4}-\d\d-\d\dT[\d:.]+Z/, "\\d{4}-\\d\\d-\\d\\dT[\\d:.]+Z"],
    [/(?<="uptime":)\d+/, "\\d+"],
    [/(?<="version":")[\d.]+/, "[\\d.]+"],
    [/(?<="nodes":.*"name":")[\w-]+/, '[^"]+'],
];
const ANY = new RegExp([...SHOWN, ...SHOWN_ONCE].map(([shown]) => `(${shown.source})`).join("|"), "g");

const escaped = (text) => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");

// What this server says in place of what a document shows.
class Values {
    constructor() {
        this.known = new Map();
    }

    replace(text) {
        return [...this.known].reduce((replaced, [shown, value]) => replaced.replaceAll(shown, value), text);
    }

    // What is wrong with an answer, if it is not the one that is shown. Otherwise learns what the server says in it.
    differs(answer, { line, answer: shown }) {
        const learned = [];
        let pattern = "", end = 0;
        for (const match of shown.matchAll(ANY)) {
            const kind = match.slice(1).findIndex((group) => group !== undefined);
            const [, said] = [...SHOWN, ...SHOWN_ONCE][kind];
            pattern += `${escaped(shown.slice(end, match.index))}(${this.known.get(match[0]) ?? said})`;
            learned.push(kind < SHOWN.length ? match[0] : undefined);
            end = match.index + match[0].length;
        }
        const values = new RegExp(`^${pattern}${escaped(shown.slice(end))}$`).exec(answer);
        if (!values) return `${line}\n\nis answered\n\n${answer}\n\nand the document shows\n\n${shown}`;
        learned.forEach((name, index) => name && this.known.set(name, values[index + 1]));
        return undefined;
    }
}

// The commands of a document and the answers that it shows. A line that begins with two blanks continues the line
// before. Of the README those about the API and rooms over HTTP.
function commands(file) {
    const document = fs.readFileSync(path.join(root, file), "utf8");
    const blocks = [...document.matchAll(/^```console\n(.*?)^```$/gms)].map(([, block]) => block);
    const run = blocks.filter((block) => file !== "README.md" || /localhost:3000\/(api|rooms)/.test(block));
    return run.flatMap((block) => {
        const lines = block.replace(/\\\n +/g, "").replace(/\n {2}/g, "");
        return lines.split(/^\$ /m).slice(1).map((command) => {
            const [line, ...answer] = command.split("\n");
            return { line, answer: answer.join("\n").trimEnd() };
        });
    });
}

// A shell that is told one command after the other.
class Shell {
    constructor() {
        this.folder = fs.mkdtempSync(path.join(os.tmpdir(), "roomcast-document-"));
        fs.symlinkSync(PROGRAM, path.join(this.folder, "roomcast"));
        fs.writeFileSync(path.join(this.folder, ".curlrc"), "silent\nshow-error\n");
        const env = { PATH: `${this.folder}:${process.env.PATH}`, HOME: this.folder };
        this.child = spawn("bash", ["-c", "exec 2>&1; while IFS= read -r command; do eval \"$command\" </dev/null; printf '\\0'; done"], { cwd: this.folder, env });
        this.output = new EventEmitter();
        let said = "";
        this.child.stdout.setEncoding("utf8").on("data", (data) => {
            const answers = (said + data).split("\0");
            said = answers.pop();
            answers.forEach((answer) => this.output.emit("answer", answer));
        });
    }

    async run(command) {
        const answer = new Promise((resolve) => this.output.once("answer", resolve));
        this.child.stdin.write(`${command}\n`);
        return (await within(answer, `end of ${command}`)).trimEnd();
    }

    // Runs a command that goes on, in a shell of its own.
    start(command) {
        const child = spawn("bash", ["-c", `exec ${command}`], { cwd: this.folder, env: { PATH: process.env.PATH, HOME: this.folder } });
        const output = new Record(child.stdout.setEncoding("utf8"), "data");
        return { output, stop: () => child.kill("SIGKILL"), text: () => output.all.join("") };
    }

    remove() {
        this.child.kill("SIGKILL");
        fs.rmSync(this.folder, { recursive: true });
    }
}

// The settings that the flags of a command line give, each file in the folder of the shell.
function settingsOf(line, folder) {
    const flags = [...line.matchAll(/--([\w-]+) ([^\s&]+)/g)];
    return Object.fromEntries(flags.map(([, name, value]) => [name, name.endsWith("-file") ? path.join(folder, value) : value]));
}

const isList = (line) => /roomcast rooms|:\d+\/rooms$|api\/(channels|info)/.test(line);

// Runs the commands of a document, while ada is in the lobby, and eve is connected. Returns what the two have seen.
async function run(file) {
    const shell = new Shell();
    const values = new Values();
    const streams = [];
    let server;
    const seen = {};
    try {
        for (const command of commands(file)) {
            const line = values.replace(command.line).replaceAll("localhost:3000", server?.http ?? "");
            if (line.startsWith("roomcast --")) {
                server = await Server.start(settingsOf(line, shell.folder), "");
                await shell.run(`export ROOMCAST_HTTP=${server.http}`);
                for (const user of ["ada", "eve"]) {
                    const client = await connectAs(user, server.http);
                    seen[user] = new Record(client, "subscribed", "unsubscribed", "disconnected");
                    if (user === "ada") await subscribe(client, "lobby");
                }
            } else if (line.includes("live=sse")) {
                const stream = shell.start(line);
                streams.push({ stream, command });
                await stream.output.until(() => stream.text().includes("\n\n"), `first event of ${line}`);
            } else {
                const answers = async () => values.differs(await shell.run(line), command);
                let difference = await answers();
                // A list may be half a second old.
                for (const end = Date.now() + DEADLINE_MS; difference && isList(line) && Date.now() < end; ) difference = await answers();
                assert.ok(!difference, difference);
            }
        }
        for (const { stream, command } of streams) {
            const text = () => stream.text().trimEnd();
            await stream.output.until(() => !values.differs(text(), command), command.line).catch(() => {});
            assert.ok(!values.differs(text(), command), values.differs(text(), command));
        }
        return seen;
    } finally {
        streams.forEach(({ stream }) => stream.stop());
        shell.remove();
        await server?.remove();
    }
}

for (const file of ["docs/http.md", "README.md"]) {
    test(`the commands of ${file} are answered as it shows`, { skip: !findProgram("curl") }, async () => {
        const { ada, eve } = await run(file);
        if (file === "README.md") return;
        assert.deepEqual(ada.all.map(({ channel }) => channel), ["news", "news"]);
        assert.deepEqual(eve.all.map(({ code, reason }) => [code, reason]), [[4501, "banned"]]);
    });
}

test("the page of docs/http.md shows what is published", { skip: !findBrowser() }, async () => {
    const document = fs.readFileSync(path.join(root, "docs/http.md"), "utf8");
    const [, code] = /^```html\n(.*?)^```$/ms.exec(document);
    // The page needs an allowed origin, which is known once it is served.
    const files = {};
    const pages = await serve(files);
    const server = await Server.start({ "allowed-origins": [pages.origin] }, "");
    files["/"] = `<!doctype html>${code.replaceAll("localhost:3000", server.http)}`;
    const browser = Browser.start(findBrowser());
    try {
        const lobby = await subscribe(await connectAs("ada", server.http), "lobby");
        await lobby.publish({ text: "before" });
        const evaluate = await browser.open(`${pages.origin}/`);
        const shows = (text) => `new Promise((resolve) => { const look = () => document.body?.innerText.includes("${text}") ? resolve(document.body.innerText) : setTimeout(look, 10); look(); })`;
        await within(evaluate(shows("before")), "history on the page");
        await lobby.publish({ text: "live" });
        const shown = await within(evaluate(shows("live")), "message on the page");
        assert.equal(shown.trim(), 'ada: {"text":"before"} ada: {"text":"live"}');
    } finally {
        await browser.stop();
        pages.close();
        await server.remove();
    }
});
