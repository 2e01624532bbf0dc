// A client that does not read as fast as its room speaks.
"use strict";

const assert = require("node:assert/strict");
const { randomBytes } = require("node:crypto");
const { Server } = require("./helpers/server.cjs");
const { Proxy } = require("./helpers/proxy.cjs");
const { next } = require("./helpers/events.cjs");
const { connect, subscribe, inEachDialect, room } = require("./helpers/clients.cjs");

// More than the sockets on the way hold, and less than a client may have missed (`outbox-bytes`).
const PUBLICATIONS = 150;
const PUBLICATION_BYTES = 30_000;

inEachDialect("a client that stops reading is cut, comes back, and has everything once and in order", async (dialect) => {
    const server = await Server.start({ "outbox-bytes": "16MiB", "slow-after": "1s" });
    const proxy = await Proxy.start(server.http);
    const ada = await connect(proxy.address, {}, dialect);
    const subscription = await subscribe(ada, room("open"));
    const speaker = await connect(server.http);
    // Random, so that it stays long when it is compressed.
    const fill = randomBytes(PUBLICATION_BYTES).toString("base64");
    proxy.stall();
    for (let n = 0; n < PUBLICATIONS; n++) await speaker.publish(subscription.channel, { n, fill });
    await server.logged("slow-consumer");
    const [connecting, subscribed] = [next(ada, "connecting"), next(subscription, "subscribed")];
    proxy.goOn();
    // The code arrives if the client reads again within the second for which the server lingers; 1 is that of a lost connection.
    assert.ok([3008, 1].includes((await connecting).code));
    const { wasRecovering, recovered } = await subscribed;
    assert.deepEqual([wasRecovering, recovered], [true, true]);
    await subscription.publications.count(PUBLICATIONS);
    const heard = subscription.publications.data.map(({ n }) => n);
    assert.deepEqual(heard, Array.from({ length: PUBLICATIONS }, (_, n) => n));
    proxy.stop();
    await server.remove();
});
