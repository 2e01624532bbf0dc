/** The forms for a message, a nick and a token, and the line that says how the connection is. */
import { byId, setText } from "../elements.js";
import { wrongNick } from "./text.js";

/** @typedef {import("./session.js").Session} Session */
/** @typedef {import("./conversation.js").Conversation} Conversation */

const TOO_MANY = "Too many messages wait or have failed. Send them again or discard them first.";

/** The field for a message. Enter sends, and each room keeps its own unsent text. */
export class Composer {
    #form = byId("composer", HTMLFormElement);
    #field = byId("text", HTMLTextAreaElement);
    #error = byId("composer-error", HTMLElement);
    /** @type {Conversation | undefined} */
    #conversation;

    /** @param {(conversation: Conversation, text: string) => boolean} say Whether the text was taken. */
    constructor(say) {
        this.#form.addEventListener("submit", (event) => {
            event.preventDefault();
            const text = this.#field.value.replace(/\r\n?/g, "\n").trimEnd();
            if (!this.#conversation || !text) return;
            const isTaken = say(this.#conversation, text);
            if (isTaken) this.#fill("");
            else setText(this.#error, TOO_MANY);
        });
        this.#field.addEventListener("keydown", (event) => {
            if (event.key !== "Enter" || event.shiftKey || isComposing(event)) return;
            event.preventDefault();
            this.#form.requestSubmit();
        });
        this.#field.addEventListener("input", () => this.#typed());
    }

    /** @param {Conversation | undefined} conversation */
    show(conversation) {
        if (conversation === this.#conversation) return;
        this.#conversation = conversation;
        this.#field.ariaLabel = conversation ? `Message to ${conversation.name}` : "Message";
        this.#field.value = conversation?.composerText ?? "";
        setText(this.#error, "");
        this.#fit();
    }

    /** Puts a text back to be changed. @param {string} text */
    edit(text) {
        const { value } = this.#field;
        this.#fill(value ? `${value}\n${text}` : text);
        this.focus();
    }

    focus() {
        this.#field.focus();
    }

    /** @param {string} text */
    #fill(text) {
        this.#field.value = text;
        this.#typed();
    }

    #typed() {
        setText(this.#error, "");
        if (this.#conversation) this.#conversation.composerText = this.#field.value;
        this.#fit();
    }

    /** Grows with the text, where style sheets cannot say so. */
    #fit() {
        if (CSS.supports("field-sizing", "content")) return;
        this.#field.style.height = "auto";
        this.#field.style.height = `${this.#field.scrollHeight + 2}px`;
    }
}

/** Whether the key belongs to an input method. Safari has ended the composition by then, and only the code tells. @param {KeyboardEvent} event */
export function isComposing(event) {
    return event.isComposing || event.keyCode === 229;
}

/** The name of a guest: asked for once, gently, and changed at any time. */
export class NickForm {
    #form = byId("nick-form", HTMLFormElement);
    #field = byId("nick", HTMLInputElement);
    #error = byId("nick-error", HTMLElement);
    #title = byId("nick-title", HTMLElement);
    #cancel = byId("nick-cancel", HTMLButtonElement);
    #me = byId("me", HTMLButtonElement);
    #name = byId("me-name", HTMLElement);
    #session;
    #closed;
    /** The refusal that the form has shown. @type {string | undefined} */
    #shownError;

    /** @param {Session} session @param {() => void} closed Takes the focus when the form goes. */
    constructor(session, closed) {
        this.#session = session;
        this.#closed = closed;
        this.#show(!session.nick);
        this.#me.addEventListener("click", () => this.#form.hidden ? this.#open() : this.close());
        this.#cancel.addEventListener("click", () => this.close());
        this.#field.addEventListener("input", () => this.#complain(undefined));
        this.#form.addEventListener("submit", (event) => {
            event.preventDefault();
            this.#save();
        });
    }

    update() {
        const { label, nick, hasToken, nickError } = this.#session;
        setText(this.#name, label ?? (hasToken ? "the user of your token" : nick ?? "a guest"));
        this.#me.disabled = hasToken;
        if (hasToken) this.#show(false);
        else if (nickError && nickError !== this.#shownError) this.#refuse(nickError);
        this.#shownError = nickError;
        setText(this.#title, nick ? "Change your name" : "What should others call you?");
        setText(this.#cancel, nick ? "Cancel" : "Not now");
    }

    /** Whether there was a form to close. */
    close() {
        const wasOpen = !this.#form.hidden;
        this.#show(false);
        if (wasOpen) this.#closed();
        return wasOpen;
    }

    #open() {
        this.#field.value = this.#session.nick ?? "";
        this.#show(true);
        this.#field.focus();
        this.#field.select();
    }

    /** Opens the form with the reason, and leaves the focus where it is. @param {string} reason */
    #refuse(reason) {
        this.#show(true);
        this.#complain(reason);
    }

    async #save() {
        const nick = this.#field.value.trim();
        if (!nick) return this.#field.focus();
        const wrong = wrongNick(nick);
        if (wrong) return this.#insist(wrong);
        try {
            await this.#session.rename(nick);
            this.close();
        } catch (error) {
            this.#insist(`This name cannot be had: ${error instanceof Error ? error.message : error}.`);
        }
    }

    /** @param {string | undefined} wrong */
    #complain(wrong) {
        setText(this.#error, wrong ?? "");
        this.#field.ariaInvalid = wrong ? "true" : null;
    }

    /** @param {string} wrong */
    #insist(wrong) {
        this.#complain(wrong);
        this.#field.focus();
    }

    /** @param {boolean} isOpen */
    #show(isOpen) {
        this.#form.hidden = !isOpen;
        this.#me.ariaExpanded = `${isOpen}`;
        if (!isOpen) this.#complain(undefined);
    }
}

