// Waiting for what an SDK says, each time until a deadline.
"use strict";

const DEADLINE_MS = 120_000; // a failsafe

// The value of a promise; an error that names what was awaited if it takes too long.
function within(promise, awaited, milliseconds = DEADLINE_MS) {
    let timer;
    const late = new Promise((_, reject) => {
        timer = setTimeout(() => reject(new Error(`no ${awaited} within ${milliseconds} ms`)), milliseconds);
    });
    return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

// What an SDK of Protobuf says, as that of JSON says it: data are bytes that hold JSON, and offsets may be objects.
function plain(value) {
    if (value instanceof Uint8Array) return value.length ? JSON.parse(Buffer.from(value).toString()) : undefined;
    if (Array.isArray(value)) return value.map(plain);
    if (value === null || typeof value !== "object" || value instanceof Error) return value;
    if (typeof value.toNumber === "function") return value.toNumber();
    return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, plain(inner)]));
}

// The next event of this name for which the condition holds. Call it in front of what causes the event.
function next(emitter, name, condition = () => true, milliseconds = DEADLINE_MS) {
    let listener;
    const event = new Promise((resolve) => {
        listener = (context) => condition(context) && resolve(plain(context));
        emitter.on(name, listener);
    });
    return within(event, `event "${name}"`, milliseconds).finally(() => emitter.off(name, listener));
}

// Everything that an emitter says under these names, in order.
class Record {
    constructor(emitter, ...names) {
        this.all = [];
        this.changed = () => {};
        for (const name of names) {
            emitter.on(name, (context) => {
                this.all.push(plain(context));
                this.changed();
            });
        }
    }

    // Waits until the record satisfies the condition, which gets all of it.
    until(condition, awaited, milliseconds) {
        const satisfied = new Promise((resolve) => {
            this.changed = () => condition(this.all) && resolve(this.all);
            this.changed();
        });
        const found = () => JSON.stringify(this.all.slice(-3));
        return within(satisfied, awaited, milliseconds).catch((error) => {
            throw new Error(`${error.message}; ${this.all.length} events, the last ones ${found()}`);
        });
    }

    // Waits for so many events.
    count(count, milliseconds) {
        return this.until((all) => all.length >= count, `${count} events`, milliseconds);
    }

    get data() {
        return this.all.map((context) => context.data);
    }
}

// The error of a promise that is rejected.
async function rejection(promise) {
    let value;
    try {
        value = await within(promise, "answer");
    } catch (error) {
        return error;
    }
    throw new Error(`an error was expected, and not ${JSON.stringify(value)}`);
}

module.exports = { plain, within, next, Record, rejection, DEADLINE_MS };
