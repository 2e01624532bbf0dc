/** Pure: what a page keeps of a room. Everything in it is bounded. No DOM. */
import { dayOf } from "./text.js";

export const ENTRIES_MAX = 500;
/** Of all texts of a room together. */
const CHARS_MAX = 2_000_000;
/** What one says within this time stands under one name. */
const GROUP_MS_MAX = 300_000;
const DRAFTS_MAX = 50;

/** @typedef {import("../roomcast.js").Message} Message */
/** @typedef {import("../roomcast.js").Member} Member */
/** A message, or a place where some are missing. @typedef {{ number: number, at?: number, chars: number, message?: Message }} Entry */
/** @typedef {"sending" | "sent" | "failed"} DraftState */
/** What was written here and has not come back as a message. @typedef {{ id: number, text: string, state: DraftState, reason?: string }} Draft */

let newestDraft = 0;

export class Conversation {
    /** @type {Entry[]} */
    entries = [];
    /** The number of the entry that comes next. */
    next = 0;
    /** How often the entries were cleared. */
    generation = 0;
    unread = 0;
    /** The number of the first entry that was not read when the reader came back. @type {number | undefined} */
    newFrom;
    /** @type {Draft[]} */
    drafts = [];
    /** Changes whenever drafts do. */
    draftsVersion = 0;
    /** What stands in the composer. */
    written = "";
    /** @type {"joining" | "joined" | "left"} */
    state = "joining";
    /** Why it was left, or could not be joined. @type {string | undefined} */
    reason;
    /** @type {number | undefined} */
    count;
    /** @type {Member[] | undefined} */
    members;
    #chars = 0;

    /** @param {string} name */
    constructor(name) {
        this.name = name;
    }

    /** Adds a message behind all others. @param {Message} message @param {boolean} isRead @param {number} now */
    add(message, isRead, now) {
        const at = message.time ?? (message.isLive ? now : undefined);
        const chars = (message.text ?? JSON.stringify(message.data) ?? "").length;
        if (message.isLive && !message.isOwn && !isRead && this.unread++ === 0) this.newFrom = this.next;
        if (message.isOwn) this.#settle(message.text);
        this.#push({ number: this.next, at, chars, message });
    }

    addGap() {
        this.#push({ number: this.next, at: this.entries.at(-1)?.at, chars: 0 });
    }

    /** Forgets what was said, because the room is about to tell its history again. */
    clear() {
        this.entries = [];
        this.generation++;
        this.#chars = this.unread = 0;
        this.newFrom = undefined;
    }

    read() {
        this.unread = 0;
    }

    /** @param {number} number @returns {Entry | undefined} */
    entry(number) {
        return this.entries[number - this.oldest];
    }

    /** The number of the oldest entry that is kept. */
    get oldest() {
        return this.next - this.entries.length;
    }

    /** @param {string} text @returns {Draft} */
    write(text) {
        const draft = { id: ++newestDraft, text, state: /** @type {DraftState} */ ("sending") };
        this.drafts = [...this.drafts, draft].slice(-DRAFTS_MAX);
        this.draftsVersion++;
        this.newFrom = undefined;
        return draft;
    }

    /** @param {Draft} draft @param {DraftState} state @param {string} [reason] */
    mark(draft, state, reason) {
        if (!this.drafts.includes(draft)) return; // it has come back already
        Object.assign(draft, { state, reason });
        this.draftsVersion++;
    }

    /** @param {Draft} draft */
    discard(draft) {
        this.drafts = this.drafts.filter((other) => other !== draft);
        this.draftsVersion++;
    }

    /**
     * An own message has come, so its draft is done. Messages come in the order of drafts, and a hook of the server may
     * have changed the text; one that was given up comes only if its connection ended before the answer.
     * @param {string | undefined} text
     */
    #settle(text) {
        const waiting = this.drafts.filter(({ state }) => state !== "failed");
        const draft = [...waiting, ...this.drafts].find((draft) => draft.text === text) ?? waiting[0];
        if (draft) this.discard(draft);
    }

    /** @param {Entry} entry */
    #push(entry) {
        this.entries.push(entry);
        this.next++;
        this.#chars += entry.chars;
        while (this.entries.length > ENTRIES_MAX || (this.#chars > CHARS_MAX && this.entries.length > 1)) {
            this.#chars -= this.entries.shift()?.chars ?? 0;
        }
    }
}

/** Whether an entry begins a new day for the reader. @param {Entry | undefined} previous @param {Entry} entry */
export function beginsDay(previous, entry) {
    if (entry.at === undefined) return false;
    return previous?.at === undefined || dayOf(previous.at) !== dayOf(entry.at);
}

/** Whether an entry stands under a name of its own. @param {Entry | undefined} previous @param {Entry} entry */
export function beginsGroup(previous, entry) {
    if (!previous?.message || !entry.message) return true;
    const { client, name, user } = previous.message;
    const isSame = client === entry.message.client && name === entry.message.name && user === entry.message.user;
    return !isSame || (entry.at ?? 0) - (previous.at ?? 0) > GROUP_MS_MAX || beginsDay(previous, entry);
}

/** The page's title. @param {number} unread @param {string} room */
export function titleOf(unread, room) {
    return `${unread ? `(${unread > 999 ? "999+" : unread}) ` : ""}${room ? `${room} · ` : ""}Roomcast`;
}
