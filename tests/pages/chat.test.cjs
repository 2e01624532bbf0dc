// People talk on the chat page, with each other and with clients of every other kind.
"use strict";

const assert = require("node:assert/strict");
const { before, after } = require("node:test");
const { Server } = require("../sdks/helpers/server.cjs");
const { scenario } = require("./helpers/scenario.cjs");
const { PHONE } = require("./helpers/browser.cjs");
const { Chat } = require("./helpers/chat.cjs");
const { lineClient, sdkClient } = require("./helpers/people.cjs");

let server;
before(async () => (server = await Server.start({ greeting: "", "token-secret-file": [], "message-bytes": "128KiB" }, "")));
after(() => server.remove());

const open = (visit, room, nick, options) => Chat.open(visit, server.http, { room, nick, ...options });

scenario("two browsers, a line client and an SDK talk in one room and all hear one order", async ({ visit, defer }) => {
    const room = "one-order";
    const ada = await open(visit, room, "ada");
    const bob = await open(visit, room, "bob", { viewport: PHONE });
    const tom = await lineClient(server.tcp, "tom", room);
    defer(tom.close);
    const sue = await sdkClient(server.http, room);
    defer(sue.close);
    const speak = [
        (text) => ada.say(text),
        (text) => bob.say(text),
        (text) => tom.say(text),
        (text) => sue.publish({ text }),
    ];
    const texts = [];
    for (let turn = 0; turn < 5; turn += 1) {
        // All speak at once, so that only the room decides on the order.
        const turns = speak.map((_, at) => `${turn} of ${at}`);
        texts.push(...turns);
        await Promise.all(speak.map((say, at) => say(turns[at])));
    }
    await sue.publications.count(texts.length);
    const order = sue.publications.data.map(({ text }) => text);
    assert.deepEqual(order.toSorted(), texts.toSorted(), "each message came once");
    await ada.untilTexts(order);
    await bob.untilTexts(order);
    const heard = (all) => all.filter((line) => / \d of \d$/.test(line)).length === texts.length;
    const lines = (await tom.lines.until(heard, "all messages on the line")).filter((line) => / \d of \d$/.test(line));
    assert.deepEqual(lines.map((line) => line.replace(/^\[.*?\] /, "")), order);
    // Each page sees the others under the names that all see.
    const names = async (page, speaker) => new Set((await page.messages()).filter(({ text }) => text.endsWith(`of ${speaker}`)).map(({ name }) => name));
    assert.deepEqual([...(await names(ada, 2))], ["tom"]);
    const [nameOfBob] = await names(ada, 1);
    assert.match(nameOfBob, /bob$/);
    assert.ok(lines.find((line) => line.endsWith("0 of 1")).startsWith(`[${nameOfBob}] `), "the line client and the page see one name");
    assert.deepEqual(await names(bob, 2), await names(ada, 2));
    assert.deepEqual(await names(bob, 3), await names(ada, 3));
    await ada.visitor.screenshot("chat-desktop-conversation");
    await bob.visitor.screenshot("chat-phone-conversation");
});

scenario("who joins sees what was said before", async ({ visit, defer }) => {
    const room = "before";
    const tom = await lineClient(server.tcp, "tom", room);
    defer(tom.close);
    for (const text of ["first", "second", "third"]) tom.say(text);
    await tom.lines.until((all) => all.includes("[tom] third"), "the third message");
    const ada = await open(visit, room, "ada");
    await ada.untilTexts(["first", "second", "third"]);
    await ada.say("fourth");
    await ada.untilTexts(["first", "second", "third", "fourth"]);
    await ada.reload();
    await ada.untilTexts(["first", "second", "third", "fourth"]);
});

scenario("what is said in rooms elsewhere counts as unread, also in the title, until one looks", async ({ visit, defer }) => {
    const ada = await open(visit, "reading", "ada");
    await ada.enter("elsewhere");
    const tom = await lineClient(server.tcp, "tom", "reading");
    defer(tom.close);
    tom.say("one");
    tom.say("two");
    await ada.untilUnread("reading", 2);
    await ada.untilTitle(/^\(2\) elsewhere/);
    await ada.visitor.screenshot("chat-desktop-unread");
    await ada.enter("reading");
    await ada.untilTexts(["one", "two"]);
    await ada.untilUnread("reading", 0);
    await ada.untilTitle(/^reading · Roomcast$/);
});

scenario("a room has a link, and the back button leads to the room before", async ({ visit }) => {
    const ada = await open(visit, "link-one", "ada");
    await ada.say("in one");
    await ada.untilTexts(["in one"]);
    await ada.visitor.page.evaluate(() => (location.hash = "#link-two"));
    await ada.untilRoom("link-two");
    await ada.untilTexts([]);
    await ada.visitor.page.goBack();
    await ada.untilRoom("link-one");
    await ada.untilTexts(["in one"]);
    await ada.visitor.page.goForward();
    await ada.untilRoom("link-two");
});

