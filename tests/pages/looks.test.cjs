// How the chat page looks and is used: on phones and desktops, in the dark, by keyboard alone, with a token, under load.
"use strict";

const assert = require("node:assert/strict");
const { execFileSync } = require("node:child_process");
const path = require("node:path");
const { before, after } = require("node:test");
const { Server, PROGRAM } = require("../sdks/helpers/server.cjs");
const { scenario } = require("./helpers/scenario.cjs");
const { DESKTOP, OUTAGE, PHONE } = require("./helpers/browser.cjs");
const { Chat } = require("./helpers/chat.cjs");
const { lineClient } = require("./helpers/people.cjs");

const SETTINGS = { greeting: "", "token-secret-file": [] };
const FIRST_LOAD_BYTES_MAX = 50_000;
// The page shows no more messages of a room than this.
const ROWS_MAX = 500;
const NARROWEST = { width: 320, height: 568 };

let server;
before(async () => (server = await Server.start(SETTINGS, "")));
after(() => server.remove());

const LOOKS = [
    { name: "desktop-light", viewport: DESKTOP, colorScheme: "light" },
    { name: "desktop-dark", viewport: DESKTOP, colorScheme: "dark" },
    { name: "phone-light", viewport: PHONE, colorScheme: "light" },
    { name: "phone-dark", viewport: PHONE, colorScheme: "dark" },
    { name: "narrowest-light", viewport: NARROWEST, colorScheme: "light" },
];

for (const { name, ...look } of LOOKS) {
    scenario(`each state of the chat is accessible and fits the window: ${name}`, async ({ visit, defer }) => {
        const check = async (page, state) => {
            await page.visitor.screenshot(`chat-${name}-${state}`);
            await page.visitor.assertFits();
            await page.visitor.assertAccessible(`${state} ${name}`);
        };
        const first = await Chat.open(visit, server.http, { isJoined: false, ...look });
        await first.untilSettled();
        await check(first, "first-run");
        const room = `looks-${name}`;
        const ada = await Chat.open(visit, server.http, { room, nick: "ada", ...look });
        await check(ada, "empty-room");
        const tom = await lineClient(server.tcp, "tom", room);
        defer(tom.close);
        tom.say("Good morning! Is the meeting at ten?");
        await ada.untilCount(1);
        await ada.say("It is. The agenda is at https://example.org/agenda/2026/friday?view=all&sort=time");
        await ada.untilCount(2);
        tom.say("Thanks");
        tom.say(`one word that is long: ${"abcdefghij".repeat(20)}`);
        await ada.untilCount(4);
        await check(ada, "talk");
        await ada.openMembers();
        await check(ada, "members");
        await ada.closeDrawers();
        await ada.openRooms();
        await check(ada, "rooms");
    });
}

// The number of elements in each line of the one that is selected.
const lines = (chat, selector) => chat.page.evaluate((selector) => {
    const ends = [];
    const counts = [];
    for (const { top, bottom, width } of [...document.querySelector(selector).children].map((child) => child.getBoundingClientRect())) {
        if (width === 0) continue;
        const line = ends.findIndex((end) => (top + bottom) / 2 < end);
        if (line < 0) ends.push(bottom), counts.push(1);
        else counts[line] += 1;
    }
    return counts;
}, selector);

scenario("no button and no sign stands alone in a line of a narrow window", async ({ visit, defer }) => {
    for (const viewport of [DESKTOP, { width: 1100, height: 800 }, { width: 844, height: 390 }, NARROWEST]) {
        const guest = await Chat.open(visit, server.http, { room: "lines", viewport });
        await guest.page.locator("#nick-form").waitFor();
        await guest.visitor.screenshot(`chat-${viewport.width}-name`);
        const counts = await lines(guest, "#nick-form");
        assert.ok(counts.every((count) => count > 1), `${viewport.width} pixels: ${counts}`);
    }
    const own = await Server.start(SETTINGS, "");
    defer(() => own.remove());
    const ada = await Chat.open(visit, own.http, { room: "lines", nick: "ada", viewport: NARROWEST, expected: OUTAGE });
    await own.stop("SIGKILL");
    await ada.untilAway();
    await ada.say("into the void");
    await ada.untilFailed(["into the void"]);
    await ada.visitor.screenshot("chat-narrowest-failed");
    const [first] = await lines(ada, "#drafts .fate");
    assert.ok(first > 1, "the sign stands beside its words");
});

