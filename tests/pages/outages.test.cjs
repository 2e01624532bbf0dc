// The server or the connection goes away: pages say so, come back, and have lost nothing and doubled nothing.
"use strict";

const assert = require("node:assert/strict");
const { Server } = require("../sdks/helpers/server.cjs");
const { Proxy } = require("../sdks/helpers/proxy.cjs");
const { scenario } = require("./helpers/scenario.cjs");
const { DESKTOP, OUTAGE } = require("./helpers/browser.cjs");
const { Chat } = require("./helpers/chat.cjs");
const { lineClient } = require("./helpers/people.cjs");

const SETTINGS = { greeting: "", "token-secret-file": [] };

async function start(defer) {
    const server = await Server.start(SETTINGS, "");
    defer(() => server.remove());
    return server;
}

for (const signal of ["SIGTERM", "SIGKILL"]) {
    scenario(`the server restarts after ${signal}, and both pages come back without loss or double`, async ({ visit, defer }) => {
        const server = await start(defer);
        const room = "restarts";
        const ada = await Chat.open(visit, server.http, { room, nick: "ada", expected: OUTAGE });
        const bob = await Chat.open(visit, server.http, { room, nick: "bob", expected: OUTAGE });
        await ada.say("before");
        await bob.untilTexts(["before"]);
        await bob.say("also before");
        await ada.untilTexts(["before", "also before"]);
        await server.stop(signal);
        await ada.untilAway();
        await bob.untilAway();
        await ada.visitor.screenshot(`chat-desktop-away-${signal.toLowerCase()}`);
        await ada.visitor.assertAccessible("a page without its server");
        await server.run();
        await ada.retry();
        await bob.retry();
        await ada.untilConnected();
        await bob.untilConnected();
        await ada.say("after");
        await bob.untilTexts(["before", "also before", "after"]);
        await bob.say("also after");
        for (const page of [ada, bob]) await page.untilTexts(["before", "also before", "after", "also after"]);
        // Names are those from before.
        await ada.untilMembers((names) => names.length === 2 && ["ada", "bob"].every((nick) => names.some((name) => name.includes(nick))));
    });
}

scenario("pages come back to a server that restarts without being asked to", async ({ visit, defer }) => {
    const server = await start(defer);
    const ada = await Chat.open(visit, server.http, { room: "alone", nick: "ada", expected: OUTAGE });
    await server.stop("SIGKILL");
    await ada.untilAway();
    await server.run();
    await ada.untilConnected();
    await ada.say("back");
    await ada.untilTexts(["back"]);
});

scenario("a message that is said while the server is away is marked, and can be sent again", async ({ visit, defer }) => {
    const server = await start(defer);
    const room = "marked";
    const ada = await Chat.open(visit, server.http, { room, nick: "ada", expected: OUTAGE });
    await ada.say("before");
    await ada.untilTexts(["before"]);
    await server.stop("SIGKILL");
    await ada.untilAway();
    await ada.say("into the void");
    await ada.untilFailed(["into the void"]);
    await server.run();
    await ada.retry();
    await ada.untilConnected();
    await ada.sendAgain("into the void");
    await ada.untilTexts(["before", "into the void"]);
    await ada.untilFailed([]);
    const tom = await lineClient(server.tcp, "tom", room);
    defer(tom.close);
    tom.say("HISTORY");
    const lines = await tom.lines.until((all) => all.some((line) => line.startsWith("END HISTORY")), "the history");
    assert.equal(lines.filter((line) => line.endsWith("into the void")).length, 1, "it was published once");
});

// A page whose room has more messages than fit into the window, and a line client in the room.
async function fullRoom({ visit, defer }, viewport) {
    const server = await start(defer);
    const ada = await Chat.open(visit, server.http, { room: "full", nick: "ada", expected: OUTAGE, viewport });
    const tom = await lineClient(server.tcp, "tom", "full");
    defer(tom.close);
    for (let said = 0; said < 40; said += 1) tom.say(`before ${said}`);
    await ada.untilLast("before 39");
    return { server, ada };
}

// The server starts anew, the page is back, and somebody else says this.
async function comeBack({ server, ada, defer }, text) {
    await server.run();
    await ada.retry();
    await ada.untilConnected();
    await ada.untilGap();
    const tom = await lineClient(server.tcp, "tom", "full");
    defer(tom.close);
    return { say: () => tom.say(text) };
}

