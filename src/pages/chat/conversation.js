/** Pure: what a page keeps of a room. Everything in it is bounded. No DOM. */
import { dayOf } from "./text.js";

export const ENTRIES_MAX = 500;
/** Limits the characters that all entries of a room hold together. */
const CHARS_MAX = 2_000_000;
/** Messages of one author within this time stand under one name. */
const GROUP_MS_MAX = 300_000;
const DRAFTS_MAX = 50;

/** @typedef {import("../roomcast.js").Message} Message */
/** @typedef {import("../roomcast.js").Member} Member */
/** `isNew` tells whether this page has not had the message before. @typedef {Message & { isNew?: boolean }} Received */
/**
 * What is kept of a message: its text, or its data as compact JSON.
 * @typedef {{ text: string, isJson: boolean, name: string, client: string, user: string, isOwn: boolean, offset?: number }} Kept
 */
/** A message, or a place where some are missing. @typedef {{ number: number, at?: number, chars: number, message?: Kept }} Entry */
/** @typedef {"sending" | "sent" | "failed"} DraftState */
/**
 * A message that was written here and has not come back. `isLost`: the connection ended before the server answered.
 * @typedef {{ id: number, text: string, at: number, state: DraftState, reason?: string, isLost?: boolean }} Draft
 */

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
    /** The text in the composer while this room is in view, kept while another one is. */
    composerText = "";
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

    /** Adds a message behind all others. @param {Received} message @param {boolean} isRead @param {number} now */
    add(message, isRead, now) {
        const { isOwn, isLive, isNew = isLive, time } = message;
        const kept = keptOf(message);
        if (isNew && !isOwn && !isRead && this.unread++ === 0) this.newFrom = this.next;
        if (isOwn) this.#settle(message);
        const chars = kept.text.length + kept.name.length + kept.client.length + kept.user.length;
        this.#push({ number: this.next, at: time ?? (isLive ? now : undefined), chars, message: kept });
    }

    /** Marks that messages are missing here. */
    addGap() {
        this.#push({ number: this.next, at: this.entries.at(-1)?.at, chars: 0 });
        this.#forgetSent();
    }

    /** Removes all entries, because the room is about to give its history again. */
    clear() {
        this.entries = [];
        this.generation++;
        this.#chars = this.unread = 0;
        this.newFrom = undefined;
        this.#forgetSent();
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

    /** Adds a draft; `undefined` if too many are waiting or have failed. @param {string} text @param {number} now @returns {Draft | undefined} */
    addDraft(text, now) {
        if (this.drafts.length >= DRAFTS_MAX) this.#forgetSent();
        if (this.drafts.length >= DRAFTS_MAX) return undefined;
        /** @type {Draft} */
        const draft = { id: ++newestDraft, text, at: now, state: "sending" };
        this.#setDrafts([...this.drafts, draft]);
        this.newFrom = undefined;
        return draft;
    }

    /** @param {Draft} draft */
    markSent(draft) {
        this.#mark(draft, { state: "sent" });
    }

    /** @param {Draft} draft @param {string} reason @param {boolean} isLost */
    markFailed(draft, reason, isLost) {
        this.#mark(draft, { state: "failed", reason, isLost });
    }

    /** @param {Draft} draft */
    discard(draft) {
        this.#setDrafts(this.drafts.filter((other) => other !== draft));
    }

    /** @param {Draft} draft @param {Partial<Draft>} change */
    #mark(draft, change) {
        if (!this.drafts.includes(draft)) return; // its message has come already
        Object.assign(draft, change);
        this.draftsVersion++;
    }

    /** @param {Draft[]} drafts */
    #setDrafts(drafts) {
        this.drafts = drafts;
        this.draftsVersion++;
    }

    /** The server has taken these drafts, but their messages may never be pushed: the history has them. */
    #forgetSent() {
        this.#setDrafts(this.drafts.filter(({ state }) => state !== "sent"));
    }

    /**
     * Removes the draft of an own message. Live messages come in the order of drafts, and a hook of the server may have
     * changed the text. History has older messages too, so only a lost draft of the same text can be meant.
     * @param {Received} message
     */
    #settle({ text, isLive, time = 0 }) {
        const waiting = this.drafts.filter(({ state }) => state !== "failed");
        const lost = this.drafts.filter(({ isLost }) => isLost);
        const candidates = isLive ? [...waiting, ...lost] : lost.filter(({ at }) => at <= time);
        const draft = candidates.find((draft) => draft.text === text) ?? (isLive ? waiting[0] : undefined);
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

/** @param {Received} message @returns {Kept} */
function keptOf({ text, data, name, client, user, isOwn, offset }) {
    return { text: text ?? compact(data), isJson: text === undefined, name, client, user, isOwn, offset };
}

/** @param {unknown} data */
function compact(data) {
    try {
        return JSON.stringify(data) ?? "";
    } catch { // engines limit how deeply data may be nested
        return "(data that this browser cannot show)";
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
