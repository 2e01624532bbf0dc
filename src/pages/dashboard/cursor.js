// The moment that all charts read out together: under the pointer, else where the keyboard or a click has set it.
// Without either, charts read out the newest sample. Without the DOM.

export class Cursor {
    /** @type {number | undefined} Unix seconds */
    #hovered;
    /** @type {number | undefined} */
    #pinned;
    /** @type {Set<() => void>} */
    #listeners = new Set();

    get moment() {
        return this.#hovered ?? this.#pinned;
    }

    /** @param {() => void} listener called when the moment has changed */
    onChange(listener) {
        this.#listeners.add(listener);
    }

    /** @param {number | undefined} moment */
    hover(moment) {
        this.#change(() => (this.#hovered = moment));
    }

    /** @param {number | undefined} moment */
    pin(moment) {
        this.#change(() => (this.#pinned = moment));
    }

    /** @param {() => void} act */
    #change(act) {
        const before = this.moment;
        act();
        if (this.moment !== before) for (const listener of this.#listeners) listener();
    }
}
