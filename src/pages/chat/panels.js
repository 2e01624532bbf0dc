/** The panels beside the conversation, which are columns or drawers, and what the one for members shows. */
import { find, make, setText } from "./dom.js";
import { monogram } from "./rows.js";
import { counted } from "./text.js";

/** @typedef {import("./conversation.js").Conversation} Conversation */
/** @typedef {import("./conversation.js").Member} Member */

/** The same widths stand in chat.css. */
const roomsFit = matchMedia("(min-width: 48rem)"), membersFit = matchMedia("(min-width: 68rem)");

/** Lays the panels out: columns where there is space, drawers where there is not. @param {import("./session.js").Session} session */
export function panels(session) {
    const rooms = find("rooms", HTMLElement), members = find("members", HTMLElement);
    const openRooms = find("open-rooms", HTMLButtonElement), openMembers = find("open-members", HTMLButtonElement);

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

const list = find("member-list", HTMLUListElement);
const note = find("member-note", HTMLElement);
const count = find("member-count", HTMLElement);
/** The members that the list shows, as JSON. */
let listed = "";

/** Shows who is in the room in view. @param {Conversation | undefined} conversation */
export function showMembers(conversation) {
    const members = conversation?.members;
    setText(count, conversation?.count === undefined ? "Members" : counted(conversation.count, "member"));
    setText(note, noteOn(conversation));
    note.hidden = note.textContent === "";
    const key = JSON.stringify(members ?? []);
    if (key === listed) return;
    listed = key;
    list.replaceChildren(...(members ?? []).map(rowOf));
}

/** @param {Conversation | undefined} conversation */
function noteOn(conversation) {
    if (conversation?.members || !conversation) return "";
    if (conversation.count !== undefined) return "Too many to be listed.";
    return conversation.state === "joined" ? "Not known yet." : "";
}

/** @param {Member} member */
function rowOf({ name, isOwn }) {
    const row = make("li", { className: isOwn ? "own" : "" }, monogram(name), make("bdi", { title: name }, name));
    if (isOwn) row.append(make("span", { className: "tag" }, "you"));
    return row;
}
