// Pages of the server in a real Chromium. Whatever a page complains of fails its test: errors and warnings of its console,
// uncaught errors, reports of the Content-Security-Policy, requests that fail and requests to another origin.
"use strict";

const assert = require("node:assert/strict");
const fs = require("node:fs");
const path = require("node:path");
const { findBrowser } = require("../../sdks/helpers/page.cjs");
const { DEADLINE_MS } = require("../../sdks/helpers/events.cjs");

const PROGRAM = findBrowser();
const FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"];

const PHONE = { width: 360, height: 740 };
const DESKTOP = { width: 1280, height: 800 };

// What a browser writes when the server is away or a connection is cut. A test that does so expects these.
const OUTAGE = [/WebSocket connection to .* failed/, /WebSocket is closed/, /ERR_CONNECTION_(REFUSED|RESET|CLOSED)/, /ERR_EMPTY_RESPONSE/];

let browser;

// The browser of this process, which starts with the first page.
async function startBrowser() {
    const { chromium } = require("playwright-core");
    browser ??= chromium.launch({ executablePath: PROGRAM, args: FLAGS, handleSIGINT: false, handleSIGTERM: false });
    return browser;
}

const stopBrowser = async () => (await browser)?.close();

// One person's page, in a profile of its own.
class Visitor {
    // Opens this address. Options: `viewport`, `colorScheme`, `reducedMotion`, and others of playwright's contexts;
    // `expected` is a list of expressions for findings that the test causes.
    static async open(url, { expected = [], viewport = DESKTOP, ...options } = {}) {
        const visitor = new Visitor();
        const { context: shared, ...rest } = options;
        visitor.origin = new URL(url).origin;
        visitor.expected = [...expected];
        visitor.findings = [];
        visitor.requests = [];
        visitor.ownsContext = !shared;
        visitor.context = shared ?? (await (await startBrowser()).newContext({ viewport, colorScheme: "light", locale: "en-GB", ...rest }));
        visitor.context.setDefaultTimeout(DEADLINE_MS);
        visitor.page = await visitor.context.newPage();
        await visitor.watch();
        await visitor.page.goto(url);
        return visitor;
    }

    async watch() {
        const { page } = this;
        await page.addInitScript(() => {
            document.addEventListener("securitypolicyviolation", (report) => {
                console.error(`CSP violation of ${report.violatedDirective} by ${report.blockedURI} ${report.sample}`);
            });
        });
        page.on("console", (message) => {
            if (["error", "warning"].includes(message.type())) this.find(`console ${message.type()}: ${message.text()} (${message.location().url})`);
        });
        page.on("pageerror", (error) => this.find(`uncaught: ${error.stack ?? error}`));
        page.on("requestfailed", (request) => this.find(`failed request: ${request.url()} ${request.failure()?.errorText}`));
        page.on("request", (request) => this.see(request.url()));
        page.on("websocket", (socket) => this.see(socket.url().replace(/^ws/, "http")));
        page.on("dialog", (dialog) => {
            this.find(`dialog: ${dialog.message()}`);
            dialog.dismiss();
        });
        page.on("popup", (popup) => this.find(`new window: ${popup.url()}`));
        page.on("crash", () => this.find("the page crashed"));
    }

    see(url) {
        this.requests.push(url);
        if (new URL(url).origin !== this.origin) this.find(`request to elsewhere: ${url}`);
    }

    find(finding) {
        this.findings.push(finding);
    }

    // From now on the test causes findings of these kinds.
    expect(...expressions) {
        this.expected.push(...expressions.flat());
    }

    get surprises() {
        return this.findings.filter((finding) => !this.expected.some((expression) => expression.test(finding)));
    }

    // Waits until the function is true in the page; `awaited` says what for.
    async until(awaited, condition, argument) {
        await this.page.waitForFunction(condition, argument).catch((error) => {
            throw new Error(`${awaited}: ${error.message}; findings: ${this.findings.join("; ")}`);
        });
    }

    // Reads again and again until the condition holds for what was read, and returns it.
    async poll(awaited, read, condition) {
        const deadline = Date.now() + DEADLINE_MS;
        for (;;) {
            const value = await read();
            if (condition(value)) return value;
            if (Date.now() > deadline) throw new Error(`no ${awaited} within ${DEADLINE_MS} ms, but ${JSON.stringify(value)?.slice(0, 2_000)}`);
            await this.page.evaluate(() => new Promise(requestAnimationFrame));
        }
    }

    async screenshot(name, options = {}) {
        const folder = process.env.SCREENSHOTS;
        if (!folder) return;
        fs.mkdirSync(folder, { recursive: true });
        await this.page.screenshot({ path: path.join(folder, `${name}.png`), animations: "disabled", ...options });
    }

    // Fails on serious and critical findings of axe-core about the page as it is.
    async assertAccessible(state) {
        const source = fs.readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
        const results = await this.evaluateUntrusted(`${source}\n; axe.run(document, { resultTypes: ["violations"] })`);
        const serious = results.violations.filter(({ impact }) => ["serious", "critical"].includes(impact));
        const texts = serious.map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.map(({ html, any, all }) => `${html} ${[...any, ...all].map(({ message }) => message)}`).join(" | ")}`);
        assert.deepEqual(texts, [], `${state} is accessible`);
    }

    // Evaluates a text by the developer tools, which the page's Content-Security-Policy does not hold for.
    async evaluateUntrusted(expression) {
        const tools = await this.context.newCDPSession(this.page);
        const call = { expression, awaitPromise: true, returnByValue: true, allowUnsafeEvalBlockedByCSP: true };
        const { result, exceptionDetails } = await tools.send("Runtime.evaluate", call);
        await tools.detach();
        if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
        return result.value;
    }

    // The page scrolls in no direction that it should not: its width is that of the window.
    async assertFits() {
        const [content, window] = await this.page.evaluate(() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]);
        assert.ok(content <= window, `the page is ${content} pixels wide in a window of ${window}`);
    }

    async close() {
        await (this.ownsContext ? this.context : this.page).close();
    }
}

module.exports = { Visitor, startBrowser, stopBrowser, PROGRAM, PHONE, DESKTOP, OUTAGE };
