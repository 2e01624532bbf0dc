// The commands of docs/http.md and README.md as they stand there, in one shell for each document, and the answers that are shown,
// but for the server's port. Ids, positions and times are others each time: whatever the server says in place of the first
// one that is shown must stand in all further places of it.
"use strict";

const assert = require("node:assert/strict");
const { spawn } = require("node:child_process");
const { EventEmitter } = require("node:events");
const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");
const test = require("node:test");
const { Server, PROGRAM } = require("./helpers/server.cjs");
const { Browser, findBrowser, serve } = require("./helpers/page.cjs");
const { within, Record } = require("./helpers/events.cjs");
const { connectAs, subscribe } = require("./helpers/clients.cjs");

const root = path.join(__dirname, "..", "..");

// What differs from server to server, and what it looks like. A value that was seen once is known from then on.
const DIFFERENT = [
    [/\d{4}-\d\d-\d\dT[\d:.]+Z/, "\\d{4}-\\d\\d-\\d\\dT[\\d:.]+Z", "another time each time"],
    [/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/, "[0-9a-f-]{36}"],
    [/\b1k[0-9a-z]{11}(?![0-9a-z])/, "[0-9a-z]{13}"],
    [/rck_[\w-]+/, "rck_[\\w-]+"],
    [/(?<="(?:uid|sha256)":")[0-9a-f]+/, "[0-9a-f]+"],
    [/(?<="uptime":)\d+/, "\\d+", "another time each time"],
    [/(?<="version":")[\d.]+/, "[\\d.]+"],
    [/chat-1/, '[^"]+'],
    [/…/, "[^\\n]*", "anything"],
];
const ANY = new RegExp(DIFFERENT.map(([shown]) => `(${shown.source})`).join("|"), "g");

class Values {
    constructor() {
        this.known = new Map();
    }

    // The text with the values that are known in place of those that are shown.
    replace(text) {
        return [...this.known].reduce((replaced, [shown, value]) => replaced.replaceAll(shown, value), text);
    }

    // Compares an answer with the one that is shown, and learns the values of this server.
    compare(answer, shown, command) {
        const names = [];
        let pattern = "", end = 0;
        for (const match of shown.matchAll(ANY)) {
            const [, found, isNew] = DIFFERENT[match.slice(1).findIndex((group) => group !== undefined)];
            pattern += RegExp.escape?.(shown.slice(end, match.index)) ?? shown.slice(end, match.index).replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
            pattern += `(${this.known.get(match[0]) ?? found})`;
            names.push(isNew ? undefined : match[0]);
            end = match.index + match[0].length;
        }
        pattern += shown.slice(end).replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
        const values = new RegExp(`^${pattern}$`).exec(answer);
        assert.ok(values, `${command}\n is answered\n${answer}\n and the document shows\n${shown}`);
        names.forEach((name, index) => name && this.known.set(name, values[index + 1]));
    }
}

// The commands of a document and the answers that it shows. A line with two blanks in front goes on with the one before.
function commands(file) {
    const document = fs.readFileSync(path.join(root, file), "utf8");
    return [...document.matchAll(/^```console\n(.*?)^```$/gms)].flatMap(([, block]) => {
        const lines = block.replace(/\\\n +/g, "").replace(/\n {2}/g, "");
        return lines.split(/^\$ /m).slice(1).map((command) => {
            const [line, ...answer] = command.split("\n");
            return { line: line.replace(/ +# .*/, ""), answer: answer.join("\n").trimEnd() };
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

const isStream = (line) => line.includes("live=sse");
// A list may be half a second old.
const isList = (line) => /roomcast rooms|api\/(channels|info)/.test(line);

// Runs the commands of a document, while an app of the user ada is in the lobby. Returns what it has seen.
async function run(file) {
    const shell = new Shell();
    const values = new Values();
    const streams = [];
    let server, seen;
    const check = (answer, { line, answer: shown }) => {
        if (process.env.SHOW) return console.log(`$ ${line}\n${answer}`);
        return values.compare(answer, shown, line);
    };
    try {
        for (const command of commands(file)) {
            const line = values.replace(command.line).replaceAll("localhost:3000", server?.http ?? "");
            if (line.startsWith("roomcast --")) {
                server = await Server.start(settingsOf(line, shell.folder), "");
                await shell.run(`export ROOMCAST_HTTP=${server.http}`);
                const ada = await connectAs("ada", server.http);
                seen = new Record(ada, "subscribed", "unsubscribed", "publication", "disconnected");
                await subscribe(ada, "lobby");
            } else if (isStream(line)) {
                const stream = shell.start(line);
                streams.push({ stream, command });
                await stream.output.until(() => stream.text().includes("\n\n"), `first event of ${line}`);
            } else {
                let answer = await shell.run(line);
                while (isList(line) && !process.env.SHOW && answer.length !== values.replace(command.answer).length) answer = await shell.run(line);
                check(answer, command);
            }
        }
        for (const { stream, command } of streams) {
            const events = (text) => text.split("\n\n").length;
            await stream.output.until(() => events(stream.text().trimEnd()) >= events(command.answer), `events of ${command.line}`).catch((error) => process.env.SHOW || Promise.reject(error));
            check(stream.text().trimEnd(), command);
        }
        return seen;
    } finally {
        streams.forEach(({ stream }) => stream.stop());
        shell.remove();
        await server?.remove();
    }
}

test("the commands of docs/http.md are answered as it shows", async () => {
    const seen = await run("docs/http.md");
    const said = JSON.stringify(seen.all);
    assert.ok(said.includes('"channel":"news"') && said.includes("banned"), said);
});
