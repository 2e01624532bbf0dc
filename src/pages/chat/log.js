/**
 * The messages of the room in view: follows the newest unless the reader has scrolled up, once per frame at most. What
 * strangers wrote is only ever a text node or the address of a link.
 */
import { beginsDay, beginsGroup, ENTRIES_MAX } from "./conversation.js";
import { hide, icon, make, monogram, setRows } from "./dom.js";
import { byId, setText } from "../elements.js";
import { clipped, clock, counted, dayLabel, dayOf, full, readable, segments, untilMidnight } from "./text.js";

/** More rows than this are made in several frames. */
const ROWS_PER_FRAME_MAX = 50;
/** This many rows in front of the first unread message are shown too. */
const CONTEXT_ROWS = 5;
/** The reader is at the end if no more than this is below. */
const END_PIXELS = 40;
/** Messages that come faster than this are not read out by screen readers. */
const ANNOUNCED_PER_SECOND_MAX = 3;

/** @typedef {import("./conversation.js").Conversation} Conversation */
/** @typedef {import("./conversation.js").Draft} Draft */
/** @typedef {import("./conversation.js").Entry} Entry */
/** @typedef {import("./conversation.js").Kept} Kept */
/** @typedef {(conversation: Conversation, draft: Draft) => void} DraftAction */
/** @typedef {{ again: DraftAction, edit: DraftAction, discard: DraftAction }} DraftActions */

export class Log {
    #scroller = byId("scroller", HTMLElement);
    #log = byId("log", HTMLElement);
    #list = byId("messages", HTMLOListElement);
    #drafts = byId("drafts", HTMLOListElement);
    #start = byId("start", HTMLElement);
    #newest = byId("newest", HTMLButtonElement);
    #newestText = byId("newest-text", HTMLElement);
    #empty = byId("empty", HTMLElement);
    /** @type {Conversation | undefined} */
    #conversation;
    #generation = 0;
    /** Rows stand for the entries from here, */
    #first = 0;
    /** up to here. */
    #next = 0;
    /** As the conversation has had it at the latest look. @type {number | undefined} */
    #newFrom;
    /** The row with the divider in front of what is new. @type {number | undefined} */
    #mark;
    #draftsVersion = -1;
    #isAtEnd = true;
    /** The position at the latest look; a smaller one is the reader's doing. */
    #latestTop = 0;
    /** The entries in front of this one have been in view. */
    #seenTo = 0;
    #recent = { since: 0, count: 0 };
    /** Whether messages come faster than they can be read out. */
    #isFast = false;
    #continue;
    #actions;

