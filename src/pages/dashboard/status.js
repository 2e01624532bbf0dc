// What stands on top: the verdict, who the server is, and what to do where there are no figures.
//
// Assistive technology hears of the verdict when its level changes, and not of figures in its sentences.

import { List, html, setAttribute } from "./dom.js";
import { byId, setText } from "../elements.js";
import { clock, date, duration } from "./format.js";
import { SPAN_SECONDS } from "./history.js";
import { clusterPhrase, levelWord } from "./words.js";

/** @typedef {import("./stats.js").Stats} Stats */
/** @typedef {import("./poller.js").State} State */

export class Status {
    #verdict = byId("verdict", HTMLElement);
    #word = byId("verdict-word", HTMLElement);
    #announcement = byId("announcement", HTMLElement);
    #retry = byId("retry", HTMLElement);
    #since = byId("since", HTMLElement);
    #key = byId("key", HTMLInputElement);
    #keyError = byId("key-error", HTMLElement);
    #sentences = new List(byId("verdict-sentences", HTMLElement), () => {
        const element = html("li");
        return { element, update: (/** @type {string} */ sentence) => setText(element, sentence) };
    });
    /** @type {number | undefined} Unix ms of the browser's clock when the newest figures came */
    #lastAnswer;

    /**
     * @param {object} actions
     * @param {() => void} actions.retry
     * @param {(key: string) => void} actions.unlock
     */
    constructor({ retry, unlock }) {
        this.#retry.addEventListener("click", retry);
        byId("unlock", HTMLFormElement).addEventListener("submit", (event) => {
            event.preventDefault();
            unlock(this.#key.value);
        });
    }

    /** @param {Stats} stats */
    show(stats) {
        this.#lastAnswer = Date.now();
        const { level, sentences } = stats.verdict;
        this.#judge(level, levelWord(level), sentences);
        setText(byId("node", HTMLElement), stats.node);
        setText(byId("version", HTMLElement), stats.version);
        setText(byId("uptime", HTMLElement), duration(stats.uptime));
        setAttribute(byId("uptime", HTMLElement), "title", `since ${date(stats.now - stats.uptime * 1000)}`);
        byId("cluster-fact", HTMLElement).hidden = stats.cluster === undefined;
        if (stats.cluster) setText(byId("cluster", HTMLElement), clusterPhrase(stats.cluster));
        document.title = `${level === "ok" ? "" : `${levelWord(level)}: `}${stats.node} · Roomcast dashboard`;
        this.#since.hidden = stats.uptime >= SPAN_SECONDS;
        setText(this.#since, `The server started ${duration(stats.uptime)} ago.`);
    }

    /**
     * @param {State} state
     * @param {{ isKeyRefused: boolean }} detail
     */
    enter(state, { isKeyRefused }) {
        const isUnlocked = document.documentElement.dataset.state === "locked" && state === "live";
        document.documentElement.dataset.state = state;
        for (const [id, states] of Object.entries({ locked: ["locked"], off: ["off"], verdict: ["loading", "live", "lost"] })) {
            byId(id, HTMLElement).hidden = !states.includes(state);
        }
        byId("figures", HTMLElement).hidden = this.#lastAnswer === undefined || state === "locked" || state === "off";
        this.#retry.hidden = state !== "lost";
        if (state === "lost") this.#lose();
        if (state === "locked") this.#lock(isKeyRefused);
        else this.#key.value = "";
        if (isUnlocked) this.#word.focus();
    }

    #lose() {
        const last = this.#lastAnswer;
        const sentence =
            last === undefined
                ? "The server does not answer."
                : `The server has not answered since ${clock(last)}. The figures below are from then.`;
        this.#judge("unknown", "No answer", [sentence, "This page goes on trying."]);
        document.title = "No answer · Roomcast dashboard";
    }

    /** @param {boolean} isKeyRefused */
    #lock(isKeyRefused) {
        document.title = "Key needed · Roomcast dashboard";
        const error = "The server does not take this key for figures. Check it, and that it has the right “info”.";
        setText(this.#keyError, isKeyRefused ? error : "");
        setAttribute(this.#key, "aria-invalid", String(isKeyRefused));
        if (isKeyRefused) this.#key.select();
        this.#key.focus();
    }

    /**
     * @param {string} level
     * @param {string} word
     * @param {string[]} sentences
     */
    #judge(level, word, sentences) {
        const isNews = this.#verdict.dataset.level !== level;
        setAttribute(this.#verdict, "data-level", level);
        setText(this.#word, word);
        this.#sentences.update(sentences);
        if (isNews) setText(this.#announcement, `${word}. ${sentences.join(" ")}`);
    }
}
