// Tokens as an application signs them.
"use strict";

const { createHmac } = require("node:crypto");
const { EventEmitter } = require("node:events");
const { Record } = require("./events.cjs");

const SECRET = "the secret of the tests, 32 bytes or more";

const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");

// A token with these claims.
function sign(claims, secret = SECRET) {
    const head = `${part({ alg: "HS256", typ: "JWT" })}.${part(claims)}`;
    return `${head}.${createHmac("sha256", secret).update(head).digest("base64url")}`;
}

// The time in so many seconds, as `exp` has it.
const inSeconds = (seconds) => Math.floor(Date.now() / 1000) + seconds;

// A `getToken` that answers with these values in turn, and with the last one from then on; `calls` records its calls. A value
// may be a function that makes it.
function tokenSource(...values) {
    const source = new EventEmitter();
    const calls = new Record(source, "call");
    const getToken = async () => {
        const value = values[Math.min(calls.all.length, values.length - 1)];
        source.emit("call", {});
        return typeof value === "function" ? value() : value;
    };
    return { getToken, calls };
}

// A `getToken` of a client or a subscription, whose state `stateOf` returns: it answers with what `first` makes until
// there is a connection or a subscription, with what `renewed` makes for the one that there is, and with what `again`
// makes for the next one. The number of a call does not tell: a token for a second may expire before the server has seen
// it, and then the SDK asks for another one. `calls` records what each call was for.
function tokensByState(stateOf, { first, renewed, again }) {
    const source = new EventEmitter();
    const calls = new Record(source, "call");
    const getToken = async () => {
        const isRenewal = ["connected", "subscribed"].includes(stateOf());
        const kind = isRenewal ? "renewed" : calls.all.includes("renewed") ? "again" : "first";
        source.emit("call", kind);
        return { first, renewed, again }[kind]();
    };
    const renewal = () => calls.until((all) => all.includes("renewed"), "renewal");
    return { getToken, calls, renewal };
}

module.exports = { SECRET, sign, inSeconds, tokenSource, tokensByState };
