/** Events of the client module's classes. */

// Symbols for methods that are private to the module.
export const emit = Symbol("emit"), hears = Symbol("hears");
export const prepare = Symbol("prepare"), enter = Symbol("enter"), push = Symbol("push"), lose = Symbol("lose");
export const relabel = Symbol("relabel");

/** @template {Record<string, any>} Events */
export class Emitter {
    /** @type {{ name: keyof Events, listener: (event: any) => void }[]} */
    #entries = [];
    #names;

    /** @param {(keyof Events)[]} names Of all events that there are. */
    constructor(names) {
        this.#names = names;
    }

    /**
     * Calls the listener on each event of this name. Returns a function that stops it.
     * @throws {TypeError} There is no such event, or the listener is no function.
     * @template {keyof Events} Name @param {Name} name @param {(event: Events[Name]) => void} listener
     * @returns {() => void}
     */
    on(name, listener) {
        if (!this.#names.includes(name)) throw new TypeError(`no event ${String(name)}: there are ${this.#names.join(", ")}`);
        if (typeof listener !== "function") throw new TypeError(`on(${JSON.stringify(name)}, …) takes a function`);
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
