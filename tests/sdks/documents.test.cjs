// The code of docs/sdks.md and README.md as it stands there, but for the server's port, and the address of the SDK on the page. The
// code in Dart is left out: no Dart can be installed here, so that it keeps to what the documentation of its SDK says.
"use strict";

const assert = require("node:assert/strict");
const { spawn } = require("node:child_process");
const fs = require("node:fs");
const path = require("node:path");
const test = require("node:test");
const { Server } = require("./helpers/server.cjs");
const { Browser, findBrowser, serve } = require("./helpers/page.cjs");
const { within, Record } = require("./helpers/events.cjs");
const { connect, subscribe, scenario } = require("./helpers/clients.cjs");

const root = path.join(__dirname, "..", "..");
const SDK = path.dirname(path.dirname(require.resolve("centrifuge")));

// The blocks of code in this language in a document that contain a text.
function blocks(file, language, text) {
    const document = fs.readFileSync(path.join(root, file), "utf8");
    const found = [...document.matchAll(/^```(\w+)\n(.*?)^```$/gms)].filter(([, of, code]) => of === language && code.includes(text));
    assert.ok(found.length > 0, `${file} has no ${language} with ${text}`);
    return found.map(([, , code]) => code.replaceAll("localhost:3000", server.http));
}

let server, lobby;
test.before(async () => {
    server = await Server.start({}, "");
    lobby = await subscribe(await connect(server.http), "lobby");
});
test.after(() => server.remove());

// Runs a program until the lobby has heard it, and the program has heard itself.
async function runs(program, flags, text) {
    const child = spawn(program, flags, { cwd: server.folder, stdio: ["ignore", "pipe", "pipe"] });
    let said = "";
    for (const output of [child.stdout, child.stderr]) output.on("data", (data) => (said += data));
    try {
        const heard = lobby.publications.until((all) => all.some(({ data }) => data.text === text), text);
        await heard.catch((error) => Promise.reject(new Error(`${error.message}: ${said}`)));
        const own = new Promise((resolve) => child.stdout.on("data", () => said.includes(text) && resolve()));
        if (!said.includes(text)) await within(own, `echo of ${text} to the program itself`);
    } finally {
        child.kill("SIGKILL");
    }
}

for (const [file, text] of [["docs/sdks.md", "hello from JavaScript"], ["README.md", "hello from an app"]]) {
    scenario(`the JavaScript of ${file} runs`, async () => {
        const [code] = blocks(file, "js", 'from "centrifuge"');
        const modules = path.join(server.folder, "node_modules");
        if (!fs.existsSync(modules)) fs.symlinkSync(path.dirname(SDK), modules);
        fs.writeFileSync(path.join(server.folder, "lobby.mjs"), code);
        const flags = typeof WebSocket === "undefined" ? ["--experimental-websocket"] : [];
        await runs(process.execPath, [...flags, "lobby.mjs"], text);
    });
}

test("the Python of docs/sdks.md runs", { skip: !process.env.PYTHON }, async () => {
    const [code] = blocks("docs/sdks.md", "python", "centrifuge");
    fs.writeFileSync(path.join(server.folder, "lobby.py"), code);
    await runs(process.env.PYTHON, ["lobby.py"], "hello from Python");
});

test("the page of docs/sdks.md runs", { skip: !findBrowser() }, async () => {
    const [code] = blocks("docs/sdks.md", "html", "Centrifuge(");
    const page = code.replace(/https:\/\/unpkg\.com\/centrifuge@[\d.]+\/dist/, "");
    assert.notEqual(page, code);
    const files = { "/": `<!doctype html>${page}`, "/centrifuge.js": fs.readFileSync(path.join(SDK, "dist", "centrifuge.js")) };
    // The page needs an allowed origin, which is known once it is served.
    const pages = await serve(files);
    const other = await Server.start({ "allowed-origins": [pages.origin] }, "");
    files["/"] = files["/"].replaceAll(server.http, other.http);
    const browser = Browser.start(findBrowser());
    try {
        const heard = new Record((await subscribe(await connect(other.http), "lobby")), "publication");
        const evaluate = await browser.open(`${pages.origin}/`);
        await heard.count(1);
        assert.deepEqual(heard.data, [{ text: "hello from a page" }]);
        const shown = "new Promise((resolve) => { const look = () => document.body.innerText.includes('hello') ? resolve(document.body.innerText) : setTimeout(look, 10); look(); })";
        assert.match(await within(evaluate(shown), "message on the page"), /\{"text":"hello from a page"\}/);
    } finally {
        await browser.stop();
        pages.close();
        await other.remove();
    }
});
