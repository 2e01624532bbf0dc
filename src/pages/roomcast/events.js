/** Events of the client module's classes. */

// Symbols for methods that are private to the module.
export const emit = Symbol("emit"), hears = Symbol("hears");
export const prepare = Symbol("prepare"), enter = Symbol("enter"), push = Symbol("push"), lose = Symbol("lose");
export const relabel = Symbol("relabel");

/** @template {Record<string, any>} Events */
export class Emitter {
    /** @type {{ name: keyof Events, listener: (event: any) => void }[]} */
    #entries = [];

    /**
     * Calls the listener on each event of this name. Returns a function that stops it.
     * @template {keyof Events} Name @param {Name} name @param {(event: Events[Name]) => void} listener
     * @returns {() => void}
     */
    on(name, listener) {
        const entry = { name, listener };
        this.#entries = [...this.#entries, entry];
        return () => void (this.#entries = this.#entries.filter((other) => other !== entry));
    }

    /** @param {keyof Events} name */
    [hears](name) {
        return this.#entries.some((entry) => entry.name === name);
    }

    /**
     * Calls the listeners. One that throws does not keep the others from the event.
     * @template {keyof Events} Name @param {Name} name @param {Events[Name]} event
     */
    [emit](name, event) {
        for (const entry of this.#entries.filter((entry) => entry.name === name)) {
            if (!this.#entries.includes(entry)) continue; // an earlier listener has stopped it
            try {
                entry.listener(event);
            } catch (error) {
                (globalThis.reportError ?? console.error)(error);
            }
        }
    }
}
