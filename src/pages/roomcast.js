/**
 * The client module of a Roomcast server: rooms over one WebSocket, in the Centrifuge protocol with JSON. It connects
 * again by itself, and gives each message of a room once and in the room's order. docs/javascript.md explains its use.
 *
 * From the bottom up: a Connection is one WebSocket with its commands, and ends once; a Room asks for its place on each
 * new connection, from its position on; Roomcast decides when there is a connection.
 * @module
 */

/** The delay before an attempt to connect or to join is between these, random, and longer after each failure. */
const BACKOFF_MS_MIN = 500, BACKOFF_MS_MAX = 20_000;
/** An attempt to connect fails after this time: token, handshake and reply together. */
const ATTEMPT_MS_MAX = 10_000;
/** A connection is lost if nothing comes for this time while an answer is awaited, */
const SILENCE_MS_MAX = 5_000;
/** or if one answer takes this long: a server delays clients that publish too fast, but it does answer, */
const ANSWER_MS_MAX = 30_000;
/** or if the server's ping is late by this time. */
const PING_DELAY_MS_MAX = 10_000;
/** Commands share a frame up to this length, which is below the limit (`message-bytes`) of any likely server. */
const FRAME_CHARS_MAX = 16_384;
/** Of a room with more members, only their number is asked for. */
const MEMBERS_LISTED_MAX = 200;
const MEMBERS_DELAY_MS_MIN = 5_000, MEMBERS_DELAY_MS_MAX = 60_000;
/** The longest time that timers take. */
const TIMER_MS_MAX = 2 ** 31 - 1;

/** @typedef {"closed" | "connecting" | "connected" | "waiting" | "refused"} ServerState */
/** @typedef {{ state: ServerState, code?: number, reason?: string, retryAt?: number }} ServerStateEvent */
/** @typedef {{ state: ServerStateEvent, nick: { nick: string } }} ServerEvents */
/** @typedef {"joining" | "joined" | "left"} RoomState */
/** @typedef {{ state: RoomState, code?: number, reason?: string, recovered?: boolean }} RoomStateEvent */
/** @typedef {{ client: string, user: string, name: string, isOwn: boolean }} Member */
/** @typedef {{ offset?: number, time?: number, text?: string, data: any, isLive: boolean } & Member} Message */
/** @typedef {{ count: number, members?: Member[] }} MembersEvent */
/** @typedef {{ state: RoomStateEvent, message: Message, gap: {}, members: MembersEvent }} RoomEvents */

/** @typedef {(result: any) => void} OnResult */
/** @typedef {(error: RoomcastError) => void} OnError */
/** @typedef {{ method: string, chars: number, sentAt: number, onResult: OnResult, onError: OnError }} Pending */
/** @typedef {{ connection: Connection, isMember: boolean, top: number, epoch?: string, held?: any[] }} Membership */
/** @typedef {ReturnType<typeof setTimeout> | undefined} Timer */

// What the classes of this module call of each other, and nobody else can.
const emit = Symbol("emit"), hears = Symbol("hears");
const prepare = Symbol("prepare"), enter = Symbol("enter"), push = Symbol("push"), lose = Symbol("lose");

/** Why something was not done, or may not have been. */
export class RoomcastError extends Error {
    /** @param {number | "offline" | "left" | "lost"} code @param {string} message @param {boolean} isTemporary */
    constructor(code, message, isTemporary = false) {
        super(message);
        this.name = "RoomcastError";
        /** The server's number, or a word of this module: "offline" and "left" mean not done, "lost" perhaps done. */
        this.code = code;
        /** Whether the same may succeed later. */
        this.isTemporary = isTemporary;
    }
}

/** @template {Record<string, any>} Events */
class Emitter {
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
        for (const { listener } of this.#entries.filter((entry) => entry.name === name)) {
            try {
                listener(event);
            } catch (error) {
                (globalThis.reportError ?? console.error)(error);
            }
        }
    }
}

/**
 * One WebSocket: its commands, their answers, and its pings. It ends once, and every command is answered by then.
 * Answers are callbacks and no promises, because what stands behind an answer in a frame must find its effect.
 */