scenario("the colours follow the system", async ({ visit }) => {
    const background = (chat) => chat.visitor.page.evaluate(() => getComputedStyle(document.body).backgroundColor.match(/[\d.]+/g).slice(0, 3).reduce((sum, part) => sum + Number(part), 0));
    const chat = await Chat.open(visit, server.http, { room: "colours", nick: "ada" });
    const light = await background(chat);
    await chat.visitor.page.emulateMedia({ colorScheme: "dark" });
    const dark = await background(chat);
    assert.ok(light > 3 * 200 && dark < 3 * 60, `backgrounds ${light} and ${dark}`);
});

scenario("nothing moves for those who want less motion", async ({ visit }) => {
    const chat = await Chat.open(visit, server.http, { room: "motion", nick: "ada", viewport: PHONE, reducedMotion: "no-preference" });
    // Durations of everything on the page, and of a draft and the first state, which show for a moment only.
    const moving = () => chat.visitor.page.evaluate(() => {
        const state = document.getElementById("state");
        const former = state.dataset.state;
        state.dataset.state = "first";
        const draft = document.createElement("div");
        draft.className = "draft sending";
        draft.append(Object.assign(document.createElement("span"), { className: "text" }));
        document.body.append(draft);
        const found = [...document.querySelectorAll("*")].filter((element) => {
            const { animationName, animationDuration, transitionDuration } = getComputedStyle(element);
            const isLong = (durations) => durations.split(",").some((duration) => parseFloat(duration) > 0);
            return (animationName !== "none" && isLong(animationDuration)) || isLong(transitionDuration);
        });
        const names = found.map((element) => element.id || element.className || element.localName);
        draft.remove();
        state.dataset.state = former;
        return names;
    });
    const usual = await moving();
    for (const name of ["state", "text", "rooms", "members"]) assert.ok(usual.includes(name), `${name} moves: ${usual}`);
    await chat.visitor.page.emulateMedia({ reducedMotion: "reduce" });
    assert.deepEqual(await moving(), []);
    assert.equal(await chat.visitor.page.evaluate(() => getComputedStyle(document.documentElement).scrollBehavior), "auto");
});

scenario("one talks with the keyboard alone", async ({ visit, defer }) => {
    const tom = await lineClient(server.tcp, "tom", "keys");
    defer(tom.close);
    tom.say("hello");
    const chat = await Chat.open(visit, server.http, { isJoined: false, reducedMotion: "reduce" });
    await chat.untilSettled();
    await chat.pressUntilFocus("#go-room", "Tab");
    await chat.visitor.page.keyboard.type("keys");
    await chat.visitor.page.keyboard.press("Enter");
    await chat.untilTexts(["hello"]);
    await chat.pressUntilFocus("#nick", "Tab");
    await chat.visitor.page.keyboard.type("ada");
    await chat.visitor.page.keyboard.press("Enter");
    await chat.visitor.until("the name", () => document.getElementById("me-name").textContent.includes("ada"));
    await chat.pressUntilFocus(chat.composer, "Tab");
    await chat.visitor.page.keyboard.type("hello tom");
    await chat.visitor.page.keyboard.press("Shift+Enter");
    await chat.visitor.page.keyboard.type("from ada");
    await chat.visitor.page.keyboard.press("Enter");
    await tom.lines.until((all) => all.some((line) => /ada\] from ada$/.test(line)), "the message of two lines");
    await chat.untilTexts(["hello", "hello tom\nfrom ada"]);
    assert.ok(await chat.isFocused(chat.composer), "one types on after a message");
    await chat.assertFocusVisible();
});

