// What hostile clients say stands on the page as typed, and does nothing there.
"use strict";

const assert = require("node:assert/strict");
const { before, after } = require("node:test");
const { Server } = require("../sdks/helpers/server.cjs");
const { scenario } = require("./helpers/scenario.cjs");
const { PHONE } = require("./helpers/browser.cjs");
const { Chat } = require("./helpers/chat.cjs");
const { lineClient, sdkClient } = require("./helpers/people.cjs");

let server;
before(async () => (server = await Server.start({ greeting: "", "token-secret-file": [] }, "")));
after(() => server.remove());

const TEXTS = [
    "<img src=x onerror=\"document.title='owned'\">",
    "<script>document.title='owned'</script>",
    "</title></style></script><svg onload=document.title='owned'>",
    "<a href=\"javascript:document.title='owned'\">click</a> javascript:document.title='owned'",
    "&lt;b&gt; &amp; &#60;i&#62; {{7*7}} ${document.title='owned'} %3Cb%3E",
    "data:text/html,<script>document.title='owned'</script>",
    "\u202Etxt.exe then\u202C and \u2066isolated\u2069 \u200Fmark",
    "\u0000\u0007\u001B[31mred\u001B[0m \u00AD\u200B\u2028\u2029\uFEFF end",
    "a\u0301".repeat(30) + " Z\u0335\u0321\u0321\u0354".repeat(10),
    '{"text":"<b>nested</b>"}',
    "__proto__",
    "constructor",
];
const DATA = [{ a: "<b>json</b>" }, { text: ["<b>list</b>"] }, { text: { toString: "x" } }, [1, "<i>", null], 7, true, null, { __proto__: null, constructor: 1 }];

const owned = (chat) => chat.visitor.page.evaluate(() => document.title.includes("owned"));

// Elements that no message may make.
const made = (chat) => chat.visitor.page.evaluate(() => document.querySelectorAll("b, i, iframe, object, embed, img[src=x], script:not([src]), [onerror], [onload]").length);

scenario("hostile messages stand there as typed", async ({ visit, defer }) => {
    const room = "hostile";
    const ada = await Chat.open(visit, server.http, { room, nick: "ada" });
    const before = await made(ada);
    const mallory = await sdkClient(server.http, room);
    defer(mallory.close);
    for (const text of TEXTS) await mallory.publish({ text });
    for (const data of DATA) await mallory.publish(data);
    await mallory.publish({ text: "x".repeat(60_000) });
    await mallory.publish({ text: "W\u202E".repeat(5_000) });
    await mallory.publish({ text: "the end" });
    const count = TEXTS.length + DATA.length + 3;
    await ada.untilCount(count);
    const shown = (await ada.messages()).map(({ text }) => text);
    // Line separators may be shown as line ends.
    const plain = (text) => text.replace(/\s+/g, " ").trim();
    assert.deepEqual(shown.slice(0, TEXTS.length).map(plain), TEXTS.map(plain));
    assert.ok(shown[TEXTS.length].includes("<b>json</b>"), "JSON is shown as JSON");
    assert.equal(shown.at(-1), "the end");
    assert.deepEqual([await owned(ada), await made(ada)], [false, before]);
    await ada.visitor.assertFits();
    await ada.visitor.assertAccessible("a room with hostile messages");
    await ada.visitor.screenshot("chat-desktop-hostile");
    const phone = await Chat.open(visit, server.http, { room, nick: "bob", viewport: PHONE });
    await phone.untilTexts(shown);
    await phone.visitor.assertFits();
    assert.deepEqual([await owned(phone), await made(phone)], [false, before]);
});

scenario("links in messages lead to the web only, in a window of their own that does not know this one", async ({ visit, defer }) => {
    const room = "linked";
    const ada = await Chat.open(visit, server.http, { room, nick: "ada" });
    const mallory = await sdkClient(server.http, room);
    defer(mallory.close);
    await mallory.publish({ text: "see https://example.org/a?b=c&d=%22e%22 and http://127.0.0.1:9/ and (https://example.net/x)." });
    await mallory.publish({ text: "javascript:alert(1) JAVASCRIPT:alert(1) data:text/html,x file:///etc/passwd vbscript:x blob:x https://\u202Eevil" });
    await ada.untilCount(2);
    const links = await ada.links();
    for (const { href, rel, target } of links) {
        assert.match(href, /^https?:\/\//);
        assert.match(rel, /noopener/);
        assert.match(rel, /noreferrer/);
        assert.equal(target, "_blank");
    }
    assert.ok(links.some(({ href }) => href === "https://example.org/a?b=c&d=%22e%22"), JSON.stringify(links));
    assert.ok(links.some(({ href }) => href === "https://example.net/x"), JSON.stringify(links));
});

scenario("hostile nicks stand there as typed", async ({ visit, defer }) => {
    const room = "nicks";
    const nick = "<img/src=x/onerror=alert(1)>";
    const mallory = await lineClient(server.tcp, nick, room);
    defer(mallory.close);
    const ada = await Chat.open(visit, server.http, { room, nick: "ada" });
    const before = await made(ada);
    mallory.say("hello");
    await ada.untilTexts(["hello"]);
    const you = mallory.lines.all.find((line) => line.startsWith("You are "));
    assert.ok(you, `the server says the nick: ${mallory.lines.all}`);
    const [{ name }] = await ada.messages();
    assert.equal(name, you.slice("You are ".length));
    await ada.untilMembers((names) => names.length === 2 && names.includes(name));
    assert.equal(await made(ada), before);
});

scenario("hostile room names in the link, in the list and in the form do nothing", async ({ visit, defer }) => {
    const bob = await lineClient(server.tcp, "bob", "<b>bold</b>");
    defer(bob.close);
    const joined = bob.lines.all.some((line) => line === "Joined <b>bold</b>");
    for (const hash of ["%3Cb%3Ebold%3C%2Fb%3E", "%", "%E0%A4%A", "%00", "__proto__", "constructor", "a".repeat(5_000), "%F0%9F%A6%80", "lobby#x?y=%22", "javascript:alert(1)", "../../etc", "%0d%0aJOIN%20x"]) {
        const ada = await Chat.open(visit, server.http, { hash, nick: "ada", isJoined: false });
        await ada.untilSettled();
        assert.deepEqual([hash, await owned(ada), await made(ada)], [hash, false, 0]);
        await ada.visitor.assertFits();
        await ada.visitor.close();
    }
    assert.ok(joined, "the server allows such a name");
});
