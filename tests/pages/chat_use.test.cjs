// What one does on the chat page when a room, a name or a token is refused, and where the focus is afterwards.
"use strict";

const assert = require("node:assert/strict");
const { execFileSync } = require("node:child_process");
const path = require("node:path");
const { before, after } = require("node:test");
const { Server, PROGRAM } = require("../sdks/helpers/server.cjs");
const { scenario } = require("./helpers/scenario.cjs");
const { OUTAGE, PHONE } = require("./helpers/browser.cjs");
const { Chat } = require("./helpers/chat.cjs");
const { lineClient } = require("./helpers/people.cjs");

let server;
before(async () => (server = await Server.start({ greeting: "", "rooms-per-client": 2 })));
after(() => server.remove());

const untilFocus = (chat, selector) => chat.visitor.poll(`focus in ${selector}`, () => chat.isFocused(selector), Boolean);

// Opens a room as a guest who may not join it.
async function openRefused(visit) {
    const chat = await Chat.open(visit, server.http, { room: "$secret", nick: "ada", isJoined: false, expected: OUTAGE });
    await chat.page.getByRole("button", { name: "Use a token" }).waitFor();
    return chat;
}

scenario("a guest whose token is refused goes on without one, and has lost nothing", async ({ visit }) => {
    const chat = await openRefused(visit);
    await chat.enter("lobby");
    await chat.say("as a guest");
    await chat.untilTexts(["as a guest"]);
    await chat.page.locator("#joined a", { hasText: "$secret" }).click();
    await chat.page.getByRole("button", { name: "Use a token" }).click();
    await untilFocus(chat, "#token");
    await chat.giveToken("not.a.token");
    await chat.visitor.until("the refusal", () => /refused/.test(document.getElementById("refused-reason").textContent));
    await untilFocus(chat, "#token");
    await chat.page.getByRole("button", { name: "Not now" }).click();
    await chat.page.getByRole("button", { name: "Use a token" }).waitFor();
    await chat.enter("lobby");
    await chat.untilTexts(["as a guest"]);
    await chat.say("as before");
    await chat.untilTexts(["as a guest", "as before"]);
    assert.match((await chat.messages()).at(-1).name, /ada$/);
});

scenario("a token opens the room that refused the guest, and the message has the focus", async ({ visit }) => {
    const chat = await openRefused(visit);
    const config = path.join(server.folder, "roomcast.toml");
    const token = execFileSync(PROGRAM, ["gen-token", "--config", config, "--user", "grace", "--room", "$*=join,publish,history,presence"], { encoding: "utf8" }).trim();
    await chat.page.getByRole("button", { name: "Use a token" }).click();
    await chat.page.getByRole("button", { name: "Not now" }).click();
    await untilFocus(chat, "#rejoin");
    await chat.page.getByRole("button", { name: "Use a token" }).click();
    await chat.giveToken(token);
    await chat.untilRoom("$secret");
    await chat.say("let in");
    await chat.untilTexts(["let in"]);
    await untilFocus(chat, chat.composer);
});

scenario("choosing a room closes the form for a token", async ({ visit }) => {
    const chat = await openRefused(visit);
    await chat.page.getByRole("button", { name: "Use a token" }).click();
    await untilFocus(chat, "#token");
    await chat.enter("lobby");
    await chat.page.locator(chat.composer).waitFor();
    assert.equal(await chat.page.locator("#token").isVisible(), false);
});

scenario("a room that is joined again by two clicks gives each message once", async ({ visit, defer }) => {
    const tom = await lineClient(server.tcp, "tom", "third");
    defer(tom.close);
    const chat = await Chat.open(visit, server.http, { room: "first", nick: "ada" });
    await chat.enter("second");
    await chat.page.evaluate(() => (location.hash = "#third"));
    await chat.page.getByText("Leave another one first").waitFor();
    await chat.page.getByRole("button", { name: "Leave first" }).click();
    await chat.page.evaluate(() => {
        document.getElementById("rejoin").focus();
        for (let click = 0; click < 2; click += 1) document.getElementById("rejoin").click();
    });
    await chat.untilRoom("third");
    await untilFocus(chat, chat.composer);
    tom.say("once");
    await chat.untilTexts(["once"]);
    tom.say("the end");
    await chat.untilTexts(["once", "the end"]);
});

