/** The line that says how the connection is, and the panel of a server that has refused for good. */
import { find, write } from "./dom.js";

/** @typedef {import("./session.js").Session} Session */

/** How long "Connected again" is shown. */
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
        if (state === "connected") this.#returned();
        else if (state === "refused") this.#refused();
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
        write(this.#countdown, `Next attempt in ${seconds} s.`);
        this.#timer = setTimeout(() => this.#count(retryAt), 1_000);
    }

    #returned() {
        if (!this.#wasLost) return this.#show("none", "");
        this.#wasLost = false;
        this.#show("back", "Connected again.");
        this.#timer = setTimeout(() => this.#show("none", ""), RETURN_MS);
    }

    #refused() {
        const { code, reason = "" } = this.#session.connection;
        const { needsToken, hasToken } = this.#session;
        this.#wasLost = false;
        this.#show("none", "");
        write(find("refused-title", HTMLElement), needsToken ? "This server asks for a token" : "The server does not let you in");
        const isOver = code === 109 || code === 3005 || code === 4011;
        const about = isOver ? "The token has expired." : hasToken ? `The token was refused: ${reason}.` : "You need one to talk here. Whoever runs the server gives it to you.";
        write(find("refused-reason", HTMLElement), needsToken ? about : `It says: ${reason || "no reason"}.`);
        find("token-form", HTMLFormElement).hidden = !needsToken;
        find("refused-retry", HTMLButtonElement).hidden = needsToken;
    }

    /** @param {"none" | "first" | "trying" | "lost" | "back"} state @param {string} text */
    #show(state, text) {
        this.#line.dataset.state = state;
        write(this.#text, text);
        this.#countdown.hidden = this.#retry.hidden = state !== "lost";
    }
}
