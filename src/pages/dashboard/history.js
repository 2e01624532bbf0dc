// The last ten minutes as the page knows them: the server's ring of samples, merged answer by answer. Without the DOM.
//
// Never longer than SPAN_SECONDS. A restart of the server keeps what was known of the time before.

/** @typedef {import("./stats.js").Stats} Stats */
/** @typedef {import("./stats.js").Samples} Samples */

export const SPAN_SECONDS = 600;

/** A change of the server's start by more than this is a restart: both clocks are read a moment apart. */
const START_TOLERANCE_MS = 5000;

/** @returns {Samples} */
const nothing = () => ({
    at: [],
    clients: [],
    rooms: [],
    published: [],
    delivered: [],
    p50: [],
    p99: [],
    pending_bytes: [],
    memory_bytes: [],
    load: [],
    cut: [],
});

export class History {
    /** @type {Samples} */
    samples = nothing();
    /** @type {number | undefined} the number of the newest sample, to be sent as `since`; undefined asks for all */
    since;
    /** @type {number | undefined} Unix ms */
    #startedAt;

    /** The Unix second of the newest sample, undefined before the first. */
    get end() {
        return this.samples.at.at(-1);
    }

    /** @param {Stats} stats an answer to a request with `since` */
    merge(stats) {
        const { next, ...incoming } = stats.samples;
        const startedAt = stats.now - stats.uptime * 1000;
        const isRestarted = this.#startedAt !== undefined && Math.abs(startedAt - this.#startedAt) > START_TOLERANCE_MS;
        const isBehind = this.since !== undefined && next < this.since;
        const hadAll = this.since === undefined;
        this.#append(incoming);
        this.since = !hadAll && (isRestarted || isBehind) ? undefined : next;
        this.#startedAt = startedAt;
    }

    /** @param {Samples} incoming */
    #append(incoming) {
        if (incoming.at.length === 0) return;
        const { at } = this.samples;
        const oldest = (incoming.at.at(-1) ?? 0) - SPAN_SECONDS;
        const isKept = (/** @type {number} */ moment) => moment >= oldest && moment < incoming.at[0];
        const from = at.findIndex(isKept);
        const to = from < 0 ? from : at.findLastIndex(isKept) + 1;
        const first = incoming.at.findIndex((moment) => moment >= oldest);
        const merged = nothing();
        for (const column of /** @type {(keyof Samples)[]} */ (Object.keys(merged))) {
            const known = from < 0 ? [] : this.samples[column].slice(from, to);
            merged[column] = /** @type {number[]} */ ([...known, ...incoming[column].slice(first)]);
        }
        this.samples = merged;
    }
}
