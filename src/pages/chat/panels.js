/** The panels beside the conversation, for rooms and for members: columns where there is space, drawers where there is not. */
import { icon, make, monogram, setRows } from "./dom.js";
import { byId, setText } from "../elements.js";
import { counted, hashOfRoom, wrongRoom } from "./text.js";

/** The list shows this many rooms. Typing finds the others. */
const OTHERS_SHOWN_MAX = 100;

/** @typedef {import("./session.js").Session} Session */
/** @typedef {import("./conversation.js").Conversation} Conversation */
/** @typedef {import("./conversation.js").Member} Member */
/** @typedef {{ row: HTMLLIElement, link: HTMLAnchorElement, badge: HTMLElement, words: HTMLElement }} Row */

/** The rooms: those that were joined, with what is unread, the others, and the field that goes to any. */
export class Sidebar {
    #field = byId("go-room", HTMLInputElement);
    #error = byId("go-error", HTMLElement);
    #hint = byId("go-hint", HTMLElement);
    #joined = byId("joined", HTMLUListElement);
    #others = byId("others", HTMLUListElement);
    #noOthers = byId("no-others", HTMLElement);
    #menuBadge = byId("menu-badge", HTMLElement);
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
        byId("go", HTMLFormElement).addEventListener("submit", (event) => {
            event.preventDefault();
            this.#go();
        });
        this.#field.addEventListener("input", () => this.#typed());
        byId("refresh", HTMLButtonElement).addEventListener("click", () => session.list());
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
        byId("joined-section", HTMLElement).hidden = conversations.size === 0;
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

/** The same widths stand in chat.css. */
const roomsFit = matchMedia("(min-width: 48rem)"), membersFit = matchMedia("(min-width: 68rem)");

/** Lays the panels out: columns where there is space, drawers where there is not. @param {Session} session */
export function panels(session) {
    const rooms = byId("rooms", HTMLElement), members = byId("members", HTMLElement);
    const openRooms = byId("open-rooms", HTMLButtonElement), openMembers = byId("open-members", HTMLButtonElement);

    const lay = () => {
        rooms.popover = roomsFit.matches ? null : "auto";
        members.popover = membersFit.matches ? null : "auto";
        openRooms.popoverTargetElement = rooms.popover ? rooms : null;
        openMembers.popoverTargetElement = members.popover ? members : null;
        describe();
    };
    const describe = () => {
        openRooms.ariaExpanded = `${isShown(rooms)}`;
        openMembers.ariaExpanded = `${members.popover ? isShown(members) : document.body.dataset.members !== "hidden"}`;
    };
    for (const [panel, button] of /** @type {[HTMLElement, HTMLButtonElement][]} */ ([[rooms, openRooms], [members, openMembers]])) {
        panel.addEventListener("toggle", () => {
            if (panel === rooms && isShown(panel)) session.list();
            describe();
        });
        panel.querySelector(".close")?.addEventListener("click", () => {
            panel.hidePopover();
            button.focus();
        });
    }
    openMembers.addEventListener("click", () => {
        if (members.popover) return; // the browser opens it
        document.body.dataset.members = document.body.dataset.members === "hidden" ? "shown" : "hidden";
        describe();
    });
    for (const fit of [roomsFit, membersFit]) fit.addEventListener("change", lay);
    lay();

    return {
        isOpen: () => isShown(rooms) || isShown(members),
        openRooms() {
            if (rooms.popover && !isShown(rooms)) rooms.showPopover();
        },
        close() {
            for (const panel of [rooms, members]) if (isShown(panel)) panel.hidePopover();
        },
    };
}

/** Whether a drawer is open. @param {HTMLElement} panel */
function isShown(panel) {
    return panel.popover !== null && panel.matches(":popover-open");
}

const memberList = byId("member-list", HTMLUListElement);
const memberNote = byId("member-note", HTMLElement);
const memberCount = byId("member-count", HTMLElement);
/** The members that the list shows, as JSON. */
let listedMembers = "";

/** Shows who is in the room in view. @param {Conversation | undefined} conversation */
export function showMembers(conversation) {
    const members = conversation?.members;
    setText(memberCount, conversation?.count === undefined ? "Members" : counted(conversation.count, "member"));
    setText(memberNote, noteOn(conversation));
    memberNote.hidden = memberNote.textContent === "";
    const key = JSON.stringify(members ?? []);
    if (key === listedMembers) return;
    listedMembers = key;
    memberList.replaceChildren(...(members ?? []).map(memberRow));
}

/** @param {Conversation | undefined} conversation */
function noteOn(conversation) {
    if (conversation?.members || !conversation) return "";
    if (conversation.count !== undefined) return "Too many to be listed.";
    return conversation.state === "joined" ? "Not known yet." : "";
}

/** @param {Member} member */
function memberRow({ name, isOwn }) {
    const row = make("li", { className: isOwn ? "own" : "" }, monogram(name), make("bdi", { title: name }, name));
    if (isOwn) row.append(make("span", { className: "tag" }, "you"));
    return row;
}
