// The chat page as one who talks there.
"use strict";

const assert = require("node:assert/strict");
const { isDeepStrictEqual } = require("node:util");

const COMPOSER = "#text";
// Shows once the history of the room in view is there, and one can write.
const READY = 'main[data-view="room"] #log[aria-busy="false"]';
const FOCUSABLE = 'a[href], button, input, textarea, select, summary, [tabindex="0"]';

class Chat {
    // Opens the page: in this room, or with this encoded hash, with this nick from a former visit.
    static async open(visit, address, { room, hash, nick, isJoined = true, ...options } = {}) {
        const origin = `http://${address}`;
        const stored = nick ? [{ origin, localStorage: [{ name: "roomcast.nick", value: nick }] }] : [];
        const chat = new Chat();
        const fragment = room === undefined ? hash : encodeURIComponent(room);
        chat.visitor = await visit(`${origin}/${fragment === undefined ? "" : `#${fragment}`}`, { storageState: { cookies: [], origins: stored }, ...options });
        chat.page = chat.visitor.page;
        chat.composer = COMPOSER;
        if (isJoined) await chat.untilConnected();
        return chat;
    }

    // Names and texts of the messages, in order.
    messages() {
        return this.page.evaluate(() =>
            [...document.querySelectorAll("#messages > li.message")].map((row) => ({
                name: row.querySelector(".author bdi, .unseen bdi").textContent,
                text: row.querySelector(".text").textContent,
            })),
        );
    }

    async texts() {
        return (await this.messages()).map(({ text }) => text);
    }

    // Waits until exactly these messages are shown, in this order.
    async untilTexts(texts) {
        await this.visitor.poll(`messages ${JSON.stringify(texts)?.slice(0, 2_000)}`, () => this.texts(), (shown) => isDeepStrictEqual(shown, texts));
    }

    async untilCount(count) {
        await this.visitor.poll(`${count} messages`, () => this.texts(), (shown) => shown.length === count);
    }

    async untilLast(text) {
        await this.visitor.poll(`message "${text}"`, () => this.texts(), (shown) => shown.at(-1) === text);
    }

    // Writes a message and sends it by the Enter key.
    async say(text) {
        await this.page.locator(COMPOSER).fill(text);
        await this.page.locator(COMPOSER).press("Enter");
    }

    untilConnected() {
        return this.visitor.until("the room", (ready) => ["none", "back"].includes(document.getElementById("state").dataset.state) && document.querySelector(ready), READY);
    }

    // Until the page says that there is no connection.
    untilAway() {
        return this.visitor.until("the loss of the connection", () => ["lost", "trying"].includes(document.getElementById("state").dataset.state));
    }

    // Until the page has started, whatever it shows.
    untilSettled() {
        return this.visitor.until("the page's start", () => document.getElementById("main").dataset.view !== "loading" && document.getElementById("state").dataset.state === "none" && document.getElementById("log").ariaBusy !== "true");
    }

    // Tries to connect at once if the page waits for the next attempt.
    retry() {
        return this.page.evaluate(() => document.getElementById("retry").hidden || document.getElementById("retry").click());
    }

    // Goes to a room by the form.
    async enter(room) {
        await this.openRooms();
        await this.page.getByRole("textbox", { name: "Go to room" }).fill(room);
        await this.page.keyboard.press("Enter");
        await this.untilRoom(room);
    }

    untilRoom(room) {
        return this.visitor.until(`the room ${room}`, ([wanted, ready]) => document.getElementById("title").textContent === wanted && document.querySelector(ready), [room, READY]);
    }

    // Until the list of rooms says that so many messages of a room are unread.
    untilUnread(room, count) {
        const badges = () => this.page.evaluate(() => [...document.querySelectorAll("#joined a")].map((link) => [link.querySelector("bdi").textContent, link.querySelector(".badge").hidden ? 0 : Number(link.querySelector(".badge").textContent)]));
        return this.visitor.poll(`${count} unread messages in ${room}`, badges, (all) => all.some((one) => isDeepStrictEqual(one, [room, count])));
    }

    untilTitle(pattern) {
        return this.visitor.poll(`title ${pattern}`, () => this.page.title(), (title) => pattern.test(title));
    }

    untilMembers(condition) {
        return this.visitor.poll("members", () => this.page.locator("#member-list bdi").allTextContents(), condition);
    }

    // Until the rooms of others are these.
    untilOthers(condition) {
        return this.visitor.poll("other rooms", () => this.page.locator("#others bdi").allTextContents(), condition);
    }

    async rename(nick) {
        await this.page.locator("#me").click();
        await this.page.locator("#nick").fill(nick);
        await this.page.keyboard.press("Enter");
        await this.visitor.until(`the name ${nick}`, (wanted) => document.getElementById("me-name").textContent.includes(wanted), nick);
    }

    async reload() {
        await this.page.reload();
        await this.untilConnected();
    }

    // Until exactly these messages are marked as not sent.
    untilFailed(texts) {
        return this.visitor.poll(`messages ${JSON.stringify(texts)} that were not sent`, () => this.page.locator("#drafts > .failed .text").allTextContents(), (shown) => isDeepStrictEqual(shown, texts));
    }

    sendAgain(text) {
        return this.page.locator("#drafts > .failed", { hasText: text }).getByRole("button", { name: "Send again" }).click();
    }

    // The page shows its newest row, and all of this element, once everything that was under way is done.
    async assertAtEnd(selector) {
        const frame = () => this.page.evaluate(() => new Promise(requestAnimationFrame));
        for (let count = 0; count < 10; count += 1) await frame();
        const view = await this.page.evaluate((selector) => {
            const scroller = document.getElementById("scroller");
            const hidden = document.querySelector(selector).getBoundingClientRect().bottom - scroller.getBoundingClientRect().bottom;
            const below = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight;
            return { hidden: Math.max(0, Math.round(hidden)), below: Math.round(below), isOffered: !document.getElementById("newest").hidden };
        }, selector);
        assert.deepEqual(view, { hidden: 0, below: 0, isOffered: false });
    }

    // Scrolls to the oldest message, as a reader does.
    async scrollUp() {
        await this.page.locator("#scroller").press("Home");
        await this.visitor.until("the oldest message", () => document.getElementById("scroller").scrollTop === 0);
        await this.visitor.until("the way back", () => !document.getElementById("newest").hidden);
    }

    // Until the button that leads to the newest message says this.
    untilNewest(text) {
        const shown = () => this.page.evaluate(() => document.getElementById("newest").hidden ? "" : document.getElementById("newest-text").textContent);
        return this.visitor.poll(`button "${text}"`, shown, (said) => said === text);
    }

    untilGap() {
        return this.visitor.until("the gap", () => document.querySelector("#messages .gap") !== null);
    }

    links() {
        return this.page.locator("#messages a").evaluateAll((links) => links.map(({ href, rel, target }) => ({ href, rel, target })));
    }

    untilTokenForm() {
        return this.page.getByLabel("Token", { exact: true }).waitFor();
    }

    async giveToken(token) {
        await this.page.getByLabel("Token", { exact: true }).fill(token);
        await this.page.getByRole("button", { name: "Connect" }).click();
    }

    openRooms() {
        return this.#show("#rooms", "#open-rooms");
    }

    openMembers() {
        return this.#show("#members", "#open-members");
    }

    async #show(panel, button) {
        if (!(await this.page.locator(panel).isVisible())) await this.page.locator(button).click();
        await this.page.locator(panel).waitFor();
    }