/** A token that has expired: the error of `connect`, and the codes of closing. */
const EXPIRED_CODES = new Set([109, 3005, 4011]);
/** "Connected again" is shown this long. */
const RETURN_MS = 4_000;
/** @type {Record<number, string>} */
const CAUSES = {
    1001: "The server is restarting.", 3001: "The server is restarting.",
    1013: "The server has too many connections.", 3013: "The server has too many connections.",
    3008: "The connection was too slow, and the server has ended it.", 4008: "The connection was too slow, and the server has ended it.",
};

/** The line that says how the connection is, and the panel of a server that has refused for good. */
export class Status {
    #line = byId("state", HTMLElement);
    #text = byId("state-text", HTMLElement);
    #countdown = byId("state-countdown", HTMLElement);
    #retry = byId("retry", HTMLButtonElement);
    #token = byId("token", HTMLInputElement);
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    #timer;
    #wasLost = false;
    #session;

    /** @param {Session} session */
    constructor(session) {
        this.#session = session;
        this.#retry.addEventListener("click", () => session.retry());
        byId("refused-retry", HTMLButtonElement).addEventListener("click", () => session.retry());
        byId("use-token", HTMLButtonElement).addEventListener("click", () => session.askForToken());
        byId("token-cancel", HTMLButtonElement).addEventListener("click", () => session.goOnAsGuest());
        byId("token-form", HTMLFormElement).addEventListener("submit", (event) => {
            event.preventDefault();
            const token = this.#token.value.trim();
            this.#token.value = "";
            if (token) session.useToken(token);
            else this.#token.focus();
        });
        for (const name of ["online", "offline"]) addEventListener(name, () => this.update());
    }

    update() {
        clearTimeout(this.#timer);
        const { state } = this.#session.connection;
        if (state === "refused" || this.#session.wantsToken) this.#refused();
        else if (state === "connected") this.#returned();
        else if (state === "waiting") this.#waiting();
        else this.#connecting();
    }

    #connecting() {
        this.#show(this.#wasLost ? "trying" : "first", this.#wasLost ? "Connecting again…" : "Connecting…");
    }

    #waiting() {
        this.#wasLost = true;
        const { code = 0, retryAt = 0 } = this.#session.connection;
        const cause = CAUSES[code] ?? (this.#session.wasConnected ? "The connection was lost." : "The server cannot be reached.");
        this.#show("lost", navigator.onLine ? cause : "You are offline.");
        this.#count(retryAt);
    }

    /** Counts the seconds down. Screen readers hear the cause only, once. @param {number} retryAt */
    #count(retryAt) {
        const seconds = Math.max(1, Math.ceil((retryAt - Date.now()) / 1_000));
        setText(this.#countdown, `Next attempt in ${seconds} s.`);
        this.#timer = setTimeout(() => this.#count(retryAt), 1_000);
    }

    #returned() {
        if (!this.#wasLost) return this.#show("none", "");
        this.#wasLost = false;
        this.#show("back", "Connected again.");
        this.#timer = setTimeout(() => this.#show("none", ""), RETURN_MS);
    }

    #refused() {
        const { needsToken, canGoOnAsGuest } = this.#session;
        this.#wasLost = false;
        this.#show("none", "");
        const [title, reason] = refusal(this.#session);
        setText(byId("refused-title", HTMLElement), title);
        setText(byId("refused-reason", HTMLElement), reason);
        byId("token-form", HTMLFormElement).hidden = !needsToken;
        byId("refused-retry", HTMLButtonElement).hidden = needsToken;
        byId("token-cancel", HTMLButtonElement).hidden = !canGoOnAsGuest;
    }

    /** @param {"none" | "first" | "trying" | "lost" | "back"} state @param {string} text */
    #show(state, text) {
        this.#line.dataset.state = state;
        setText(this.#text, text);
        this.#countdown.hidden = this.#retry.hidden = state !== "lost";
    }
}

/** The title and the reason of a refusal. @param {Session} session */
function refusal({ connection: { code = 0, reason = "no reason was given" }, needsToken, hasToken, wantsToken }) {
    if (wantsToken) return ["Who are you?", "A token says who you are, and which rooms you may join."];
    if (!needsToken) return ["The server does not let you in", `It says: ${reason}.`];
    const title = "This server asks for a token";
    if (EXPIRED_CODES.has(code)) return [title, "The token has expired."];
    if (hasToken) return [title, `The token was refused: ${reason}.`];
    return [title, "You need one to talk here. Whoever runs the server gives it to you."];
}
