/** Brings the parts of the page together: the address names the room, the session holds the state, views show it. */
import { titleOf } from "./conversation.js";
import { batched, copies, find, write } from "./dom.js";
import { Log } from "./log.js";
import { panels, showMembers } from "./panels.js";
import { Session } from "./session.js";
import { Sidebar } from "./sidebar.js";
import { Status } from "./status.js";
import { hashOfRoom, roomOfHash, wrongRoom } from "./text.js";
import { Composer, NickForm } from "./writing.js";

/** @typedef {import("./conversation.js").Conversation} Conversation */
/** @typedef {import("./session.js").Part} Part */

/** Typing on a screen raises a keyboard, which nobody has asked for by choosing a room. */
const hasKeyboard = matchMedia("(pointer: fine)");
/** The port of terminals unless it was set otherwise; the page has no way to know. */
const TCP_PORT = 8080;

const main = find("main", HTMLElement);
const changed = batched(render);
const session = new Session(changed);
const status = new Status(session);
const sidebar = new Sidebar(session, leave);
const nickForm = new NickForm(session, () => focusComposer());
const composer = new Composer((conversation, text) => {
    session.say(conversation, text);
    log.toEnd();
});
const log = new Log({
    again: (draft) => session.current && session.sayAgain(session.current, draft),
    discard: (draft) => {
        if (session.current) session.discard(session.current, draft);
        composer.focus();
    },
    edit: (draft) => {
        if (session.current) session.discard(session.current, draft);
        composer.edit(draft.text);
    },
}, () => changed("log"));
const drawers = panels(session);

/** @param {Set<Part>} parts */
function render(parts) {
    const { current } = session;
    if (parts.has("server")) status.update();
    if (parts.has("room") || parts.has("server")) showRoom();
    if (parts.has("log")) log.update();
    if (parts.has("drafts")) log.updateDrafts();
    if (parts.has("members") || parts.has("room")) showMembers(current);
    if (parts.has("nick")) nickForm.update();
    if (parts.has("rooms")) {
        sidebar.update();
        write(document.head.querySelector("title") ?? main, titleOf(session.unread, current?.name ?? ""));
    }
}

/** @type {Conversation | undefined} */
let shown;

function showRoom() {
    const { current, connection } = session;
    document.body.dataset.view = main.dataset.view = connection.state === "refused" || session.wantsToken ? "refused" : current ? "room" : "welcome";
    write(find("title", HTMLElement), current?.name ?? "Roomcast");
    for (const code of document.querySelectorAll(".nc")) write(code, `nc ${location.hostname.replace(/[[\]]/g, "")} ${TCP_PORT}\nJOIN ${current?.name ?? "lobby"}`);
    const isLeft = current?.state === "left";
    find("left", HTMLElement).hidden = !isLeft;
    find("writing", HTMLElement).hidden = isLeft;
    find("bottom", HTMLElement).classList.toggle("alone", isLeft && current.entries.length === 0);
    find("use-token", HTMLButtonElement).hidden = session.hasToken;
    write(find("left-reason", HTMLElement), current?.reason ?? "");
    composer.show(current);
    if (current !== shown) log.show(shown = current);
    else log.update();
    log.setBusy(current?.state === "joining");
    find("scroller", HTMLElement).ariaLabel = current ? `Conversation in ${current.name}` : "Conversation";
}

/** Goes where the address says. */
function navigate() {
    const name = roomOfHash(location.hash);
    const wrong = wrongRoom(name);
    sidebar.complain(wrong);
    session.open(wrong ? "" : name);
    drawers.close();
    if (hasKeyboard.matches) queueMicrotask(() => requestAnimationFrame(focusComposer));
}

/** @param {Conversation} conversation */
function leave(conversation) {
    const names = [...session.conversations.keys()];
    const index = names.indexOf(conversation.name);
    session.leave(conversation);
    if (conversation !== session.current) return sidebar.focusField();
    const next = names[index + 1] ?? names[index - 1];
    history.replaceState(null, "", next === undefined ? location.pathname : hashOfRoom(next));
    navigate();
    if (next === undefined && hasKeyboard.matches) sidebar.focusField();
}

function focusComposer() {
    if (main.dataset.view === "room") composer.focus();
    else if (main.dataset.view === "refused") find("token", HTMLInputElement).focus();
}

/** @param {number} step */
function goBy(step) {
    const names = [...session.conversations.keys()];
    if (names.length === 0) return;
    const index = session.current ? names.indexOf(session.current.name) : -1;
    location.hash = hashOfRoom(names[(Math.max(index, step > 0 ? -1 : 0) + step + names.length) % names.length]);
}

/** @param {KeyboardEvent} event */
function pressed(event) {
    const isTyping = event.target instanceof HTMLInputElement || event.target instanceof HTMLTextAreaElement;
    const { key } = event;
    if ((key.toLowerCase() === "k" && (event.ctrlKey || event.metaKey) && !event.shiftKey && !event.altKey) || (key === "/" && !isTyping)) {
        drawers.openRooms();
        sidebar.focusField();
    } else if (event.altKey && (key === "ArrowUp" || key === "ArrowDown")) {
        goBy(key === "ArrowDown" ? 1 : -1);
    } else if (key === "Escape" && !drawers.isOpen()) {
        if (!nickForm.close()) focusComposer();
    } else {
        return;
    }
    event.preventDefault();
}

addEventListener("hashchange", navigate);
addEventListener("keydown", pressed);
find("rejoin", HTMLButtonElement).addEventListener("click", () => session.current && session.rejoin(session.current));
find("leave", HTMLButtonElement).addEventListener("click", () => session.current && leave(session.current));
const link = () => location.origin + location.pathname + (session.current ? hashOfRoom(session.current.name) : "");
copies(find("copy-link", HTMLButtonElement), link);
for (const button of document.querySelectorAll("button.copy-nc")) {
    if (button instanceof HTMLButtonElement) copies(button, () => button.closest(".terminal")?.querySelector("code")?.textContent ?? "");
}
navigate();
nickForm.update();
render(new Set(/** @type {Part[]} */ (["server", "room", "rooms", "members"])));
