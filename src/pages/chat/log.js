/** The messages of the room in view: follows the newest unless the reader has scrolled up, once per frame at most. */
import { ENTRIES_MAX } from "./conversation.js";
import { find, write } from "./dom.js";
import { draftRow, rowOf } from "./rows.js";
import { counted } from "./text.js";
import { untilMidnight } from "./times.js";

/** Rows made in one frame. */
const ROWS_PER_FRAME_MAX = 100;
/** The reader is at the end if no more than this is below. */
const END_PIXELS = 40;
/** Messages that come faster than this are not read out by screen readers. */
const ANNOUNCED_PER_SECOND_MAX = 3;

/** @typedef {import("./conversation.js").Conversation} Conversation */
/** @typedef {import("./conversation.js").Draft} Draft */
/** @typedef {{ again: (draft: Draft) => void, edit: (draft: Draft) => void, discard: (draft: Draft) => void }} DraftActions */

export class Log {
    #scroller = find("scroller", HTMLElement);
    #log = find("log", HTMLElement);
    #list = find("messages", HTMLOListElement);
    #drafts = find("drafts", HTMLOListElement);
    #start = find("start", HTMLElement);
    #newest = find("newest", HTMLButtonElement);
    #newestText = find("newest-text", HTMLElement);
    #empty = find("empty", HTMLElement);
    /** @type {Conversation | undefined} */
    #conversation;
    #generation = 0;
    /** Rows stand for the entries from here, */
    #first = 0;
    /** up to here. */
    #next = 0;
    /** @type {number | undefined} */
    #mark;
    #draftsVersion = -1;
    #isAtEnd = true;
    /** The entries in front of this one have been in view. */
    #seenTo = 0;
    #recent = { since: 0, count: 0 };
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
        new ResizeObserver(() => this.#isAtEnd && this.#scrollToEnd()).observe(this.#scroller);
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
        else if (this.#list.childElementCount < ENTRIES_MAX && conversation.oldest <= this.#next) this.#append(conversation);
        this.#prependOlder(conversation);
        this.#describe(conversation);
    }

    updateDrafts() {
        const conversation = this.#conversation;
        if (!conversation || conversation.draftsVersion === this.#draftsVersion) return;
        this.#draftsVersion = conversation.draftsVersion;
        const { again, edit, discard } = this.#actions;
        this.#drafts.replaceChildren(...conversation.drafts.map((draft) => draftRow(draft, {
            again: () => again(draft), edit: () => edit(draft), discard: () => discard(draft),
        })));
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
        this.#list.replaceChildren();
        if (!conversation) return;
        this.#generation = conversation.generation;
        this.#mark = conversation.newFrom;
        this.#isAtEnd = true;
        const shown = Math.max(ROWS_PER_FRAME_MAX, conversation.next - (this.#mark ?? conversation.next) + 5);
        this.#first = this.#next = Math.max(conversation.oldest, conversation.next - shown);
        this.#append(conversation, ENTRIES_MAX);
        this.#seenTo = this.#next;
        this.updateDrafts();
        this.#describe(conversation);
        this.#scrollToEnd();
        this.#scrollToMark();
        if (this.#first > conversation.oldest) this.#continue();
    }

    /** What is new begins at the top of the view if it does not fit below. */
    #scrollToMark() {
        const divider = this.#list.querySelector(".new");
        if (!(divider instanceof HTMLElement)) return;
        const top = divider.getBoundingClientRect().top - this.#scroller.getBoundingClientRect().top;
        if (top < 0) this.#scroller.scrollTop += top - 16;
    }

    /** @param {Conversation} conversation */
    #follow(conversation) {
        if (conversation.oldest > this.#next) return this.#restart(); // more have come than are kept
        this.#append(conversation);
        const surplus = Math.max(this.#list.childElementCount - ENTRIES_MAX, conversation.oldest - this.#first);
        for (let count = 0; count < surplus; count++) this.#list.firstElementChild?.remove();
        if (surplus > 0) this.#redraw(conversation, this.#first += surplus);
        if (this.#next < conversation.next) this.#continue();
        this.#seenTo = this.#next;
        this.#scrollToEnd();
    }

    /** @param {Conversation} conversation @param {number} rowsMax */
    #append(conversation, rowsMax = ROWS_PER_FRAME_MAX) {
        const end = Math.min(conversation.next, this.#next + rowsMax);
        if (end > this.#next) this.#list.append(this.#rows(conversation, this.#next, end));
        this.#next = end;
    }

    /** @param {Conversation} conversation */
    #prependOlder(conversation) {
        const room = ENTRIES_MAX - this.#list.childElementCount;
        const from = Math.max(conversation.oldest, this.#first - Math.min(ROWS_PER_FRAME_MAX, room));
        const anchor = this.#list.firstElementChild;
        if (from >= this.#first || !(anchor instanceof HTMLElement)) return;
        const top = anchor.offsetTop - this.#scroller.scrollTop;
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
        if (conversation.newFrom === this.#mark) return;
        const former = this.#mark;
        this.#mark = conversation.newFrom;
        this.#redraw(conversation, former);
        this.#redraw(conversation, this.#mark);
    }

    #scrolled() {
        const { scrollHeight, scrollTop, clientHeight } = this.#scroller;
        this.#isAtEnd = scrollHeight - scrollTop - clientHeight <= END_PIXELS;
        const conversation = this.#conversation;
        if (!conversation) return;
        if (this.#isAtEnd && this.#next < conversation.next) this.#catchUp(conversation);
        this.#describe(conversation);
    }

    /** The reader has come to the last row, and more than rows could hold has come meanwhile. @param {Conversation} conversation */
    #catchUp(conversation) {
        const from = Math.max(this.#next, conversation.oldest);
        this.#restart();
        const row = this.#list.children[from - this.#first];
        if (!(row instanceof HTMLElement)) return;
        row.scrollIntoView({ block: "end" });
        this.#seenTo = from;
    }

    #scrollToEnd() {
        this.#scroller.scrollTop = this.#scroller.scrollHeight;
        this.#newest.hidden = true;
    }

    /** @param {Conversation} conversation */
    #describe(conversation) {
        const isEmpty = conversation.entries.length === 0;
        this.#empty.hidden = !isEmpty || conversation.state !== "joined" || conversation.drafts.length > 0;
        const [oldest] = conversation.entries;
        this.#start.hidden = isEmpty || this.#first > conversation.oldest || oldest.message?.offset === 1;
        if (this.#isAtEnd) this.#seenTo = this.#next;
        const missed = conversation.next - this.#seenTo;
        write(this.#newestText, missed ? counted(missed, "new message") : "Newest messages");
        this.#newest.dataset.count = `${missed}`;
        this.#newest.hidden = this.#isAtEnd;
    }

    /** Screen readers read messages out as they come, unless they come too fast to be heard. @param {number} added */
    #announce(added) {
        const now = performance.now();
        if (now - this.#recent.since > 2_000) this.#recent = { since: now, count: 0 };
        this.#recent.count += added;
        const isFast = this.#recent.count > ANNOUNCED_PER_SECOND_MAX * 2;
        if (isFast || this.#recent.count <= 2) this.#log.ariaLive = isFast ? "off" : "polite";
    }

    #renewAtMidnight() {
        setTimeout(() => {
            this.#renewAtMidnight();
            if (this.#isAtEnd) this.#restart();
        }, untilMidnight(Date.now()) + 1_000);
    }
}