scenario("sending again leaves the focus in the message, and other drafts as they are", async ({ visit }) => {
    const own = await Server.start({ greeting: "" }, "");
    try {
        const chat = await Chat.open(visit, own.http, { room: "drafts", nick: "ada", expected: OUTAGE });
        await own.stop("SIGKILL");
        await chat.untilAway();
        for (const text of ["one", "two"]) await chat.say(text);
        await chat.untilFailed(["one", "two"]);
        await chat.page.locator("#drafts > li").first().evaluate((row) => (row.isMarked = true));
        await chat.page.locator("#drafts > li").nth(1).getByRole("button", { name: "Discard" }).click();
        await chat.untilFailed(["one"]);
        await untilFocus(chat, chat.composer);
        assert.ok(await chat.page.locator("#drafts > li").evaluate((row) => row.isMarked), "the row is the same element");
        await own.run();
        await chat.retry();
        await chat.untilConnected();
        await chat.sendAgain("one");
        await untilFocus(chat, chat.composer);
        await chat.untilTexts(["one"]);
    } finally {
        await own.remove();
    }
});

scenario("a link in the list of rooms keeps the focus when the list is requested again", async ({ visit, defer }) => {
    const tom = await lineClient(server.tcp, "tom", "room-m");
    defer(tom.close);
    const chat = await Chat.open(visit, server.http, { room: "mine", nick: "ada" });
    await chat.untilOthers((names) => names.includes("room-m"));
    await chat.page.locator("#others a", { hasText: "room-m" }).focus();
    const eve = await lineClient(server.tcp, "eve", "room-a");
    defer(eve.close);
    await chat.page.evaluate(() => document.getElementById("refresh").click());
    await chat.untilOthers((names) => names.includes("room-a"));
    assert.equal(await chat.page.evaluate(() => document.activeElement.textContent), "room-m");
});

scenario("a wrong link says why on a phone too, and the room in view closes the drawer", async ({ visit }) => {
    const chat = await Chat.open(visit, server.http, { hash: "my%20room", nick: "ada", isJoined: false, viewport: PHONE });
    await chat.page.locator("#welcome").getByText("A room name has no spaces").waitFor();
    await chat.visitor.assertAccessible("the welcome page with a reason");
    const untilClosed = () => chat.page.locator("#rooms").waitFor({ state: "hidden" });
    await chat.enter("lobby");
    await untilClosed();
    await chat.openRooms();
    await chat.page.locator("#joined a").click();
    await untilClosed();
    await chat.enter("lobby");
    await untilClosed();
});

scenario("changing rooms and loading history are not read aloud, and new messages are", async ({ visit, defer }) => {
    const tom = await lineClient(server.tcp, "tom", "aloud");
    defer(tom.close);
    tom.say("before");
    await tom.lines.until((all) => all.some((line) => line.endsWith("before")), "the message");
    const chat = await Chat.open(visit, server.http, { room: "aloud", nick: "ada" });
    const live = () => chat.page.locator("#log").getAttribute("aria-live");
    await chat.untilTexts(["before"]);
    assert.equal(await live(), "off");
    tom.say("now");
    await chat.untilTexts(["before", "now"]);
    assert.equal(await live(), "polite");
    await chat.enter("elsewhere");
    await chat.enter("aloud");
    await chat.untilTexts(["before", "now"]);
    assert.equal(await live(), "off");
});

scenario("the terminal's commands are shown only where the default ports are likely", async ({ visit }) => {
    const chat = await Chat.open(visit, server.http, { isJoined: false, nick: "ada" });
    await chat.untilSettled();
    assert.equal(await chat.page.locator(".terminal:visible").count(), 0);
});

scenario("own name changes at once in the list of members", async ({ visit }) => {
    const chat = await Chat.open(visit, server.http, { room: "members", nick: "ada" });
    await chat.untilMembers((names) => names.length === 1 && names[0].includes("ada"));
    await chat.rename("grace");
    assert.match((await chat.page.locator("#member-list bdi").allTextContents()).join(), /grace/);
});
