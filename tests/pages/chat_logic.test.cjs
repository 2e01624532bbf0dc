// The chat page's logic without a browser: links, addresses, moments in words, and what is kept of a room.
"use strict";

const assert = require("node:assert/strict");
const fs = require("node:fs");
const path = require("node:path");
const test = require("node:test");
const { pathToFileURL } = require("node:url");

const folder = path.join(__dirname, "..", "..", "src", "pages", "chat");
const load = (name) => import(pathToFileURL(path.join(folder, name)).href);

const links = (segments) => segments.filter(({ href }) => href !== undefined).map(({ href }) => href);
const at = (...parts) => new Date(...parts).getTime();

/** A live message of somebody else, unless it is said otherwise. */
const message = (text, more = {}) => ({ text, data: { text }, name: "ada", user: "", client: "1", isOwn: false, isLive: true, time: at(2026, 10, 27, 12), ...more });

async function conversation() {
    const { Conversation } = await load("conversation.js");
    return new Conversation("lobby");
}

test("segments of a text are the text, and links are http and https only", async () => {
    const { segments } = await load("text.js");
    const cases = [
        ["no link", []],
        ["see https://example.org/a?b=c&d=%22e%22 now", ["https://example.org/a?b=c&d=%22e%22"]],
        ["(https://example.net/x).", ["https://example.net/x"]],
        ["https://en.wikipedia.org/wiki/Room_(film), seen", ["https://en.wikipedia.org/wiki/Room_(film)"]],
        ["HTTP://EXAMPLE.ORG!", ["HTTP://EXAMPLE.ORG"]],
        ["http://a.example and\nhttps://b.example", ["http://a.example", "https://b.example"]],
        ["javascript:alert(1) data:text/html,x file:///etc/passwd vbscript:x blob:https", []],
        ["xhttps://example.org", []],
        ["https:// http://", []],
        ["<a href=\"https://example.org/\">", ["https://example.org/"]],
        ["https://\u202Eevil", []],
        ["https://example.org/\u202Egro.live", ["https://example.org/"]],
    ];
    for (const [text, expected] of cases) {
        assert.deepEqual(links(segments(text)), expected, text);
        assert.equal(segments(text).map((segment) => segment.text).join(""), text);
    }
});

test("a text of nothing but links or brackets is divided in bounded work", async () => {
    const { segments } = await load("text.js");
    assert.equal(links(segments("http://a ".repeat(7_000))).length, 200);
    assert.deepEqual(links(segments(`http://a${")".repeat(65_000)}`)), ["http://a"]);
    assert.equal(segments("https://".repeat(8_000)).map(({ text }) => text).join("").length, 64_000);
});

test("long and high texts are clipped, and others are not", async () => {
    const { clipped } = await load("text.js");
    assert.equal(clipped("short"), "short");
    assert.equal(clipped("x".repeat(1_800)).length, 1_800);
    assert.equal(clipped("x".repeat(65_536)).length, 1_500);
    assert.equal(clipped("line\n".repeat(100)).split("\n").length, 16);
    assert.equal(clipped("one\ntwo\nthree"), "one\ntwo\nthree");
    assert.ok(clipped(`${"x".repeat(1_499)}${"🦀".repeat(1_000)}`).isWellFormed(), "no half of a character");
});

test("a name has the initial of its first letter or digit", async () => {
    const { initial } = await load("text.js");
    const names = ["~ada", "<img>", "ß", "комната", "部屋", "127.0.0.1:5", "🦀", ""];
    assert.deepEqual(names.map(initial), ["A", "I", "S", "К", "部", "1", "", ""]);
});

test("every name of a room survives the page's address", async () => {
    const { hashOfRoom, roomOfHash } = await load("text.js");
    for (const name of ["lobby", "#", "a/b?c=d&e", "100%", "комната", "<b>", "\u202Egnp", "🦀", "__proto__", "%41"]) {
        assert.equal(roomOfHash(hashOfRoom(name)), name);
    }
    assert.deepEqual(["", "#", "#%", "#%E0%A4%A", "#e\u0301"].map(roomOfHash), ["", "", "%", "%E0%A4%A", "\u00e9"]);
    assert.equal(hashOfRoom("\ud800"), "#%EF%BF%BD");
});

test("names that the server would refuse are refused with a reason", async () => {
    const { wrongNick, wrongRoom } = await load("text.js");
    assert.deepEqual(["lobby", "a".repeat(128), "\u202Egnp"].map(wrongRoom), [undefined, undefined, undefined]);
    assert.match(wrongRoom("my  room"), /my-room/);
    assert.match(wrongRoom("a\u0000b"), /control/);
    assert.match(wrongRoom("я".repeat(65)), /128 bytes/);
    assert.match(wrongNick("n".repeat(65)), /64 bytes/);
});