for (const [name, viewport] of [["phone", { width: 390, height: 844 }], ["desktop", DESKTOP]]) {
    scenario(`what was not sent is in view with all that one can do about it, and the page follows on: ${name}`, async ({ visit, defer }) => {
        const { server, ada } = await fullRoom({ visit, defer }, viewport);
        await server.stop("SIGKILL");
        await ada.untilAway();
        await ada.say("into the void");
        await ada.untilFailed(["into the void"]);
        await ada.assertAtEnd("#drafts .fate");
        await ada.visitor.screenshot(`chat-${name}-failed`);
        const tom = await comeBack({ server, ada, defer }, "after");
        tom.say();
        await ada.untilLast("after");
        await ada.assertAtEnd("#drafts .fate");
    });
}

scenario("a gap is no new message for a reader who has scrolled up", async ({ visit, defer }) => {
    const { server, ada } = await fullRoom({ visit, defer }, DESKTOP);
    await ada.scrollUp();
    await server.stop("SIGKILL");
    await ada.untilAway();
    const tom = await comeBack({ server, ada, defer }, "after");
    await ada.untilNewest("Newest messages");
    tom.say();
    await ada.untilNewest("1 new message");
});

scenario("a connection that is cut resumes with what was said meanwhile, again and again", async ({ visit, defer }) => {
    const server = await start(defer);
    const proxy = await Proxy.start(server.http);
    defer(() => proxy.stop());
    const room = "cut";
    const ada = await Chat.open(visit, proxy.address, { room, nick: "ada", expected: OUTAGE });
    const tom = await lineClient(server.tcp, "tom", room);
    defer(tom.close);
    const texts = [];
    const tell = (text) => {
        texts.push(text);
        tom.say(text);
    };
    tell("0 before");
    await ada.untilTexts(texts);
    for (let cut = 1; cut <= 4; cut += 1) {
        proxy.isDown = true;
        proxy.cut();
        await ada.untilAway();
        for (let said = 0; said < 10; said += 1) tell(`${cut} missed ${said}`);
        await tom.lines.until((all) => all.includes(`[tom] ${cut} missed 9`), "what the page misses");
        proxy.isDown = false;
        await ada.retry();
        tell(`${cut} after`);
        await ada.untilTexts(texts);
    }
    await ada.untilConnected();
});

scenario("a connection that is cut at any byte loses and doubles nothing", async ({ visit, defer }) => {
    const server = await start(defer);
    const proxy = await Proxy.start(server.http);
    defer(() => proxy.stop());
    const room = "bytes";
    const ada = await Chat.open(visit, proxy.address, { room, nick: "ada", expected: OUTAGE });
    const tom = await lineClient(server.tcp, "tom", room);
    defer(tom.close);
    const texts = [];
    for (const bytes of [1, 40, 150, 333, 700, 1_024]) {
        proxy.cutAfter(bytes);
        for (let said = 0; said < 12; said += 1) {
            texts.push(`${bytes} ${said}`);
            tom.say(texts.at(-1));
        }
        await ada.untilTexts(texts);
    }
});

scenario("what cannot be had any more is said to be missing", async ({ visit, defer }) => {
    const server = await Server.start({ ...SETTINGS, "history-messages": 5 }, "");
    defer(() => server.remove());
    const proxy = await Proxy.start(server.http);
    defer(() => proxy.stop());
    const room = "gap";
    const ada = await Chat.open(visit, proxy.address, { room, nick: "ada", expected: OUTAGE });
    const tom = await lineClient(server.tcp, "tom", room);
    defer(tom.close);
    tom.say("before");
    await ada.untilTexts(["before"]);
    proxy.isDown = true;
    proxy.cut();
    await ada.untilAway();
    for (let said = 0; said < 20; said += 1) tom.say(`missed ${said}`);
    await tom.lines.until((all) => all.includes("[tom] missed 19"), "what the page misses");
    proxy.isDown = false;
    await ada.retry();
    await ada.untilTexts(["before", ...[15, 16, 17, 18, 19].map((said) => `missed ${said}`)]);
    await ada.untilGap();
    await ada.visitor.screenshot("chat-desktop-gap");
});
