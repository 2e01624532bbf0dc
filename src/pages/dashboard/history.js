// The last ten minutes as the page knows them: the server's ring of samples, merged answer by answer. Without the DOM.
//
// Never longer than SPAN_SECONDS. A restart of the server keeps what was known of the time before.

/** @typedef {import("./stats.js").Stats} Stats */
/** @typedef {import("./stats.js").Samples} Samples */

export const SPAN_SECONDS = 600;

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

    /** The Unix second of the newest sample, undefined before the first. */
    get end() {
        return this.samples.at.at(-1);
    }

    /**
     * A server that was started meanwhile does not know `since`, and has sent all its samples.
     * @param {Stats} stats an answer to a request with `since`
     */
    merge(stats) {
        const { next, ...incoming } = stats.samples;
        this.#append(incoming);
        this.since = next;
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
