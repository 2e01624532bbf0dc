/** Brings the parts of the page together: the address names the room, the session holds the state, views show it. */
import { titleOf } from "./conversation.js";
import { batched, copies } from "./dom.js";
import { byId, setText } from "../elements.js";
import { Composer, NickForm, Status } from "./forms.js";
import { Log } from "./log.js";
import { panels, showMembers, Sidebar } from "./panels.js";
import { Session } from "./session.js";
import { hashOfRoom, roomOfHash, wrongRoom } from "./text.js";

/** @typedef {import("./conversation.js").Conversation} Conversation */
/** @typedef {import("./session.js").Part} Part */

/** Without a keyboard, the focus in a text field raises one on the screen, which hides half of the conversation. */
const hasKeyboard = matchMedia("(pointer: fine)");
/** The page cannot know the port for terminals: it shows the default one where the server's other defaults hold. */
const hasDefaultPorts = ["localhost", "127.0.0.1", "[::1]"].includes(location.hostname) && location.port === "3000";
const TERMINAL_COMMAND = "nc localhost 8080";
/** The first visible one of these gets the focus when the focused element goes. */
const FOCUS_ORDER = ["text", "rejoin", "token", "refused-retry", "scroller", "go-room", "open-rooms"];

const main = byId("main", HTMLElement);
const changed = batched(render);
const session = new Session(changed);
const status = new Status(session);
const sidebar = new Sidebar(session, goTo, leave);
const nickForm = new NickForm(session, () => focusComposer());
const composer = new Composer((conversation, text) => {
    const isTaken = session.say(conversation, text);
    log.toEnd();
    return isTaken;
});
const log = new Log({
    again(conversation, draft) {
        session.sayAgain(conversation, draft);
        composer.focus();
    },
    discard(conversation, draft) {
        session.discard(conversation, draft);
        composer.focus();
    },
    edit(conversation, draft) {
        session.discard(conversation, draft);
        composer.edit(draft.text);
    },
}, () => changed("log"));
const drawers = panels(session);

/** @param {Set<Part>} parts */
function render(parts) {
    const { current } = session;
    const focused = document.activeElement;
    if (parts.has("server")) status.update();
    if (parts.has("room") || parts.has("server")) showRoom();
    if (parts.has("log")) log.update();
    if (parts.has("drafts")) log.updateDrafts();
    if (parts.has("members") || parts.has("room")) showMembers(current);
    if (parts.has("nick")) nickForm.update();
    if (parts.has("rooms")) {
        sidebar.update();
        setText(document.head.querySelector("title") ?? main, titleOf(session.unread, current?.name ?? ""));
    }
    if (focused && focused.getClientRects().length === 0) focusNext();
}

/** The conversation that the page shows, which is the former one until the next rendering. @type {Conversation | undefined} */
let rendered;

function showRoom() {
    const { current, connection } = session;
    document.body.dataset.view = main.dataset.view = connection.state === "refused" || session.wantsToken ? "refused" : current ? "room" : "welcome";
    setText(byId("title", HTMLElement), current?.name ?? "Roomcast");
    for (const code of document.querySelectorAll(".nc")) setText(code, `${TERMINAL_COMMAND}\nJOIN ${current?.name ?? "lobby"}`);
    const isLeft = current?.state === "left";
    byId("left", HTMLElement).hidden = !isLeft;
    byId("writing", HTMLElement).hidden = isLeft;
    byId("bottom", HTMLElement).classList.toggle("alone", isLeft && current.entries.length === 0);
    byId("use-token", HTMLButtonElement).hidden = session.hasToken;
    setText(byId("left-reason", HTMLElement), current?.reason ?? "");
    composer.show(current);
    if (current !== rendered) log.show(rendered = current);
    else log.update();
    log.setBusy(current?.state === "joining");
    byId("scroller", HTMLElement).ariaLabel = current ? `Conversation in ${current.name}` : "Conversation";
}

/** Goes where the address says. */
function navigate() {
    const name = roomOfHash(location.hash);
    const wrong = wrongRoom(name);
    sidebar.complain(wrong);
    setText(byId("welcome-error", HTMLElement), wrong ?? "");
    session.open(wrong ? "" : name);
    drawers.close();
    if (hasKeyboard.matches) queueMicrotask(() => requestAnimationFrame(focusComposer));
}

/** @param {string} name */
function goTo(name) {
    if (name === roomOfHash(location.hash)) navigate(); // the address stays, so that no event comes
    else location.hash = hashOfRoom(name);
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
    else if (main.dataset.view === "refused") byId("token", HTMLInputElement).focus();
}

function focusNext() {
    const elements = FOCUS_ORDER.map((id) => byId(id, HTMLElement));
    const isUsable = (/** @type {HTMLElement} */ element) => element.getClientRects().length > 0 && (element.id !== "text" || hasKeyboard.matches);
    elements.find(isUsable)?.focus({ preventScroll: true });
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
byId("rejoin", HTMLButtonElement).addEventListener("click", () => rendered && session.rejoin(rendered));
byId("leave", HTMLButtonElement).addEventListener("click", () => rendered && leave(rendered));
byId("rooms", HTMLElement).addEventListener("click", ({ target }) => {
    const anchor = target instanceof Element && target.closest("a");
    if (anchor && anchor.hash && anchor.hash === location.hash) navigate(); // closes the drawer
});
const link = () => location.origin + location.pathname + (session.current ? hashOfRoom(session.current.name) : "");
copies(byId("copy-link", HTMLButtonElement), link);
for (const button of document.querySelectorAll("button.copy-nc")) {
    const terminal = button.closest(".terminal");
    if (terminal instanceof HTMLElement) terminal.hidden = !hasDefaultPorts;
    if (button instanceof HTMLButtonElement) copies(button, () => terminal?.querySelector("code")?.textContent ?? "");
}
navigate();
nickForm.update();
render(new Set(/** @type {Part[]} */ (["server", "room", "rooms", "members"])));