scenario("each element that can be used is reached by the Tab key and shows its focus", async ({ visit }) => {
    for (const viewport of [DESKTOP, PHONE]) {
        const chat = await Chat.open(visit, server.http, { room: "tabs", nick: "ada", viewport, reducedMotion: "reduce" });
        await chat.assertAllReached();
    }
});

scenario("the first load takes 50 KB at most", async ({ visit }) => {
    const chat = await Chat.open(visit, server.http, { room: "bytes", nick: "ada" });
    const entries = await chat.visitor.page.evaluate(() =>
        [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")].map(({ name, transferSize, encodedBodySize }) => ({ name, transferSize, encodedBodySize })),
    );
    const bytes = entries.reduce((sum, { transferSize }) => sum + transferSize, 0);
    assert.ok(entries.length > 3 && entries.every(({ encodedBodySize }) => encodedBodySize > 0), JSON.stringify(entries));
    assert.ok(bytes <= FIRST_LOAD_BYTES_MAX, `${bytes} bytes: ${JSON.stringify(entries)}`);
});

scenario("the page keeps a bounded number of elements while thousands of messages come", async ({ visit, defer }) => {
    const room = "many";
    const chat = await Chat.open(visit, server.http, { room, nick: "ada" });
    const tom = await lineClient(server.tcp, "tom", room);
    defer(tom.close);
    const elements = () => chat.visitor.page.evaluate(() => document.getElementsByTagName("*").length);
    const speak = async (from, to) => {
        for (let said = from; said < to; said += 1) tom.say(`message ${said}`);
        await chat.untilLast(`message ${to - 1}`);
        await chat.untilCount(ROWS_MAX); // rows follow in several frames
    };
    await speak(0, 1_500);
    const half = await elements();
    await speak(1_500, 3_000);
    const full = await elements();
    assert.ok(full <= half * 1.2, `${half} elements after 1 500 messages, ${full} after 3 000`);
    assert.ok(full < 12_000, `${full} elements`);
    const texts = (await chat.messages()).map(({ text }) => text);
    const last = texts.slice(-100);
    assert.deepEqual(last, Array.from({ length: last.length }, (_, at) => `message ${3_000 - last.length + at}`));
    await chat.say("still here");
    await chat.untilLast("still here");
});

scenario("where a token is needed the page asks for it, and keeps it nowhere", async ({ visit, defer }) => {
    const guarded = await Server.start({ greeting: "", anonymous: "deny" }, "");
    defer(() => guarded.remove());
    const config = path.join(guarded.folder, "roomcast.toml");
    const token = execFileSync(PROGRAM, ["gen-token", "--config", config, "--user", "ada"], { encoding: "utf8" }).trim();
    for (const [name, viewport] of [["desktop", DESKTOP], ["phone", PHONE]]) {
        const chat = await Chat.open(visit, guarded.http, { room: "guarded", isJoined: false, viewport, expected: OUTAGE });
        await chat.untilTokenForm();
        await chat.visitor.screenshot(`chat-${name}-token`);
        await chat.visitor.assertAccessible("the form for a token");
        await chat.visitor.assertFits();
        await chat.giveToken("not.a.token");
        await chat.visitor.until("the refusal", () => /refused/.test(document.getElementById("refused-reason").textContent));
        await chat.giveToken(token);
        await chat.untilConnected();
        await chat.say(`hello from ${name}`);
        await chat.untilLast(`hello from ${name}`);
        assert.equal((await chat.messages()).at(-1).name, "ada");
        const kept = await chat.visitor.page.evaluate(() => [...Object.keys(localStorage), ...Object.keys(sessionStorage), document.cookie, location.href].join(" "));
        assert.ok(!kept.includes(token.slice(0, 20)) && !/token/i.test(kept), kept);
    }
});
