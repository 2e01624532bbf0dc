/** The line that says how the connection is, and the panel of a server that has refused for good. */
import { find, setText } from "./dom.js";

/** @typedef {import("./session.js").Session} Session */

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

export class Status {
    #line = find("state", HTMLElement);
    #text = find("state-text", HTMLElement);
    #countdown = find("state-countdown", HTMLElement);
    #retry = find("retry", HTMLButtonElement);
    #token = find("token", HTMLInputElement);
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    #timer;
    #wasLost = false;
    #session;

    /** @param {Session} session */
    constructor(session) {
        this.#session = session;
        this.#retry.addEventListener("click", () => session.retry());
        find("refused-retry", HTMLButtonElement).addEventListener("click", () => session.retry());
        find("use-token", HTMLButtonElement).addEventListener("click", () => session.askForToken());
        find("token-cancel", HTMLButtonElement).addEventListener("click", () => session.goOnAsGuest());
        find("token-form", HTMLFormElement).addEventListener("submit", (event) => {
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
        setText(find("refused-title", HTMLElement), title);
        setText(find("refused-reason", HTMLElement), reason);
        find("token-form", HTMLFormElement).hidden = !needsToken;
        find("refused-retry", HTMLButtonElement).hidden = needsToken;
        find("token-cancel", HTMLButtonElement).hidden = !canGoOnAsGuest;
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