class Connection {
    isOpen = false;
    #isEnded = false;
    #newestId = 0;
    #answersPings = false;
    #silenceMsMax = TIMER_MS_MAX;
    /** @type {Map<number, Pending>} */
    #pending = new Map();
    /** @type {string[]} */
    #outgoing = [];
    /** @type {Timer} */
    #timer;
    #socket;
    #handlers;

    /**
     * @param {WebSocket} socket
     * @param {{ opened: () => void, pushed: (push: any) => void, ended: (code: number, reason: string) => void }} handlers
     */
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

    /** Checks whether the connection still works, which ends if it does not. */
    check() {
        this.send("ping", {}, () => {}, () => {});
    }

    /** @param {{ ping?: number, pong?: boolean }} connected */
    expectPings({ ping = 0, pong = false }) {
        this.#answersPings = pong;
        this.#silenceMsMax = ping ? ping * 1000 + PING_DELAY_MS_MAX : TIMER_MS_MAX;
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
        this.#handlers.ended(tooLong ? 1000 : code, tooLong ? "a message was too long for the server" : reason);
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
        for (const line of frame.split("\n")) {
            if (line && !this.#isEnded) this.#take(JSON.parse(line));
        }
        if (!this.#isEnded) this.#watch();
    }

    /** @param {any} reply */
    #take(reply) {
        if (reply.push) return this.#handlers.pushed(reply.push);
        if (!reply.id) return this.#answersPings && this.#transmit("{}");
        const pending = this.#pending.get(reply.id);
        this.#pending.delete(reply.id);
        if (!reply.error) return pending?.onResult(reply[pending.method] ?? {});
        const { code, message, temporary } = reply.error;
        pending?.onError(new RoomcastError(code, message, temporary));
    }

    #watch() {
        clearTimeout(this.#timer);
        const [oldest] = this.#pending.values();
        const answerMs = oldest && oldest.sentAt + ANSWER_MS_MAX - performance.now();
        const silenceMs = answerMs ? Math.min(SILENCE_MS_MAX, answerMs) : this.#silenceMsMax;
        this.#timer = setTimeout(() => this.end(1006, "the server does not answer"), Math.min(silenceMs, TIMER_MS_MAX));
    }
}

/** Who is in a room: asked for again and again while somebody listens, and kept by the events of rooms that have any. */
class Roster {
    #isAsking = false;
    #hasEvents = false;
    /** @type {Map<string, Member> | undefined} */
    #members;
    /** @type {Timer} */
    #timer;
    #room;
    #ask;
    #isOwn;

    /**
     * @param {Room} room @param {(method: string, onResult: OnResult, onError: OnError) => void} ask
     * @param {(client: string) => boolean} isOwn
     */
    constructor(room, ask, isOwn) {
        this.#room = room;
        this.#ask = ask;
        this.#isOwn = isOwn;
    }