test("days have the names that people use", async () => {
    const { dayLabel, untilMidnight } = await load("text.js");
    const now = at(2026, 10, 27, 0, 5);
    const label = (...parts) => dayLabel(at(...parts), now);
    assert.equal(label(2026, 10, 27, 0, 0), "Today");
    assert.equal(label(2026, 10, 26, 23, 59), "Yesterday");
    assert.match(label(2026, 10, 25, 12), /^Wednesday,? (25 November|November 25)$/);
    assert.match(label(2025, 10, 25, 12), /2025/);
    assert.equal(untilMidnight(at(2026, 10, 27, 23, 59)), 60_000);
});

test("messages of one author stand together for a while, and each day begins with its name", async () => {
    const { beginsDay, beginsGroup } = await load("conversation.js");
    const entry = (time, more = {}) => ({ number: 0, chars: 0, at: time, message: message("hi", more) });
    const noon = at(2026, 10, 27, 12);
    assert.equal(beginsGroup(undefined, entry(noon)), true);
    assert.equal(beginsGroup(entry(noon), entry(noon + 60_000)), false);
    assert.equal(beginsGroup(entry(noon), entry(noon + 301_000)), true);
    assert.equal(beginsGroup(entry(noon), entry(noon, { client: "2" })), true);
    assert.equal(beginsGroup(entry(noon), entry(noon, { name: "eve" })), true, "one who has another name now");
    assert.equal(beginsGroup({ number: 0, chars: 0 }, entry(noon)), true, "behind a gap");
    assert.equal(beginsDay(undefined, entry(noon)), true);
    assert.equal(beginsDay(entry(noon), entry(noon + 1)), false);
    assert.equal(beginsDay(entry(noon), entry(at(2026, 10, 28, 0))), true);
    assert.equal(beginsDay(entry(noon), entry(undefined)), false);
});

test("what comes unseen is counted, and the first of it is marked", async () => {
    const room = await conversation();
    room.add(message("history", { isLive: false }), false, 0);
    room.add(message("seen"), true, 0);
    room.add(message("own", { isOwn: true }), false, 0);
    assert.deepEqual([room.unread, room.newFrom], [0, undefined]);
    room.add(message("one"), false, 0);
    room.add(message("two"), false, 0);
    assert.deepEqual([room.unread, room.newFrom], [2, 3]);
    room.read();
    assert.deepEqual([room.unread, room.newFrom], [0, 3], "the mark stays where the reader has come back");
    room.addDraft("answer", 0);
    assert.equal(room.newFrom, undefined);
});

test("messages behind a gap are unread although they are not live", async () => {
    const room = await conversation();
    room.addGap();
    room.add(message("missed", { isLive: false, isNew: true }), false, 0);
    room.add(message("history", { isLive: false, isNew: false }), false, 0);
    assert.deepEqual([room.unread, room.newFrom], [1, 1]);
});

test("an entry keeps what is shown, once, and all of it counts", async () => {
    const room = await conversation();
    room.add(message("text", { data: { text: "text", picture: "x".repeat(60_000) } }), true, 0);
    room.add(message(undefined, { data: { a: [1, "<b>"] } }), true, 0);
    assert.deepEqual(room.entries.map(({ message: { text, isJson } }) => [text, isJson]), [["text", false], ['{"a":[1,"<b>"]}', true]]);
    assert.ok(room.entries.every(({ message }) => !("data" in message)));
    for (let count = 0; count < 100; count++) room.add(message("", { name: "n".repeat(65_536) }), true, 0);
    assert.ok(room.entries.length <= 30, `${room.entries.length} entries with long names`);
});

test("data that is nested too deeply for the browser is a message all the same", async () => {
    const room = await conversation();
    room.add(message(undefined, { data: JSON.parse(`${"[".repeat(32_768)}${"]".repeat(32_768)}`) }), true, 0);
    assert.equal(room.entries.length, 1);
});

test("JSON is indented only while it stays short", async () => {
    const { readable } = await load("text.js");
    assert.equal(readable('{"a":[1]}'), '{\n  "a": [\n    1\n  ]\n}');
    for (const depth of [700, 3_000]) {
        const nested = `${"[".repeat(depth)}${"]".repeat(depth)}`;
        assert.equal(readable(nested), nested);
    }
    assert.equal(readable("no JSON"), "no JSON");
});

test("the Enter key of an input method sends nothing, in Safari neither", async () => {
    const { isComposing } = await load("forms.js");
    assert.deepEqual([{ isComposing: true, keyCode: 229 }, { isComposing: false, keyCode: 229 }, { isComposing: false, keyCode: 13 }].map(isComposing), [true, true, false]);
});

