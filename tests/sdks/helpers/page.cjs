// A page of another host in a real browser, which Chromium shows without a window. Serves the SDK as its script tag has
// it, and drives the browser through the pipe of its developer tools. Needs no package.
"use strict";

const { spawn } = require("node:child_process");
const { once } = require("node:events");
const fs = require("node:fs");
const http = require("node:http");
const os = require("node:os");
const path = require("node:path");
const { findProgram } = require("./program.cjs");

// The browser's program, if there is one.
const findBrowser = () => findProgram("chromium", "chromium-browser", "google-chrome");

// A server of pages; `files` are their texts by path.
async function serve(files) {
    const server = http.createServer((request, response) => {
        const file = files[new URL(request.url, "http://page").pathname];
        response.writeHead(file === undefined ? 404 : 200, { "content-type": request.url.endsWith(".js") ? "text/javascript" : "text/html" });
        response.end(file);
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    return { origin: `http://127.0.0.1:${server.address().port}`, close: () => server.close() };
}

class Browser {
    // Starts the browser, with further flags.
    static start(program, further = []) {
        const browser = new Browser();
        browser.folder = fs.mkdtempSync(path.join(os.tmpdir(), "roomcast-browser-"));
        const flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-pipe"];
        const stdio = ["ignore", "ignore", "ignore", "pipe", "pipe"];
        browser.child = spawn(program, [...flags, `--user-data-dir=${browser.folder}`, ...further], { stdio });
        browser.ended = once(browser.child, "exit");
        const kill = () => browser.child.kill("SIGKILL");
        process.once("exit", kill);
        const [, , , commands, answers] = browser.child.stdio;
        browser.commands = commands;
        browser.waiting = new Map();
        let received = "";
        answers.setEncoding("utf8").on("data", (data) => {
            const messages = (received + data).split("\0");
            received = messages.pop();
            for (const { id, result, error } of messages.map((message) => JSON.parse(message))) {
                const { resolve, reject } = browser.waiting.get(id) ?? {};
                browser.waiting.delete(id);
                error ? reject?.(new Error(error.message)) : resolve?.(result);
            }
        });
        return browser;
    }

    call(method, params, sessionId) {
        this.calls = (this.calls ?? 0) + 1;
        const id = this.calls;
        return new Promise((resolve, reject) => {
            this.waiting.set(id, { resolve, reject });
            this.commands.write(`${JSON.stringify({ id, method, params, sessionId })}\0`);
        });
    }

    // Opens a page, and returns a function that evaluates an expression in it.
    async open(url) {
        const { targetId } = await this.call("Target.createTarget", { url: "about:blank" });
        const { sessionId } = await this.call("Target.attachToTarget", { targetId, flatten: true });
        const evaluate = async (expression) => {
            const params = { expression, awaitPromise: true, returnByValue: true };
            const { result, exceptionDetails } = await this.call("Runtime.evaluate", params, sessionId);
            if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
            return result.value;
        };
        const { errorText } = await this.call("Page.navigate", { url }, sessionId);
        if (errorText) throw new Error(`${url}: ${errorText}`);
        await evaluate("new Promise((resolve) => document.readyState === 'complete' ? resolve() : addEventListener('load', resolve))");
        return evaluate;
    }

    async stop() {
        // Killed, it would leave processes behind that still write to its folder.
        this.commands.write(`${JSON.stringify({ id: 0, method: "Browser.close" })}\0`);
        await this.ended;
        fs.rmSync(this.folder, { recursive: true, force: true, maxRetries: 10 });
    }
}

module.exports = { Browser, findBrowser, serve };