    /** @param {DraftActions} actions @param {() => void} continueLater Asks for another `update` in the next frame. */
    constructor(actions, continueLater) {
        this.#actions = actions;
        this.#continue = continueLater;
        this.#scroller.addEventListener("scroll", () => this.#scrolled(), { passive: true });
        this.#newest.addEventListener("click", () => {
            this.toEnd();
            this.#scroller.focus({ preventScroll: true });
        });
        this.#list.addEventListener("mouseover", ({ target }) => {
            if (target instanceof HTMLTimeElement && !target.title) target.title = full(Date.parse(target.dateTime));
        });
        const observer = new ResizeObserver(() => this.#isAtEnd && this.#scrollToEnd());
        for (const element of [this.#scroller, this.#list, this.#drafts]) observer.observe(element);
        this.#renewAtMidnight();
    }

    /** Shows another room. @param {Conversation | undefined} conversation */
    show(conversation) {
        this.#conversation = conversation;
        this.#draftsVersion = -1;
        this.#restart();
    }

    /** Shows what has been added. */
    update() {
        const conversation = this.#conversation;
        if (!conversation) return;
        if (conversation.generation !== this.#generation) return this.#restart();
        this.#remark(conversation);
        const added = conversation.next - this.#next;
        if (added > 0) this.#announce(added);
        if (this.#isAtEnd) this.#follow(conversation);
        else if (conversation.oldest <= this.#next) this.#append(conversation);
        this.#prependOlder(conversation);
        this.#describe(conversation);
    }

    updateDrafts() {
        const conversation = this.#conversation;
        if (!conversation || conversation.draftsVersion === this.#draftsVersion) return;
        this.#draftsVersion = conversation.draftsVersion;
        const { again, edit, discard } = this.#actions;
        setRows(this.#drafts, conversation.drafts, ({ id, state }) => `${id} ${state}`, (draft) => draftRow(draft, {
            again: () => again(conversation, draft),
            edit: () => edit(conversation, draft),
            discard: () => discard(conversation, draft),
        }));
        this.#describe(conversation);
        if (this.#isAtEnd) this.#scrollToEnd();
    }

    toEnd() {
        this.#isAtEnd = true;
        this.update();
        this.#scrollToEnd();
    }

    /** @param {boolean} isBusy Whether history is still to come, which is not read out. */
    setBusy(isBusy) {
        this.#log.ariaBusy = `${isBusy}`;
    }

    #restart() {
        const conversation = this.#conversation;
        this.#log.ariaLive = "off";
        this.#list.replaceChildren();
        if (!conversation) return;
        this.#generation = conversation.generation;
        this.#placeMark(conversation);
        this.#begin(conversation, (this.#mark ?? conversation.next) - CONTEXT_ROWS);
        this.updateDrafts();
        this.#scrollToMark();
        this.#describe(conversation);
    }

    /** Shows the newest rows, and as many as one frame allows if `from` is further back; others follow. @param {Conversation} conversation @param {number} from */
    #begin(conversation, from) {
        this.#isAtEnd = true;
        this.#first = this.#next = Math.max(conversation.oldest, Math.min(from, conversation.next - ROWS_PER_FRAME_MAX));
        this.#append(conversation);
        this.#seenTo = this.#next;
        this.#scrollToEnd();
        if (this.#first > conversation.oldest) this.#continue();
    }

    /** What is new begins at the top of the view if it does not fit below. */
    #scrollToMark() {
        const divider = this.#list.querySelector(".new");
        if (!divider || this.#mark === undefined) return;
        const top = divider.getBoundingClientRect().top - this.#scroller.getBoundingClientRect().top;
        const isWhole = this.#next === this.#conversation?.next;
        if (top >= 0 && isWhole) return;
        this.#isAtEnd = false;
        this.#seenTo = this.#mark;
        this.#scroller.scrollTop += top - 16;
    }

    /** @param {Conversation} conversation */
    #follow(conversation) {
        if (conversation.oldest > this.#next) return this.#restart(); // more have come than are kept
        this.#append(conversation);
        const surplus = Math.max(this.#list.childElementCount - ENTRIES_MAX, conversation.oldest - this.#first);
        for (let count = 0; count < surplus; count++) this.#list.firstElementChild?.remove();
        if (surplus > 0) this.#redraw(conversation, this.#first += surplus);
        this.#seenTo = this.#next;
        this.#scrollToEnd();
    }

    /** Adds rows below. Of a reader who has scrolled up, no row is taken away, so that there is an end to adding. @param {Conversation} conversation */
    #append(conversation) {
        const space = this.#isAtEnd ? ROWS_PER_FRAME_MAX : Math.min(ROWS_PER_FRAME_MAX, ENTRIES_MAX - this.#list.childElementCount);
        const end = Math.min(conversation.next, this.#next + space);
        if (end === this.#next) return;
        this.#list.append(this.#rows(conversation, this.#next, end));
        this.#next = end;
        if (end < conversation.next) this.#continue();
    }

    /** @param {Conversation} conversation */
    #prependOlder(conversation) {
        const room = ENTRIES_MAX - this.#list.childElementCount;
        const from = Math.max(conversation.oldest, this.#first - Math.min(ROWS_PER_FRAME_MAX, room));
        const anchor = this.#list.firstElementChild;
        if (from >= this.#first || !(anchor instanceof HTMLElement)) return;
        const top = anchor.offsetTop - this.#scroller.scrollTop;
        this.#log.ariaLive = "off";
        anchor.before(this.#rows(conversation, from, this.#first));
        const formerFirst = this.#first;
        this.#first = from;
        const redrawn = this.#redraw(conversation, formerFirst);
        if (this.#isAtEnd) this.#scrollToEnd();
        else if (redrawn) this.#scroller.scrollTop = redrawn.offsetTop - top;
        this.#continue();
    }

    /** @param {Conversation} conversation @param {number} from @param {number} end */
    #rows(conversation, from, end) {
        const rows = document.createDocumentFragment();
        for (let number = from; number < end; number++) rows.append(this.#row(conversation, number) ?? "");
        return rows;
    }

    /** @param {Conversation} conversation @param {number} number */
    #row(conversation, number) {
        const entry = conversation.entry(number);
        const isNew = number === this.#mark;
        return entry && rowOf(entry, conversation.entry(number - 1), { isNew, now: Date.now() });
    }

    /** @param {Conversation} conversation @param {number | undefined} number */
    #redraw(conversation, number) {
        const former = number === undefined ? undefined : this.#list.children[number - this.#first];
        const row = number !== undefined && former && this.#row(conversation, number);
        if (!row) return undefined;
        former.replaceWith(row);
        return row;
    }

    /** The divider in front of what is new moves or goes. @param {Conversation} conversation */
    #remark(conversation) {
        if (conversation.newFrom === this.#newFrom) return;
        const former = this.#mark;
        this.#placeMark(conversation);
        this.#redraw(conversation, former);
        this.#redraw(conversation, this.#mark);
    }

    /** @param {Conversation} conversation */
    #placeMark({ newFrom, oldest }) {
        this.#newFrom = newFrom;
        this.#mark = newFrom === undefined ? undefined : Math.max(newFrom, oldest);
    }

    #scrolled() {
        const { scrollHeight, scrollTop, clientHeight } = this.#scroller;
        const wasAtEnd = this.#isAtEnd;
        const hasGoneUp = scrollTop < this.#latestTop;
        this.#latestTop = scrollTop;
        this.#isAtEnd = scrollHeight - scrollTop - clientHeight <= END_PIXELS;
        // The event of an own scroll comes later, and what lies below may have grown since.
        if (wasAtEnd && !this.#isAtEnd && !hasGoneUp) return this.#stayAtEnd();
        const conversation = this.#conversation;
        if (!conversation) return;
        const isFull = this.#list.childElementCount >= ENTRIES_MAX || this.#next < conversation.oldest;
        if (this.#isAtEnd && !wasAtEnd && isFull && this.#next < conversation.next) this.#catchUp(conversation);
        this.#describe(conversation);
    }

    /** The reader has come to the last row, while more have come than rows may stand here. @param {Conversation} conversation */
    #catchUp(conversation) {
        const from = Math.max(this.#next, conversation.oldest);
        this.#list.replaceChildren();
        this.#begin(conversation, from - CONTEXT_ROWS);
        const row = this.#list.children[from - this.#first];
        if (!row || conversation.next - from < CONTEXT_ROWS) return;
        this.#isAtEnd = false;
        this.#seenTo = from;
        row.scrollIntoView({ block: "end" });
    }

    #stayAtEnd() {
        this.#isAtEnd = true;
        this.#scrollToEnd();
    }

    #scrollToEnd() {
        this.#scroller.scrollTop = this.#scroller.scrollHeight;
        this.#latestTop = this.#scroller.scrollTop;
        hide(this.#newest, true);
    }

    /** @param {Conversation} conversation */
    #describe(conversation) {
        const isEmpty = conversation.entries.length === 0;
        hide(this.#empty, !isEmpty || conversation.state !== "joined" || conversation.drafts.length > 0);
        const [oldest] = conversation.entries;
        hide(this.#start, isEmpty || this.#first > conversation.oldest || oldest.message?.offset === 1);
        if (this.#isAtEnd) this.#seenTo = this.#next;
        const gaps = conversation.entries.filter(({ number, message }) => number >= this.#seenTo && !message);
        const missed = conversation.next - this.#seenTo - gaps.length;
        setText(this.#newestText, missed ? counted(missed, "new message") : "Newest messages");
        this.#newest.classList.toggle("none", missed === 0);
        hide(this.#newest, this.#isAtEnd);
    }

    /** Screen readers read new messages out, but no history and nothing that comes too fast. @param {number} added */
    #announce(added) {
        const now = performance.now();
        if (now - this.#recent.since > 2_000) this.#recent = { since: now, count: 0 };
        this.#recent.count += added;
        if (this.#recent.count > ANNOUNCED_PER_SECOND_MAX * 2) this.#isFast = true;
        else if (this.#recent.count <= 2) this.#isFast = false;
        this.#log.ariaLive = this.#isFast || this.#log.ariaBusy === "true" ? "off" : "polite";
    }

    #renewAtMidnight() {
        setTimeout(() => {
            this.#renewAtMidnight();
            if (this.#isAtEnd) this.#restart();
        }, untilMidnight(Date.now()) + 1_000);
    }
}

/**
 * The row of an entry, with what separates it from the one in front of it.
 * @param {Entry} entry @param {Entry | undefined} previous @param {{ isNew: boolean, now: number }} context
 */
function rowOf(entry, previous, { isNew, now }) {
    const row = make("li");
    if (beginsDay(previous, entry)) row.append(dayDivider(entry.at ?? now, now));
    if (isNew) row.append(make("p", { className: "divider new" }, make("span", {}, "New")));
    const isParted = row.hasChildNodes();
    if (entry.message) fillMessage(row, entry, entry.message, isNew || beginsGroup(previous, entry));
    else row.append(make("p", { className: "gap" }, "Some messages could not be recovered."));
    row.classList.toggle("parted", isParted);
    return row;
}

/** @param {number} moment @param {number} now */
function dayDivider(moment, now) {
    const day = new Date(dayOf(moment));
    const date = [day.getFullYear(), day.getMonth() + 1, day.getDate()].map((part) => `${part}`.padStart(2, "0")).join("-");
    return make("p", { className: "divider" }, make("time", { dateTime: date }, dayLabel(moment, now)));
}

/** @param {HTMLLIElement} row @param {Entry} entry @param {Kept} message @param {boolean} isHead */
function fillMessage(row, entry, message, isHead) {
    row.className = `message${isHead ? " head" : ""}${message.isOwn ? " own" : ""}${message.name ? "" : " backend"}`;
    const name = message.name || "Server";
    if (isHead) row.append(monogram(name), author(name, message.isOwn));
    else row.append(make("span", { className: "unseen" }, make("bdi", {}, name), ": "));
    if (entry.at !== undefined) row.append(timeOf(entry.at));
    row.append(message.isJson ? body("pre", readable(message.text)) : body("p", message.text));
}

/** @param {string} name @param {boolean} isOwn */
function author(name, isOwn) {
    const element = make("span", { className: "author" }, make("bdi", { title: name }, name));
    if (isOwn) element.append(make("span", { className: "tag" }, "you"));
    return element;
}

/** @param {number} moment */
function timeOf(moment) {
    return make("time", { dateTime: new Date(moment).toISOString() }, clock(moment));
}

/** @param {"p" | "pre"} tag @param {string} text */
function body(tag, text) {
    const shown = clipped(text);
    const element = make(tag, { className: "text", dir: tag === "p" ? "auto" : "ltr" }, ...linked(shown, tag));
    if (text === "") element.append(make("span", { className: "note" }, "(an empty message)"));
    if (shown === text) return element;
    const more = make("button", { type: "button", className: "plain more" }, `Show all ${counted(text.length, "character")}`);
    more.addEventListener("click", () => {
        element.replaceChildren(...linked(text, tag));
        more.remove();
        element.tabIndex = -1;
        element.focus({ preventScroll: true });
    });
    element.classList.add("cut");
    return make("div", { className: "long" }, element, more);
}

/** @param {string} text @param {"p" | "pre"} tag */
function linked(text, tag) {
    if (tag === "pre") return [make("code", {}, text)];
    return segments(text).map(({ text, href }) => href === undefined ? text
        : make("a", { href, target: "_blank", rel: "noopener noreferrer" }, text));
}

/**
 * The row of a message that was written here and has not come back.
 * @param {Draft} draft @param {{ again: () => void, edit: () => void, discard: () => void }} actions
 */
function draftRow(draft, { again, edit, discard }) {
    const row = make("li", { className: `message head own draft ${draft.state}` }, body("p", draft.text));
    if (draft.state !== "failed") return row;
    /** @param {string} label @param {string} className @param {() => void} act */
    const button = (label, className, act) => {
        const element = make("button", { type: "button", className }, label);
        element.addEventListener("click", act);
        return element;
    };
    row.append(make("p", { className: "fate" }, icon("warning"), make("span", {}, draft.reason ?? "Not sent."),
        button("Send again", "plain", again), button("Edit", "bare", edit), button("Discard", "bare", discard)));
    return row;
}
