/** Who is in the room in view. */
import { find, make, write } from "./dom.js";
import { monogram } from "./rows.js";
import { counted } from "./text.js";

/** @typedef {import("./conversation.js").Conversation} Conversation */
/** @typedef {import("./conversation.js").Member} Member */

const list = find("member-list", HTMLUListElement);
const note = find("member-note", HTMLElement);
const count = find("member-count", HTMLElement);
let shown = "";

/** @param {Conversation | undefined} conversation */
export function showMembers(conversation) {
    const members = conversation?.members;
    write(count, conversation?.count === undefined ? "Members" : counted(conversation.count, "member"));
    write(note, noteOn(conversation));
    note.hidden = note.textContent === "";
    const key = JSON.stringify(members ?? []);
    if (key === shown) return;
    shown = key;
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