test("a room keeps 500 messages and two million characters at most", async () => {
    const { ENTRIES_MAX } = await load("conversation.js");
    const room = await conversation();
    for (let count = 0; count < 1_234; count++) room.add(message(`${count}`), true, 0);
    assert.deepEqual([room.entries.length, room.oldest, room.next], [ENTRIES_MAX, 734, 1_234]);
    assert.equal(room.entry(734).message.text, "734");
    assert.equal(room.entry(733), undefined);
    for (let count = 0; count < 100; count++) room.add(message("x".repeat(65_536)), true, 0);
    assert.equal(room.entries.length, 30);
    room.clear();
    assert.deepEqual([room.entries.length, room.next, room.oldest], [0, 1_334, 1_334]);
});

test("a draft is gone when its message comes, and stays if it does not", async () => {
    const room = await conversation();
    const states = () => room.drafts.map(({ text, state }) => `${text} ${state}`);
    const [one, two] = [room.addDraft("one", 0), room.addDraft("two", 0)];
    room.add(message("one"), true, 0);
    assert.deepEqual(states(), ["one sending", "two sending"], "what others say is theirs");
    room.add(message("one", { isOwn: true }), true, 0);
    room.markFailed(one, "too late", true);
    assert.deepEqual(states(), ["two sending"]);
    room.markFailed(two, "Perhaps not sent.", true);
    const again = room.addDraft("two", 0);
    room.add(message("two", { isOwn: true }), true, 0);
    assert.deepEqual(room.drafts, [two], "the one that is on its way is the one that has come");
    room.add(message("two", { isOwn: true }), true, 0);
    assert.deepEqual(room.drafts, [], "recovered after all");
    assert.equal(again.state, "sending");
});

test("own messages of history remove only a lost draft of their text that is older", async () => {
    const room = await conversation();
    const noon = at(2026, 10, 27, 12);
    const sending = room.addDraft("sending", noon);
    const refused = room.addDraft("refused", noon);
    room.markFailed(refused, "Not sent.", false);
    const lost = room.addDraft("lost", noon);
    room.markFailed(lost, "Perhaps not sent.", true);
    for (const text of ["something else", "sending", "refused"]) {
        room.add(message(text, { isOwn: true, isLive: false, time: noon + 1 }), true, 0);
    }
    room.add(message("lost", { isOwn: true, isLive: false, time: noon - 1 }), true, 0);
    room.add(message("lost", { isOwn: true, isLive: false, time: undefined }), true, 0);
    assert.deepEqual(room.drafts, [sending, refused, lost]);
    room.add(message("lost", { isOwn: true, isLive: false, time: noon + 1 }), true, 0);
    assert.deepEqual(room.drafts, [sending, refused]);
});

test("a draft is done too if a hook of the server has changed its text", async () => {
    const room = await conversation();
    room.markSent(room.addDraft("what the heck", 0));
    room.add(message("what the ****", { isOwn: true }), true, 0);
    assert.deepEqual(room.drafts, []);
});

test("a draft that was sent and never pushed goes with a gap and with a new history", async () => {
    for (const lose of [(room) => room.addGap(), (room) => room.clear()]) {
        const room = await conversation();
        const failed = room.addDraft("failed", 0);
        room.markFailed(failed, "Not sent.", false);
        room.markSent(room.addDraft("sent", 0));
        const { draftsVersion } = room;
        lose(room);
        assert.deepEqual(room.drafts, [failed]);
        assert.ok(room.draftsVersion > draftsVersion, "views see it");
    }
});

test("a text that was not sent is never dropped for a newer one", async () => {
    const room = await conversation();
    for (let count = 0; count < 50; count++) room.markFailed(room.addDraft(`${count}`, 0), "Not sent.", false);
    assert.equal(room.addDraft("one more", 0), undefined);
    assert.deepEqual([room.drafts.length, room.drafts[0].text], [50, "0"]);
    room.discard(room.drafts[49]);
    room.markSent(room.addDraft("sent", 0));
    assert.equal(room.addDraft("one more", 0)?.text, "one more", "one that was sent makes way");
    assert.deepEqual([room.drafts.length, room.drafts[0].text], [50, "0"]);
});

test("the title names the room and counts what is unread", async () => {
    const { titleOf } = await load("conversation.js");
    assert.equal(titleOf(0, ""), "Roomcast");
    assert.equal(titleOf(0, "lobby"), "lobby · Roomcast");
    assert.equal(titleOf(3, "lobby"), "(3) lobby · Roomcast");
    assert.equal(titleOf(1_000, ""), "(999+) Roomcast");
});

test("the page asks for every module at once, before the first of them has run", () => {
    const page = fs.readFileSync(path.join(folder, "index.html"), "utf8");
    const modules = (name) => fs.readdirSync(name).filter((file) => file.endsWith(".js")).sort();
    const expected = ["/roomcast.js", ...modules(path.join(folder, "..", "roomcast")).map((file) => `/pages/roomcast/${file}`), "/pages/elements.js",
        ...modules(folder).filter((file) => file !== "main.js").map((file) => `/pages/chat/${file}`)];
    assert.deepEqual([...page.matchAll(/rel="modulepreload" href="([^"]+)"/g)].map(([, address]) => address), expected);
});
