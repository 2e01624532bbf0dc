/** Elements of one message each. What strangers wrote is only ever a text node or the address of a link. */
import { beginsDay, beginsGroup } from "./conversation.js";
import { make, icon } from "./dom.js";
import { clipped, clock, counted, dayLabel, dayOf, initial, readable, segments } from "./text.js";

/** @typedef {import("./conversation.js").Entry} Entry */
/** @typedef {import("./conversation.js").Draft} Draft */
/** @typedef {import("./conversation.js").Kept} Kept */

/**
 * The row of an entry, with what separates it from the one in front of it.
 * @param {Entry} entry @param {Entry | undefined} previous @param {{ isNew: boolean, now: number }} context
 */
export function rowOf(entry, previous, { isNew, now }) {
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

/** @param {string} name */
export function monogram(name) {
    const letter = initial(name);
    const element = make("span", { className: "monogram", ariaHidden: "true" }, letter);
    if (!letter) element.append(icon("signal"));
    return element;
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
export function draftRow(draft, { again, edit, discard }) {
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
