// Asks for the figures once a second: never two requests at once, none while the page is hidden, fewer after errors.
// Without the DOM: what it needs of the browser is handed in.

/** @typedef {import("./stats.js").Stats} Stats */

/**
 * "loading" until the first answer; "locked" wants a key (`isKeyRefused`: the one given was not taken); "off" where the
 * server has no figures; "lost" without an answer; "live" otherwise.
 * @typedef {"loading" | "live" | "lost" | "locked" | "off"} State
 */

/**
 * @typedef {object} Environment
 * @property {(url: string, options: { headers: Record<string, string>, signal: AbortSignal, cache: "no-store" }) =>
 *     Promise<{ status: number, json: () => Promise<any>, text: () => Promise<string> }>} fetch
 * @property {(run: () => void, ms: number) => unknown} setTimeout
 * @property {(timer: any) => void} clearTimeout
 * @property {() => number} now monotonic, in ms
 * @property {() => number} random from 0 to 1
 */

/**
 * @typedef {object} Listener
 * @property {() => number | undefined} since the number of the newest sample that is known
 * @property {(stats: Stats) => void} onStats
 * @property {(state: State, detail: { isKeyRefused: boolean }) => void} onState called on each change
 */

/** @typedef {{ status: number, stats?: Stats }} Answer */
/** @typedef {string | undefined} Key */

const PATH = "/dashboard/stats";
const INTERVAL_MS = 1000;
const ANSWER_MS_MAX = 5000;
const BACK_OFF_MS_MAX = 10_000;

/** What a header can carry; other characters make `fetch` throw. */
const POSSIBLE_KEY = /^[\x21-\x7e]+$/;

export class Poller {
    /** @type {State} */
    state = "loading";
    #isKeyRefused = false;
    #isPaused = false;
    #failures = 0;
    /** @type {Key} kept here only, and gone with the page */
    #key;
    #isAsking = false;
    /** @type {unknown} */
    #timer;

    /**
     * @param {Listener} listener
     * @param {Environment} environment
     */
    constructor(listener, environment) {
        this.listener = listener;
        this.environment = environment;
    }

    get isPaused() {
        return this.#isPaused;
    }

    /**
     * Asks at once, unless an answer is awaited or the page is hidden.
     * @returns {Promise<void>}
     */
    async ask() {
        if (this.#isAsking || this.#isPaused) return;
        const { now } = this.environment;
        this.environment.clearTimeout(this.#timer);
        const started = now();
        this.#isAsking = true;
        const key = this.#key;
        const answer = await this.#request(key);
        this.#isAsking = false;
        const isRefused = answer?.status === 401 || answer?.status === 403;
        if (isRefused && this.#key !== key) return this.ask(); // another key was given meanwhile
        try {
            this.#receive(answer);
        } finally {
            this.#schedule(now() - started);
        }
    }

    /** @param {boolean} isPaused */
    pause(isPaused) {
        this.#isPaused = isPaused;
        this.environment.clearTimeout(this.#timer);
        if (!isPaused && this.state !== "locked") void this.ask();
    }

    /** @param {string} key */
    unlock(key) {
        this.#key = key.trim();
        if (!POSSIBLE_KEY.test(this.#key)) return this.#lock();
        void this.ask();
    }

    /**
     * @param {Key} key
     * @returns {Promise<Answer | undefined>} undefined for none in time
     */
    async #request(key) {
        const { fetch, setTimeout, clearTimeout } = this.environment;
        const since = this.listener.since();
        const tooLate = new AbortController();
        const deadline = setTimeout(() => tooLate.abort(), ANSWER_MS_MAX);
        try {
            const url = since === undefined ? PATH : `${PATH}?since=${since}`;
            /** @type {Record<string, string>} */
            const headers = key === undefined ? {} : { "X-API-Key": key };
            const answer = await fetch(url, { headers, signal: tooLate.signal, cache: "no-store" });
            if (answer.status === 200) return { status: 200, stats: await answer.json() };
            await answer.text(); // Chromium reports a request with an unread body as aborted
            return { status: answer.status };
        } catch {
            return undefined;
        } finally {
            clearTimeout(deadline);
        }
    }

    /** @param {Answer | undefined} answer */
    #receive(answer) {
        if (answer?.stats) {
            this.#failures = 0;
            this.#isKeyRefused = false;
            this.listener.onStats(answer.stats);
            this.#enter("live");
        } else if (answer?.status === 401 || answer?.status === 403) this.#lock();
        else if (answer?.status === 404) this.#enter("off");
        else this.#fail();
    }

    /** @param {number} spent ms since the request began */
    #schedule(spent) {
        const wait = this.#wait();
        if (wait === undefined || this.#isPaused) return;
        this.#timer = this.environment.setTimeout(() => void this.ask(), Math.max(0, wait - spent));
    }

    #lock() {
        this.#isKeyRefused = this.#key !== undefined;
        this.#key = undefined;
        this.#enter("locked");
    }

    #fail() {
        this.#failures += 1;
        this.#enter("lost");
    }

    /** @param {State} state */
    #enter(state) {
        const isNews = state !== this.state || state === "locked";
        this.state = state;
        if (isNews) this.listener.onState(state, { isKeyRefused: this.#isKeyRefused });
    }

    /** The time between the starts of two requests in ms, undefined for none: a person must act first. */
    #wait() {
        if (this.state === "locked") return undefined;
        if (this.state === "off") return BACK_OFF_MS_MAX;
        if (this.state !== "lost") return INTERVAL_MS;
        const most = Math.min(BACK_OFF_MS_MAX, INTERVAL_MS * 2 ** (this.#failures - 1));
        return Math.max(INTERVAL_MS, most * (0.5 + this.environment.random() / 2));
    }
}
