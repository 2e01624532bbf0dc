// Tests of pages, each with pages of its own.
"use strict";

const assert = require("node:assert/strict");
const test = require("node:test");
const { Visitor, stopBrowser, PROGRAM } = require("./browser.cjs");

const TIMEOUT_MS = 600_000; // a failsafe of each scenario: its waits have deadlines of their own

test.after(stopBrowser);

// A test of pages: `body` gets `visit(url, options)`, which opens a page, and `defer(function)`, called in the end. In the
// end no page may have found anything that the test did not expect.
function scenario(name, body) {
    test(name, { timeout: TIMEOUT_MS, skip: PROGRAM ? false : "there is no Chromium here" }, async () => {
        const visitors = [];
        const deferred = [];
        const visit = async (url, options) => {
            const visitor = await Visitor.open(url, options);
            visitors.push(visitor);
            return visitor;
        };
        const defer = (end) => deferred.unshift(end);
        const surprises = () => visitors.flatMap((visitor) => visitor.surprises);
        try {
            await body({ visit, defer });
            assert.deepEqual(surprises(), [], "no page has anything to complain of");
        } catch (error) {
            if (surprises().length > 0) error.message += `\nThe pages found: ${surprises().join("\n")}`;
            await Promise.all(visitors.map((visitor, at) => visitor.screenshot(`failed-${name.slice(0, 60).replace(/\W+/g, "-")}-${at}`).catch(() => {})));
            throw error;
        } finally {
            await Promise.allSettled(visitors.map((visitor) => visitor.close()));
            for (const end of deferred) await end();
        }
    });
}

module.exports = { scenario };
