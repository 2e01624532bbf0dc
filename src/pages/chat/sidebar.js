/** The rooms: those that were joined, with what is unread, the others, and the field that goes to any. */
import { find, icon, make, setRows, setText } from "./dom.js";
import { counted, hashOfRoom, wrongRoom } from "./text.js";

/** The list shows this many rooms. Typing finds the others. */
const OTHERS_SHOWN_MAX = 100;

/** @typedef {import("./session.js").Session} Session */
/** @typedef {import("./conversation.js").Conversation} Conversation */
/** @typedef {{ row: HTMLLIElement, link: HTMLAnchorElement, badge: HTMLElement, words: HTMLElement }} Row */

export class Sidebar {
    #field = find("go-room", HTMLInputElement);
    #error = find("go-error", HTMLElement);
    #hint = find("go-hint", HTMLElement);
    #joined = find("joined", HTMLUListElement);
    #others = find("others", HTMLUListElement);
    #noOthers = find("no-others", HTMLElement);
    #menuBadge = find("menu-badge", HTMLElement);
    /** @type {Map<Conversation, Row>} */
    #rows = new Map();
    #session;
    #goTo;
    #leave;

    /** @param {Session} session @param {(name: string) => void} goTo @param {(conversation: Conversation) => void} leave */
    constructor(session, goTo, leave) {
        this.#session = session;
        this.#goTo = goTo;
        this.#leave = leave;
        find("go", HTMLFormElement).addEventListener("submit", (event) => {
            event.preventDefault();
            this.#go();
        });
        this.#field.addEventListener("input", () => this.#typed());
        find("refresh", HTMLButtonElement).addEventListener("click", () => session.list());
    }

    focusField() {
        this.#field.focus();
        this.#field.select();
    }

    update() {
        const { conversations, current, unread } = this.#session;
        for (const [conversation, { row }] of this.#rows) {
            if (conversations.get(conversation.name) === conversation) continue;
            row.remove();
            this.#rows.delete(conversation);
        }
        for (const conversation of conversations.values()) this.#describe(conversation, conversation === current);
        const elsewhere = unread - (current?.unread ?? 0);
        this.#menuBadge.hidden = elsewhere === 0;
        setText(this.#menuBadge, short(elsewhere));
        find("joined-section", HTMLElement).hidden = conversations.size === 0;
        this.#listOthers();
    }

    /** @param {Conversation} conversation @param {boolean} isCurrent */
    #describe(conversation, isCurrent) {
        const row = this.#rows.get(conversation) ?? this.#add(conversation);
        const { unread, state } = conversation;
        row.link.ariaCurrent = isCurrent ? "page" : null;
        row.row.className = [isCurrent && "current", unread && "unread", state === "left" && "left"].filter(Boolean).join(" ");
        row.badge.hidden = unread === 0;
        setText(row.badge, short(unread));
        setText(row.words, `${unread ? `, ${unread} unread` : ""}${state === "left" ? ", not joined" : ""}`);
    }

    /** @param {Conversation} conversation */
    #add(conversation) {
        const badge = make("span", { className: "badge", ariaHidden: "true" });
        const words = make("span", { className: "unseen" });
        const link = roomLink(conversation.name, badge, words);
        const leave = make("button", { type: "button", className: "bare small", ariaLabel: `Leave ${conversation.name}`, title: "Leave" }, icon("close"));
        leave.addEventListener("click", () => this.#leave(conversation));
        const row = { row: make("li", {}, link, leave), link, badge, words };
        this.#rows.set(conversation, row);
        this.#joined.append(row.row);
        return row;
    }

    #listOthers() {
        const { listed, conversations } = this.#session;
        const wanted = this.#field.value.trim().toLowerCase();
        const others = (listed ?? []).filter((name) => !conversations.has(name) && name.toLowerCase().includes(wanted));
        const shown = others.slice(0, OTHERS_SHOWN_MAX);
        const more = others.length - shown.length;
        setText(this.#noOthers, noOthers(listed, shown.length, more, wanted));
        this.#noOthers.hidden = this.#noOthers.textContent === "";
        setRows(this.#others, shown, (name) => name, (name) => make("li", {}, roomLink(name)));
    }

    #typed() {
        const name = this.#field.value.trim();
        this.complain(undefined);
        const { listed, conversations } = this.#session;
        const isKnown = listed?.includes(name) || conversations.has(name);
        setText(this.#hint, name && !isKnown && !wrongRoom(name) ? "Press Enter to open this new room." : "");
        this.#listOthers();
    }

    #go() {
        const name = this.#field.value.trim().normalize("NFC");
        if (!name) return this.#field.focus();
        const wrong = wrongRoom(name);
        this.complain(wrong);
        if (wrong) return;
        this.#field.value = "";
        this.#typed();
        this.#goTo(name);
    }

    /** Says why a name cannot be that of a room. @param {string | undefined} wrong */
    complain(wrong) {
        setText(this.#error, wrong ?? "");
        this.#field.ariaInvalid = wrong ? "true" : null;
    }
}

/** @param {string} name @param {Node[]} others */
function roomLink(name, ...others) {
    return make("a", { href: hashOfRoom(name), title: name }, make("bdi", {}, name), ...others);
}

/** @param {number} unread */
function short(unread) {
    return unread > 99 ? "99+" : `${unread}`;
}

/** @param {string[] | undefined} listed @param {number} shown @param {number} more @param {string} wanted */
function noOthers(listed, shown, more, wanted) {
    if (!listed) return "This server does not list its rooms.";
    if (more) return `${counted(more, "further room")}: type to find them.`;
    if (shown) return "";
    return wanted ? "No other room has this in its name." : "Nobody is in any other room.";
}
