/** One connection of the client module: commands, answers and pings over a WebSocket. It never connects again. */

/**
 * The connection is lost if the server's ping is late by this time. The server pings a client whose command waits, so
 * a late answer alone says nothing about the network.
 */
const PING_DELAY_MS_MAX = 10_000;
/** The connection is lost if nothing comes for this time after `check`, unless a command may wait at the server. */
const CHECK_MS_MAX = 5_000;
/**
 * The connection is lost if the server is at one command for longer than this. It executes the commands of a client one
 * after another, and may ask an application about one for up to a minute (`hook-timeout`).
 */
const ANSWER_MS_MAX = 75_000;
/** The commands that may wait at the server: it asks an application about them, or delays a client that is too fast. */
const SLOW_METHODS = new Set(["connect", "subscribe", "publish", "rpc", "refresh"]);
/** Commands share a frame up to this length, which is below the limit (`message-bytes`) of any likely server. */
const FRAME_CHARS_MAX = 16_384;
/** The longest time that timers take. */
export const TIMER_MS_MAX = 2 ** 31 - 1;

/** @typedef {(result: any) => void} OnResult */
/** @typedef {(error: RoomcastError) => void} OnError */
/** @typedef {{ method: string, chars: number, sentAt: number, onResult: OnResult, onError: OnError }} Pending */
/** @typedef {{ code: number, reason: string, isForGood: boolean }} End */
/** @typedef {{ opened(): void, pushed(push: any): void, ended(end: End): void }} Handlers */
/** @typedef {ReturnType<typeof setTimeout> | undefined} Timer */

/** Why something was not done, or may not have been. */
export class RoomcastError extends Error {
    /** @param {number | "offline" | "left" | "busy" | "lost"} code @param {string} message @param {boolean} isTemporary */
    constructor(code, message, isTemporary = false) {
        super(message);
        this.name = "RoomcastError";
        /** The server's number, or a word of this module: "lost" means perhaps done, the others mean not done. */
        this.code = code;
        /** Whether the same may succeed later. */
        this.isTemporary = isTemporary;
    }
}

/**
 * One WebSocket: its commands, their answers, and its pings. It ends once, and every command is answered by then.
 * Answers are callbacks and no promises, because what stands behind an answer in a frame must find its effect.
 */
export class Connection {
    isOpen = false;
    #isEnded = false;
    #newestId = 0;
    #answersPings = false;
    #silenceMsMax = Infinity;
    /** The connection is lost if nothing has come by this time, of `performance.now()`. */
    #dueAt = Infinity;
    #answeredAt = 0;
    /** @type {Map<number, Pending>} */
    #pending = new Map();
    /** @type {string[]} */
    #outgoing = [];
    /** @type {Timer} */
    #timer;
    #socket;
    #handlers;

    /** @param {WebSocket} socket @param {Handlers} handlers */
    constructor(socket, handlers) {
        this.#socket = socket;
        this.#handlers = handlers;
        socket.onopen = () => {
            this.isOpen = true;
            handlers.opened();
        };
        socket.onmessage = ({ data }) => this.#receive(data);
        socket.onerror = () => {}; // the close event follows
        socket.onclose = ({ code, reason }) => this.end(code, reason || "connection lost");
    }

    /**
     * Sends a command, in one frame with what else is sent in this turn. One of the callbacks will be called.
     * @param {string} method @param {object} parameters @param {OnResult} onResult @param {OnError} onError
     */
    send(method, parameters, onResult, onError) {
        const id = ++this.#newestId;
        const line = JSON.stringify({ id, [method]: parameters });
        this.#pending.set(id, { method, chars: line.length, sentAt: performance.now(), onResult, onError });
        if (this.#outgoing.push(line) === 1) queueMicrotask(() => this.#flush());
        if (this.#pending.size === 1) this.#watch();
    }

    /**
     * Checks whether the connection still works, and ends it if it does not. Behind a command that may wait at the
     * server, a ping is answered late as well, so then only the pings of the server tell.
     */
    check() {
        const mayWait = [...this.#pending.values()].some(({ method }) => SLOW_METHODS.has(method));
        this.send("ping", {}, () => {}, () => {});
        if (!mayWait) this.#expectWithin(CHECK_MS_MAX);
    }

    /** @param {{ ping?: number, pong?: boolean }} connected */
    expectPings({ ping = 0, pong = false }) {
        this.#answersPings = pong;
        this.#silenceMsMax = ping ? ping * 1000 + PING_DELAY_MS_MAX : Infinity;
    }

    /** @param {number} code @param {string} reason */
    end(code, reason) {
        if (this.#isEnded) return;
        this.#isEnded = true;
        this.isOpen = false;
        clearTimeout(this.#timer);
        this.#socket.onopen = this.#socket.onmessage = this.#socket.onclose = null;
        this.#socket.close();
        // The server does not say which message it has found too long.
        const publishes = [...this.#pending.values()].filter(({ method }) => method === "publish");
        const tooLong = code === 1009 ? publishes.sort((one, other) => other.chars - one.chars)[0] : undefined;
        if (tooLong) this.#handlers.ended({ code, reason: "a message was too long for the server", isForGood: false });
        else this.#handlers.ended({ code, reason, isForGood: isForGood(code) });
        for (const pending of this.#pending.values()) {
            pending.onError(pending === tooLong
                ? new RoomcastError(code, "the message is too long for the server")
                : new RoomcastError("lost", `no answer: ${reason}`, true));
        }
    }

    #flush() {
        let frame = "";
        for (const line of this.#outgoing.splice(0)) {
            if (frame && frame.length + line.length > FRAME_CHARS_MAX) {
                this.#transmit(frame);
                frame = "";
            }
            frame += frame ? `\n${line}` : line;
        }
        this.#transmit(frame);
    }

    /** @param {string} frame */
    #transmit(frame) {
        if (!this.#isEnded) this.#socket.send(frame);
    }

    /** @param {string} frame */
    #receive(frame) {
        let replies;
        try {
            replies = frame.split("\n").filter((line) => line).map((line) => JSON.parse(line));
        } catch {
            return this.end(1003, "the server speaks another protocol");
        }
        for (const reply of replies) {
            if (!this.#isEnded) this.#take(reply);
        }
        if (!this.#isEnded) this.#expectWithin(this.#silenceMsMax);
    }

    /** @param {any} reply */
    #take(reply) {
        if (reply.push) return this.#handlers.pushed(reply.push);
        if (!reply.id) return this.#answersPings && this.#transmit("{}");
        const pending = this.#pending.get(reply.id);
        this.#pending.delete(reply.id);
        this.#answeredAt = performance.now();
        if (!reply.error) return pending?.onResult(reply[pending.method] ?? {});
        const { code, message, temporary } = reply.error;
        pending?.onError(new RoomcastError(code, message, temporary));
    }

    /** @param {number} ms */
    #expectWithin(ms) {
        this.#dueAt = performance.now() + ms;
        this.#watch();
    }

    #watch() {
        clearTimeout(this.#timer);
        const [oldest] = this.#pending.values();
        const answerDueAt = oldest ? Math.max(oldest.sentAt, this.#answeredAt) + ANSWER_MS_MAX : Infinity;
        const ms = Math.min(this.#dueAt, answerDueAt) - performance.now();
        if (ms === Infinity) return;
        this.#timer = setTimeout(() => this.end(1006, "the server does not answer"), Math.min(ms, TIMER_MS_MAX));
    }
}

/** Whether a server that ends a connection with this code would do it again. @param {number} code */
function isForGood(code) {
    return code === 1009 || (code >= 3500 && code < 4000) || (code >= 4500 && code < 5000);
}
