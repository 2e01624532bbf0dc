// Clients of the official SDK for JavaScript, in each dialect that it speaks.
"use strict";

const test = require("node:test");
const { Centrifuge: JsonClient } = require("centrifuge");
const { Centrifuge: ProtobufClient } = require("centrifuge/build/protobuf");
const { EventSource } = require("eventsource");
const WebSocket = require("ws");
const { next, plain, Record } = require("./events.cjs");
const { sign } = require("./tokens.cjs");

const TIMEOUT_MS = 600_000; // a failsafe of each scenario: its waits have deadlines of their own

const websocket = (address) => `ws://${address}/connection/websocket`;
const stream = (transport) => (address) => [{ transport, endpoint: `http://${address}/connection/${transport}` }];

const DIALECTS = [
    { name: "JSON over WebSocket", Client: JsonClient, endpoint: websocket },
    { name: "Protobuf over WebSocket", Client: ProtobufClient, endpoint: websocket, isBinary: true },
    { name: "JSON over http_stream", Client: JsonClient, endpoint: stream("http_stream"), isStream: true },
    { name: "Protobuf over http_stream", Client: ProtobufClient, endpoint: stream("http_stream"), isStream: true, isBinary: true },
    { name: "JSON over sse", Client: JsonClient, endpoint: stream("sse"), isStream: true },
];
const [JSON_WEBSOCKET] = DIALECTS;

// Delays short enough for tests.
const DELAYS = { minReconnectDelay: 10, maxReconnectDelay: 100 };
const SUBSCRIPTION = { minResubscribeDelay: 10, maxResubscribeDelay: 100 };

const open = new Set();

const toBytes = (value) => (value === undefined ? value : new TextEncoder().encode(JSON.stringify(value)));

// Has a client of Protobuf take and give JSON, as its application would have to.
function speakJson(client) {
    const { publish, rpc, send } = client;
    client.publish = (room, data) => publish.call(client, room, toBytes(data));
    client.rpc = (method, data) => rpc.call(client, method, toBytes(data));
    client.send = (data) => send.call(client, toBytes(data));
    for (const call of ["history", "presence", "presenceStats"]) {
        const original = client[call];
        client[call] = async (...parameters) => plain(await original.apply(client, parameters));
    }
}

// A client of the server at this address (`host:port`) that was not connected yet.
function client(address, options = {}, dialect = JSON_WEBSOCKET) {
    const created = new dialect.Client(dialect.endpoint(address), {
        ...DELAYS,
        websocket: WebSocket,
        eventsource: EventSource,
        emulationEndpoint: `http://${address}/emulation`,
        timeout: 120_000, // a failsafe, for which the SDK takes five seconds
        ...options,
    });
    if (dialect.isBinary) speakJson(created);
    created.newestError = null;
    created.on("error", (context) => (created.newestError = context));
    open.add(created);
    return created;
}

// A connected client.
async function connect(address, options = {}, dialect = JSON_WEBSOCKET) {
    const created = client(address, options, dialect);
    const connected = next(created, "connected");
    created.connect();
    const { client: id } = await connected.catch((error) => {
        throw new Error(`${error.message}: ${created.state}, ${JSON.stringify(created.newestError)}`);
    });
    created.id = id;
    return created;
}

// A connected client of this user.
function connectAs(user, address, options = {}, dialect = JSON_WEBSOCKET) {
    return connect(address, { token: sign({ sub: user }), ...options }, dialect);
}

// A subscription to a room; `publications` records what it hears, `context` is that of `subscribed`.
async function subscribe(connected, room, options = {}) {
    const subscription = connected.newSubscription(room, { ...SUBSCRIPTION, ...options });
    subscription.publications = new Record(subscription, "publication");
    const subscribed = next(subscription, "subscribed");
    subscription.subscribe();
    subscription.context = await subscribed;
    return subscription;
}

// A test of one scenario.
function scenario(name, body) {
    test(name, { timeout: TIMEOUT_MS }, body);
}

// A test for each dialect, all at once.
function inEachDialect(name, body) {
    const dialects = DIALECTS.filter((dialect) => dialect.name.includes(process.env.DIALECT ?? ""));
    test(name, { concurrency: true, timeout: TIMEOUT_MS }, (context) =>
        Promise.all(dialects.map((dialect) => context.test(`${name} (${dialect.name})`, () => body(dialect)))),
    );
}

// The tests of a file have rooms of their own each, so that their clients may stay until all are done.
test.after(() => open.forEach((client) => client.disconnect()));

let rooms = 0;

// The name of a room of this test alone, under the rule of this prefix.
const room = (prefix) => `${prefix}:${process.pid}-${++rooms}`;

module.exports = {
    client,
    connect,
    connectAs,
    subscribe,
    scenario,
    inEachDialect,
    room,
    DIALECTS,
    SUBSCRIPTION,
};