    // Closes what lies over the conversation.
    async closeDrawers() {
        await this.page.keyboard.press("Escape");
        await this.visitor.until("no drawer", () => document.querySelector(":popover-open") === null);
    }

    isFocused(selector) {
        return this.page.evaluate((wanted) => document.activeElement?.matches(wanted) ?? false, selector);
    }

    async pressUntilFocus(selector, key) {
        for (let pressed = 0; pressed < 60; pressed += 1) {
            if (await this.isFocused(selector)) return;
            await this.page.keyboard.press(key);
        }
        throw new Error(`${key} does not lead to ${selector}`);
    }

    // How the focused element is told from the others: its outline, border, shadow or background, or those of its parent.
    async assertFocusVisible() {
        const [name, focused, blurred] = await this.page.evaluate(() => {
            const element = document.activeElement;
            const looks = () =>
                JSON.stringify([element, element.parentElement].map((one) => {
                    const { outlineStyle, outlineWidth, outlineColor, boxShadow, borderColor, backgroundColor } = getComputedStyle(one);
                    return [outlineStyle, outlineWidth, outlineColor, boxShadow, borderColor, backgroundColor];
                }));
            const focused = looks();
            element.blur();
            const blurred = looks();
            element.focus({ preventScroll: true });
            return [`${element.outerHTML.slice(0, 120)}`, focused, blurred];
        });
        assert.notEqual(focused, blurred, `the focus of ${name} is visible`);
    }

    // Presses Tab until it begins again: every element that can be used was reached, and showed its focus.
    async assertAllReached() {
        const all = await this.page.evaluate((focusable) => {
            const usable = [...document.querySelectorAll(focusable)].filter((element) => element.checkVisibility({ visibilityProperty: true }) && !element.disabled && element.tabIndex >= 0);
            usable.forEach((element, at) => (element.dataset.tabStop = at));
            document.activeElement?.blur();
            return usable.map((element) => element.outerHTML.slice(0, 120));
        }, FOCUSABLE);
        const reached = new Set();
        for (let pressed = 0; pressed < all.length * 2 && reached.size < all.length; pressed += 1) {
            await this.page.keyboard.press("Tab");
            const at = await this.page.evaluate(() => document.activeElement?.dataset.tabStop);
            if (at === undefined || reached.has(at)) continue;
            reached.add(at);
            await this.assertFocusVisible();
        }
        const missed = all.filter((_, at) => !reached.has(String(at)));
        assert.deepEqual(missed, [], "all are reached by the Tab key");
    }
}

module.exports = { Chat, COMPOSER, READY };