scenario("members appear as they join and go as they leave", async ({ visit, defer }) => {
    const ada = await open(visit, "members", "ada");
    const tom = await lineClient(server.tcp, "tom", "members");
    defer(tom.close);
    await ada.untilMembers((names) => names.length === 2 && names.some((name) => name.includes("tom")));
    const bob = await open(visit, "members", "bob");
    await ada.untilMembers((names) => names.length === 3 && names.some((name) => name.includes("bob")));
    await bob.untilMembers((names) => names.length === 3);
    await ada.visitor.screenshot("chat-desktop-members");
    tom.close();
    await bob.visitor.close();
    await ada.untilMembers((names) => names.length === 1);
});

scenario("a new nick holds for what is said next, and after loading the page again", async ({ visit, defer }) => {
    const sue = await sdkClient(server.http, "renaming");
    defer(sue.close);
    const ada = await open(visit, "renaming", "ada");
    await ada.say("as ada");
    await ada.rename("grace");
    await ada.say("as grace");
    await ada.reload();
    await ada.say("still grace");
    await sue.publications.count(3);
    assert.deepEqual(sue.publications.all.map(({ info }) => info.connInfo.name.replace(/^~/, "")), ["ada", "grace", "grace"]);
    assert.deepEqual(await ada.visitor.page.evaluate(() => Object.keys(localStorage)), ["roomcast.nick"]);
});

scenario("rooms of others are listed, and one click joins them", async ({ visit, defer }) => {
    const tom = await lineClient(server.tcp, "tom", "of-tom");
    defer(tom.close);
    const ada = await open(visit, "of-ada", "ada");
    await ada.untilOthers((names) => names.includes("of-tom") && !names.includes("of-ada"));
    await ada.visitor.screenshot("chat-desktop-rooms");
    await ada.page.getByRole("link", { name: "of-tom" }).click();
    await ada.untilRoom("of-tom");
    await ada.say("found you");
    await tom.lines.until((all) => all.includes("[ada] found you"), "the message");
    await ada.untilOthers((names) => !names.includes("of-tom"));
});

scenario("who has scrolled up stays there, and comes to what is new by one button", async ({ visit, defer }) => {
    const room = "scrolled";
    const tom = await lineClient(server.tcp, "tom", room);
    defer(tom.close);
    for (let said = 0; said < 90; said += 1) tom.say(`message ${said}`);
    await tom.lines.until((all) => all.includes("[tom] message 89"), "the last message");
    const ada = await open(visit, room, "ada");
    await ada.untilCount(90);
    const scroller = ada.page.locator("#scroller");
    const place = () => scroller.evaluate(({ scrollTop, scrollHeight, clientHeight }) => ({ below: scrollHeight - scrollTop - clientHeight }));
    await ada.visitor.poll("place at the end", place, ({ below }) => below < 2);
    await scroller.hover();
    await ada.page.mouse.wheel(0, -900);
    await ada.visitor.poll("place further up", place, ({ below }) => below > 800);
    // The rows of what is above are measured when they come into view, which may change `scrollTop` and moves nothing.
    const reading = () => ada.page.evaluate(() => {
        const row = document.elementFromPoint(innerWidth / 2, innerHeight / 2).closest("li");
        return { text: row.textContent, top: Math.round(row.getBoundingClientRect().top) };
    });
    const before = await reading();
    tom.say("while she reads");
    tom.say("and again");
    const button = ada.page.getByRole("button", { name: "2 new messages" });
    await button.waitFor();
    assert.deepEqual(await reading(), before, "what she reads does not move");
    await ada.visitor.screenshot("chat-desktop-scrolled");
    await button.click();
    await ada.visitor.poll("place at the end", place, ({ below }) => below < 2);
    await ada.untilLast("and again");
});

scenario("Alt and arrows lead through the rooms, and Escape to the message", async ({ visit }) => {
    const ada = await open(visit, "first-of-two", "ada");
    await ada.enter("second-of-two");
    await ada.page.keyboard.press("Alt+ArrowUp");
    await ada.untilRoom("first-of-two");
    await ada.page.keyboard.press("Alt+ArrowDown");
    await ada.untilRoom("second-of-two");
    await ada.page.keyboard.press("Control+k");
    await ada.visitor.poll("focus in the field of rooms", () => ada.isFocused("#go-room"), Boolean);
    await ada.page.keyboard.press("Escape");
    await ada.visitor.poll("focus in the message", () => ada.isFocused(ada.composer), Boolean);
});