    /** Asks, now and later, unless nobody listens. */
    begin() {
        if (!this.#isAsking) this.#count();
    }

    end() {
        clearTimeout(this.#timer);
        this.#isAsking = this.#hasEvents = false;
        this.#members = undefined;
    }

    /** @param {any} info */
    joined(info) {
        const member = memberOf(info, this.#isOwn);
        this.#hasEvents ||= member.isOwn;
        if (this.#members) this.#tell(this.#members.set(member.client, member));
    }

    /** @param {any} info */
    left({ client }) {
        if (this.#members?.delete(client)) this.#tell(this.#members);
    }

    #count() {
        this.#isAsking = this.#room[hears]("members");
        if (!this.#isAsking) return;
        if (globalThis.document?.hidden) return this.#askLater(0);
        this.#ask("presence_stats", ({ num_clients: count }) => {
            if (count <= MEMBERS_LISTED_MAX) return this.#list();
            this.#members = undefined;
            this.#room[emit]("members", { count });
            this.#askLater(count);
        }, ({ isTemporary }) => isTemporary && this.#askLater(MEMBERS_LISTED_MAX));
    }

    #list() {
        this.#ask("presence", ({ presence }) => {
            const members = Object.values(presence).map((info) => memberOf(info, this.#isOwn));
            this.#tell(this.#members = new Map(members.map((member) => [member.client, member])));
            this.#askLater(members.length);
        }, () => this.#askLater(MEMBERS_LISTED_MAX));
    }

    /**
     * A room with more members is asked less often by each, so that all of them ask about as often together. Where
     * events come, asking only repairs what they leave out: a room that was too large for events and has shrunk.
     * @param {number} count
     */
    #askLater(count) {
        const delay = this.#hasEvents ? MEMBERS_DELAY_MS_MAX : Math.max(MEMBERS_DELAY_MS_MIN, count * 250);
        this.#timer = setTimeout(() => this.#count(), Math.min(delay, MEMBERS_DELAY_MS_MAX));
    }

    /** @param {Map<string, Member>} byClient */
    #tell(byClient) {
        const members = [...byClient.values()].sort((one, other) => one.name.localeCompare(other.name));
        this.#room[emit]("members", { count: members.length, members });
    }
}

/**
 * A room that was joined, on each connection anew and from its position on, until it is left.
 * @extends {Emitter<RoomEvents>}
 */
export class Room extends Emitter {
    /** @type {RoomState} */
    #state = "joining";
    /** The position, with the offset: everything up to it was given to the application. @type {string | undefined} */
    #epoch;
    #offset = 0;
    /** What is asked for one membership is not answered to the next. @type {Membership | undefined} */
    #membership;
    /** Settled once the present attempt to join has succeeded or not. @type {Deferred | undefined} */
    #outcome;
    #attempts = 0;
    /** @type {Timer} */
    #timer;
    #name;
    #history;
    #host;
    #roster;

    /**
     * Only {@link Roomcast.join} makes rooms.
     * @param {string} name @param {number} history
     * @param {{ isOwn: (client: string) => boolean, backoff: (attempts: number) => number, forget: () => void }} host
     */
    constructor(name, history, host) {
        super();
        this.#name = name;
        this.#history = history;
        this.#host = host;
        this.#roster = new Roster(this, (method, ...answers) => this.#ask(method, {}, ...answers), host.isOwn);
    }

    get name() { return this.#name; }
    get state() { return this.#state; }

    /**
     * @override @template {keyof RoomEvents} Name @param {Name} name @param {(event: RoomEvents[Name]) => void} listener
     */
    on(name, listener) {
        const stop = super.on(name, listener);
        if (this.#state === "joined") this.#roster.begin();
        return stop;
    }

    /**
     * Publishes any JSON value, behind what was published before it.
     * @param {any} data @returns {Promise<void>} @throws {RoomcastError}
     */
    async publish(data) {
        if (this.#state === "left") throw new RoomcastError("left", "the room was left");
        await this.#outcome?.promise;
        return new Promise((resolve, reject) => {
            const connection = this.#membership?.connection;
            if (!connection) throw new RoomcastError("offline", "not connected", true);
            connection.send("publish", { channel: this.#name, data }, () => resolve(), reject);
        });
    }

    /** Publishes a text, which clients of every protocol can read. @param {string} text */
    say(text) { return this.publish({ text }); }

    /** Leaves for good. {@link Roomcast.join} makes another room of this name. */
    leave() {
        this.#membership?.connection.send("unsubscribe", { channel: this.#name }, () => {}, () => {});
        this.#finish({});
    }

    /** A connection is being made: whoever publishes waits for it. */
    [prepare]() { this.#outcome = new Deferred(); }

    /** @param {Connection} connection */
    [enter](connection) {
        const membership = this.#membership = { connection, isMember: false, top: 0 };
        const position = this.#epoch && { recover: true, epoch: this.#epoch, offset: this.#offset };
        this.#ask("subscribe", { ...position }, (result) => this.#entered(membership, result), (error) => this.#refused(error));
        if (!position) this.#askHistory(membership);
    }

    /** @param {any} pushed */
    [push]({ pub, join, leave, subscribe, unsubscribe }) {
        const membership = this.#membership;
        if (subscribe && membership) this.#entered(membership, subscribe);
        if (!membership?.isMember) return; // it belongs to a former membership
        if (pub) membership.held ? membership.held.push(pub) : this.#deliver(pub, true);
        if (join) this.#roster.joined(join.info);
        if (leave) this.#roster.left(leave.info);
        if (unsubscribe) this.#expelled(unsubscribe.code, unsubscribe.reason);
    }

    /** The connection was lost. */
    [lose]() {
        this.#drop(new RoomcastError("offline", "the connection was lost", true));
        this.#become({ state: "joining" });
    }

    /** @param {string} method @param {object} parameters @param {OnResult} onResult @param {OnError} onError */
    #ask(method, parameters, onResult, onError) {
        const membership = this.#membership;
        const isPresent = () => membership === this.#membership;
        membership?.connection.send(method, { channel: this.#name, ...parameters },
            (result) => isPresent() && onResult(result), (error) => isPresent() && onError(error));
    }

    /** Asks for the history, until which pushes wait. @param {Membership} membership */
    #askHistory(membership) {
        if (!this.#history) return;
        membership.held = [];
        this.#ask("history", { limit: this.#history, reverse: true },
            ({ publications }) => this.#fill(membership, publications), () => this.#fill(membership, []));
    }

    /** @param {Membership} membership @param {any} result */
    #entered(membership, { epoch, offset = 0, recovered = false, publications = [] }) {
        if (membership.isMember) return;
        Object.assign(membership, { isMember: true, epoch, top: offset });
        if (recovered) return this.#catchUp(membership, publications, true);
        if (this.#epoch && epoch) this.#askHistory(membership);
        if (!membership.held) this.#fill(membership, []);
    }

    /**
     * Gives the history and what was said since it was asked for, behind a gap if this does not continue what the
     * application was given before.
     * @param {Membership} membership @param {any[]} history
     */
    #fill(membership, history) {
        const { epoch, top, held = [] } = membership;
        const publications = [...history, ...held].sort((one, other) => one.offset - other.offset);
        const isResuming = this.#epoch !== undefined;
        const isSameLife = isResuming && this.#epoch === epoch;
        const known = isSameLife ? this.#offset : 0;
        const oldest = publications[0]?.offset ?? top + 1;
        const isGap = isResuming && ((!isSameLife && this.#offset > 0) || oldest > known + 1);
        this.#epoch = epoch;
        this.#offset = known;
        membership.held = undefined;
        if (isGap) this[emit]("gap", {});
        this.#catchUp(membership, publications, isResuming ? !isGap : undefined);
    }

    /** @param {Membership} membership @param {any[]} publications @param {boolean | undefined} recovered */
    #catchUp(membership, publications, recovered) {
        for (const publication of publications) {
            if (membership === this.#membership) this.#deliver(publication, recovered || publication.offset > membership.top);
        }
        if (membership !== this.#membership) return; // a listener has left the room
        this.#offset = Math.max(this.#offset, membership.top);
        this.#attempts = 0;
        this.#become({ state: "joined", recovered });
        this.#outcome?.resolve();
        this.#roster.begin();
    }

    /** Gives a message to the application, unless it was given before. @param {any} publication @param {boolean} isLive */
    #deliver({ offset, time, data, info }, isLive) {
        if (offset <= this.#offset) return;
        this.#offset = offset ?? this.#offset;
        const text = [data?.text, data].find((value) => typeof value === "string");
        this[emit]("message", { offset, time, text, data, ...memberOf(info, this.#host.isOwn), isLive });
    }

    /** @param {RoomcastError} error */
    #refused(error) {
        if (this.#membership?.isMember) return; // the server itself has had it join
        if (error.isTemporary) this.#enterLater(error);
        else this.#finish({ code: Number(error.code), reason: error.message });
    }

    /** @param {number} code @param {string} reason */
    #expelled(code, reason) {
        if (code >= 2500) this.#enterLater(new RoomcastError(code, reason, true));
        else this.#finish({ code, reason });
    }

    /** @param {RoomcastError} error */
    #enterLater(error) {
        const connection = this.#membership?.connection;
        if (!connection) return;
        this.#drop(error);
        this[prepare]();
        this.#timer = setTimeout(() => this[enter](connection), this.#host.backoff(this.#attempts++));
        this.#become({ state: "joining", code: Number(error.code), reason: error.message });
    }

    /** @param {{ code?: number, reason?: string }} why */
    #finish({ code, reason }) {
        if (this.#state === "left") return;
        this.#drop(new RoomcastError(code ?? "left", reason ?? "the room was left"));
        this.#host.forget();
        this.#become({ state: "left", code, reason });
    }

    /** @param {RoomcastError} error */
    #drop(error) {
        clearTimeout(this.#timer);
        this.#membership = undefined;
        this.#roster.end();
        this.#outcome?.reject(error);
        this.#outcome = undefined;
    }

    /** @param {RoomStateEvent} event */
    #become(event) {
        if (event.state === this.#state) return;
        this.#state = event.state;
        this[emit]("state", event);
    }
}

/**
 * A server. It is connected again wherever this makes sense.
 * @extends {Emitter<ServerEvents>}
 */
export class Roomcast extends Emitter {
    /** @type {ServerState} */
    #state = "closed";
    /** @type {Map<string, Room>} */
    #rooms = new Map();
    /** All client ids that this object has had. @type {Set<string>} */
    #clientIds = new Set();
    /** @type {string | undefined} */
    #clientId;
    /** @type {string | undefined} */
    #nick;
    /** @type {Connection | undefined} */
    #connection;
    #attempts = 0;
    /** Ends an attempt that takes too long, or begins the next one. @type {Timer} */
    #timer;
    /** @type {Timer} */
    #refreshTimer;
    /** Aborted when the attempt or its connection has ended. */
    #attempt = new AbortController();
    /** Aborted when no connection is wanted any more. */
    #wish = new AbortController();
    #options;
    #url;
    #token;
    #wishedNick;

    /**
     * @param {object} options
     * @param {string} [options.url] The endpoint; by default `connection/websocket` beside this module.
     * @param {string} [options.token] What the application has signed for the user.
     * @param {() => Promise<string | undefined>} [options.getToken] Gives a token when there is none or it expires; nothing for a guest.
     * @param {string} [options.nick] The name that a user without a token wishes for.
     * @param {typeof WebSocket} [options.WebSocket] For programs without one.
     * @param {() => number} [options.random] From 0 to 1, for tests.
     */
    constructor(options = {}) {
        super();
        this.#options = { WebSocket: globalThis.WebSocket, random: Math.random, ...options };
        this.#url = (options.url ?? new URL("connection/websocket", import.meta.url).href).replace(/^http/, "ws");
        this.#token = options.token;
        this.#wishedNick = options.nick;
    }

    get state() { return this.#state; }
    /** Of the present connection, or of the latest. */
    get clientId() { return this.#clientId; }
    /** The label that others see, once the server has said it. */
    get nick() { return this.#nick; }

    /** Connects, and stays connected from now on. */
    connect() {
        if (this.#state !== "closed" && this.#state !== "refused") return;
        this.#wish = new AbortController();
        const { signal } = this.#wish;
        const { document } = globalThis;
        globalThis.addEventListener?.("online", () => this.#wake(), { signal });
        document?.addEventListener("visibilitychange", () => document.hidden || this.#wake(), { signal });
        this.#attempts = 0;
        this.#begin();
    }

    /** Ends the connection. Rooms are joined again by the next `connect`. */
    close() {
        this.#wish.abort();
        this.#drop("closed by this client");
        this.#become({ state: "closed" });
    }

    /** Connects at once, where state "waiting" has named a later time. */
    retry() {
        if (this.#state === "waiting") this.#begin();
    }

    /**
     * Joins a room, now or once there is a connection, and again on each further one. One that is joined already is
     * given as it is. `history` says how many of the newest messages come first.
     * @param {string} name @param {{ history?: number }} options @returns {Room}
     */
    join(name, { history = 0 } = {}) {
        const known = this.#rooms.get(name);
        if (known) return known;
        const room = new Room(name, history, {
            isOwn: (client) => this.#clientIds.has(client),
            backoff: (attempts) => this.#backoff(attempts),
            forget: () => this.#rooms.delete(name),
        });
        this.#rooms.set(name, room);
        if (this.#state === "connecting" || this.#state === "connected") room[prepare]();
        if (this.#connection?.isOpen) room[enter](this.#connection);
        return room;
    }

    /**
     * Changes the nick of a user without a token, on this connection and on all further ones. Gives the label that
     * others see if the server can say it now.
     * @param {string} nick @returns {Promise<string | undefined>} @throws {RoomcastError}
     */
    async rename(nick) {
        const former = this.#wishedNick;
        this.#wishedNick = nick;
        try {
            return this.#connection?.isOpen ? await this.#sendNick(this.#connection, nick) : undefined;
        } catch (error) {
            if (error instanceof RoomcastError && error.code === "lost") return undefined; // it is sent once more
            if (this.#wishedNick === nick) this.#wishedNick = former;
            throw error;
        }
    }

    /**
     * Gives the names of the rooms that have members and that this user may join.
     * @returns {Promise<string[]>} @throws {RoomcastError}
     */
    async rooms() {
        const url = new URL("../rooms", this.#url.replace(/^ws/, "http"));
        const headers = this.#token ? { authorization: `Bearer ${this.#token}` } : undefined;
        const response = await fetch(url, { headers, signal: AbortSignal.timeout(ATTEMPT_MS_MAX) }).catch((error) => {
            throw new RoomcastError("offline", String(error), true);
        });
        if (!response.ok) throw new RoomcastError(response.status, await response.text(), response.status >= 429);
        return (await response.json()).rooms;
    }

    /** The network or the reader is back. */
    #wake() {
        this.retry();
        if (this.#state === "connected") this.#connection?.check();
    }

    async #begin() {
        this.#drop("another attempt begins");
        const { signal } = this.#attempt;
        this.#timer = setTimeout(() => this.#wait(1006, "no connection in time"), ATTEMPT_MS_MAX);
        this.#rooms.forEach((room) => room[prepare]());
        this.#become({ state: "connecting" });
        try {
            if (this.#options.getToken) this.#token ??= await this.#options.getToken();
            if (!signal.aborted) this.#dial();
        } catch (error) {
            if (!signal.aborted) this.#wait(undefined, String(error));
        }
    }

    #dial() {
        /** @type {Connection} */
        const connection = new Connection(new this.#options.WebSocket(this.#url), {
            opened: () => this.#introduce(connection),
            pushed: (pushed) => this.#rooms.get(pushed.channel)?.[push](pushed),
            ended: (code, reason) => connection === this.#connection && this.#ended(code, reason),
        });
        this.#connection = connection;
    }

    /** Says in one frame who this is, its nick and its rooms. @param {Connection} connection */
    #introduce(connection) {
        connection.send("connect", { token: this.#token, name: "roomcast.js" }, (result) => this.#connected(connection, result),
            (error) => connection === this.#connection && this.#notConnected(error));
        if (this.#wishedNick) this.#sendNick(connection, this.#wishedNick).catch(() => {});
        this.#rooms.forEach((room) => room[enter](connection));
    }

    /** @param {Connection} connection @param {any} result */
    #connected(connection, result) {
        clearTimeout(this.#timer);
        connection.expectPings(result);
        this.#attempts = 0;
        this.#clientId = result.client;
        this.#clientIds.add(result.client);
        if (result.expires) this.#refreshIn(result.ttl);
        this.#become({ state: "connected" });
        for (const [channel, subscribe] of Object.entries(result.subs ?? {})) this.#rooms.get(channel)?.[push]({ subscribe });
    }

    /** @param {RoomcastError} error */
    #notConnected({ code, message, isTemporary }) {
        const needsToken = code === 109 && this.#options.getToken !== undefined;
        if (needsToken) this.#token = undefined;
        if (needsToken || isTemporary) this.#wait(Number(code), message);
        else this.#refuse(Number(code), message);
    }

    /** @param {number} code @param {string} reason */
    #ended(code, reason) {
        if (code === 3005 && this.#options.getToken) this.#token = undefined;
        const isForGood = code === 1009 || (code >= 3500 && code < 4000) || (code >= 4500 && code < 5000);
        if (isForGood) this.#refuse(code, reason);
        else this.#wait(code, reason);
    }

    /** @param {Connection} connection @param {string} nick @returns {Promise<string | undefined>} */
    #sendNick(connection, nick) {
        return new Promise((resolve, reject) => {
            connection.send("rpc", { method: "nick", data: { nick } }, ({ data }) => {
                const isOther = this.#nick !== data.nick;
                this.#nick = data.nick;
                if (isOther) this[emit]("nick", { nick: data.nick });
                resolve(data.nick);
            }, (error) => error.code === 108 ? resolve(undefined) : reject(error)); // 108: an older server
        });
    }

    /** @param {number} seconds */
    #refreshIn(seconds) {
        if (this.#options.getToken) this.#refreshTimer = setTimeout(() => this.#refresh(), Math.min(seconds * 1000, TIMER_MS_MAX));
    }

    async #refresh() {
        const { signal } = this.#attempt;
        const retry = () => this.#refreshIn(5 + 5 * this.#options.random());
        try {
            const token = await this.#options.getToken?.();
            if (signal.aborted) return;
            this.#token = token;
            this.#connection?.send("refresh", { token }, ({ expires, ttl }) => expires && this.#refreshIn(ttl),
                (error) => signal.aborted || (error.isTemporary ? retry() : this.#refuse(Number(error.code), error.message)));
        } catch {
            if (!signal.aborted) retry();
        }
    }

    /** @param {number | undefined} code @param {string} reason */
    #wait(code, reason) {
        this.#drop(reason);
        const delay = this.#backoff(this.#attempts++);
        this.#timer = setTimeout(() => this.#begin(), delay);
        this.#become({ state: "waiting", code, reason, retryAt: Math.round(Date.now() + delay) });
    }

    /** @param {number} code @param {string} reason */
    #refuse(code, reason) {
        this.#wish.abort();
        this.#drop(reason);
        this.#become({ state: "refused", code, reason });
    }

    /** Ends what is under way. @param {string} reason */
    #drop(reason) {
        clearTimeout(this.#timer);
        clearTimeout(this.#refreshTimer);
        this.#attempt.abort();
        this.#attempt = new AbortController();
        const connection = this.#connection;
        this.#connection = undefined;
        this.#rooms.forEach((room) => room[lose]());
        connection?.end(1000, reason);
    }

    /** The delay in front of the next attempt, in milliseconds. @param {number} attempts */
    #backoff(attempts) {
        const range = Math.min(BACKOFF_MS_MAX - BACKOFF_MS_MIN, BACKOFF_MS_MIN * 2 ** attempts);
        return BACKOFF_MS_MIN + this.#options.random() * range;
    }

    /** @param {ServerStateEvent} event */
    #become(event) {
        if (event.state === this.#state) return;
        this.#state = event.state;
        this[emit]("state", event);
    }
}

/** A promise with its two ends, which may fail although nobody waits for it. */
class Deferred {
    /** @type {() => void} */
    resolve = () => {};
    /** @type {(error: RoomcastError) => void} */
    reject = () => {};
    /** @type {Promise<void>} */
    promise = new Promise((resolve, reject) => void Object.assign(this, { resolve, reject }));

    constructor() {
        this.promise.catch(() => {});
    }
}

/** Who has published or joined. A backend has no name. @param {any} info @param {(client: string) => boolean} isOwn @returns {Member} */
function memberOf(info, isOwn) {
    const { client = "", user = "", conn_info: given } = info ?? {};
    const name = [given?.name, user].find((value) => value && typeof value === "string");
    return { client, user, name: name ?? (client && `client-${client.slice(0, 6)}`), isOwn: isOwn(client) };
}
