/**
 * The client module of a Roomcast server: rooms over one WebSocket, in the Centrifuge protocol with JSON. It connects
 * again by itself, and gives each message of a room once and in the room's order. docs/javascript.md explains its use.
 *
 * From the bottom up: a Connection is one WebSocket with its commands, and ends once; a Room asks for its place on each
 * new connection, from its position on; Roomcast decides when there is a connection.
 * @module
 */

import { Connection, RoomcastError, TIMER_MS_MAX } from "./pages/roomcast/connection.js";
import { Emitter, emit, enter, lose, prepare, push, relabel } from "./pages/roomcast/events.js";
import { Room } from "./pages/roomcast/room.js";

export { Room, RoomcastError };

/** The delay before an attempt to connect or to join is between these, random, and longer after each failure. */
const BACKOFF_MS_MIN = 500, BACKOFF_MS_MAX = 20_000;
/** An attempt to connect fails if token and handshake together take longer. The reply may wait for an application. */
const ATTEMPT_MS_MAX = 10_000;
/** A connection that has held for this time was a success: the next delay is short again. */
const STABLE_MS = 10_000;
/** A server that stops says in how many seconds to come back. Clients add up to this share of them at random. */
const STOPPED = /^shutdown retry=(\d+)$/, RETRY_JITTER = 0.2;
/** The newest ids that this client has had tell its own messages; a history has no older ones that matter. */
const CLIENT_IDS_MAX = 100;

/** @typedef {"closed" | "connecting" | "connected" | "waiting" | "refused"} ServerState */
/** @typedef {{ state: ServerState, code?: number, reason?: string, retryAt?: number }} ServerStateEvent */
/** @typedef {{ nick?: string, error?: RoomcastError }} NickEvent */
/** @typedef {{ state: ServerStateEvent, nick: NickEvent }} ServerEvents */
/** @typedef {import("./pages/roomcast/room.js").Message} Message */
/** @typedef {import("./pages/roomcast/room.js").Member} Member */
/** @typedef {import("./pages/roomcast/connection.js").Timer} Timer */

/**
 * @typedef {object} Options
 * @property {string} [url] The endpoint; by default `connection/websocket` beside this module.
 * @property {string} [token] What the application has signed for the user.
 * @property {() => Promise<string | undefined>} [getToken] Gives a token when one is needed; none for a guest.
 * @property {string} [nick] The name that a user without a token wishes for.
 * @property {typeof globalThis.WebSocket} [WebSocket] For programs without one.
 * @property {() => number} [random] From 0 to 1, for tests.
 */

/**
 * A server. It is connected again wherever this makes sense.
 * @extends {Emitter<ServerEvents>}
 */
export class Roomcast extends Emitter {
    /** @type {ServerState} */
    #state = "closed";
    /** @type {Map<string, Room>} */
    #rooms = new Map();
    /** The newest client ids that this object has had, in order. @type {Set<string>} */
    #clientIds = new Set();
    /** @type {string | undefined} */
    #clientId;
    /** @type {string | undefined} */
    #nick;
    /** @type {Connection | undefined} */
    #connection;
    #attempts = 0;
    /** Ends an attempt that takes too long, begins the next one, or counts a connection as stable. @type {Timer} */
    #timer;
    /** @type {Timer} */
    #refreshTimer;
    /** Aborted when the attempt or its connection has ended. */
    #attempt = new AbortController();
    /** Aborted when no connection is wanted any more. */
    #wish = new AbortController();
    #url;
    #token;
    #getToken;
    #wishedNick;
    #WebSocket;
    #random;

    /** @param {Options} options */
    constructor({ url = "connection/websocket", token, getToken, nick, WebSocket, random = Math.random } = {}) {
        super(["state", "nick"]);
        this.#url = new URL(url, import.meta.url).href.replace(/^http/, "ws");
        this.#token = token;
        this.#getToken = getToken;
        this.#wishedNick = nick;
        this.#WebSocket = WebSocket ?? globalThis.WebSocket;
        this.#random = random;
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
        const wish = this.#wish;
        wish.abort();
        this.#drop("closed by this client");
        if (wish === this.#wish) this.#become({ state: "closed" });
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
        try {
            const response = await fetch(url, { headers, signal: AbortSignal.timeout(ATTEMPT_MS_MAX) });
            if (response.ok) return (await response.json()).rooms;
            throw new RoomcastError(response.status, await response.text(), response.status >= 429);
        } catch (error) {
            throw error instanceof RoomcastError ? error : new RoomcastError("offline", String(error), true);
        }
    }

    /** The network or the reader is back. */
    #wake() {
        this.retry();
        if (this.#state === "connected") this.#connection?.check();
    }

    async #begin() {
        const wish = this.#wish.signal;
        this.#drop("another attempt begins");
        if (wish.aborted) return; // a listener has closed it
        const { signal } = this.#attempt;
        this.#timer = setTimeout(() => this.#wait(1006, "no connection in time"), ATTEMPT_MS_MAX);
        this.#rooms.forEach((room) => room[prepare]());
        this.#become({ state: "connecting" });
        try {
            this.#token ??= await this.#getToken?.();
            if (!signal.aborted) this.#dial();
        } catch (error) {
            if (!signal.aborted) this.#wait(undefined, String(error));
        }
    }

    #dial() {
        /** @type {Connection} */
        const connection = new Connection(new this.#WebSocket(this.#url), {
            opened: () => this.#introduce(connection),
            pushed: (pushed) => this.#rooms.get(pushed.channel)?.[push](pushed),
            ended: (end) => connection === this.#connection && this.#ended(end),
        });
        this.#connection = connection;
    }

    /** Says in one frame who this is, its nick and its rooms. @param {Connection} connection */
    #introduce(connection) {
        clearTimeout(this.#timer);
        connection.send("connect", { token: this.#token, name: "roomcast.js" },
            (result) => this.#connected(connection, result),
            (error) => connection === this.#connection && this.#notConnected(error));
        if (this.#wishedNick) this.#sendNick(connection, this.#wishedNick).catch((error) => this.#nickRefused(error));
        this.#rooms.forEach((room) => room[enter](connection));
    }

    /** @param {Connection} connection @param {any} result */
    #connected(connection, result) {
        this.#timer = setTimeout(() => (this.#attempts = 0), STABLE_MS);
        connection.expectPings(result);
        this.#clientId = result.client;
        this.#clientIds.delete(result.client);
        this.#clientIds.add(result.client);
        const [oldest] = this.#clientIds;
        if (this.#clientIds.size > CLIENT_IDS_MAX) this.#clientIds.delete(oldest);
        if (result.expires) this.#refreshIn(result.ttl);
        this.#become({ state: "connected" });
        for (const [room, subscribe] of Object.entries(result.subs ?? {})) this.#rooms.get(room)?.[push]({ subscribe });
    }

    /** @param {RoomcastError} error */
    #notConnected({ code, message, isTemporary }) {
        const needsToken = code === 109 && this.#getToken !== undefined;
        if (needsToken) this.#token = undefined;
        if (needsToken || isTemporary) this.#wait(Number(code), message);
        else this.#refuse(Number(code), message);
    }

    /** @param {import("./pages/roomcast/connection.js").End} end */
    #ended({ code, reason, isForGood }) {
        if (code === 3005 && this.#getToken) this.#token = undefined;
        if (isForGood) this.#refuse(code, reason);
        else this.#wait(code, reason);
    }

    /** @param {Connection} connection @param {string} nick @returns {Promise<string | undefined>} */
    #sendNick(connection, nick) {
        return new Promise((resolve, reject) => {
            connection.send("rpc", { method: "nick", data: { nick } }, ({ data }) => {
                const isOther = this.#nick !== data.nick;
                this.#nick = data.nick;
                this.#rooms.forEach((room) => room[relabel](data.nick));
                if (isOther) this[emit]("nick", { nick: data.nick });
                resolve(data.nick);
            }, (error) => error.code === 108 ? resolve(undefined) : reject(error)); // 108: an older server
        });
    }

    /** The nick that was wished for on connecting is not to be had. @param {RoomcastError} error */
    #nickRefused(error) {
        if (error.code === "lost") return; // it is sent once more
        this.#nick = undefined;
        this[emit]("nick", { nick: undefined, error });
    }

    /** @param {number} seconds */
    #refreshIn(seconds) {
        if (!this.#getToken) return;
        this.#refreshTimer = setTimeout(() => this.#refresh(), Math.min(seconds * 1000, TIMER_MS_MAX));
    }

    async #refresh() {
        const { signal } = this.#attempt;
        const retry = () => this.#refreshIn(5 + 5 * this.#random());
        try {
            const token = await this.#getToken?.();
            if (signal.aborted) return;
            this.#token = token;
            if (!token) return void this.#begin(); // only another connection is that of a guest
            const onResult = (/** @type {any} */ { expires, ttl }) => expires && this.#refreshIn(ttl);
            this.#connection?.send("refresh", { token }, onResult, (error) => {
                if (signal.aborted) return;
                if (error.isTemporary) retry();
                else this.#refuse(Number(error.code), error.message);
            });
        } catch {
            if (!signal.aborted) retry();
        }
    }

    /** @param {number | undefined} code @param {string} reason */
    #wait(code, reason) {
        const { signal } = this.#wish;
        this.#drop(reason);
        if (signal.aborted) return; // a listener has closed it, and may have connected anew
        const delay = this.#hinted(reason) ?? this.#backoff(this.#attempts++);
        this.#timer = setTimeout(() => this.#begin(), delay);
        this.#become({ state: "waiting", code, reason, retryAt: Math.round(Date.now() + delay) });
    }

    /** @param {number} code @param {string} reason */
    #refuse(code, reason) {
        const wish = this.#wish;
        this.#drop(reason);
        if (wish.signal.aborted) return; // a listener has closed it, and may have connected anew
        wish.abort();
        this.#become({ state: "refused", code, reason });
    }

    /** Ends what is under way. @param {string} reason */
    #drop(reason) {
        clearTimeout(this.#timer);
        clearTimeout(this.#refreshTimer);
        this.#attempt.abort();
        const attempt = this.#attempt = new AbortController();
        const connection = this.#connection;
        this.#connection = undefined;
        // A listener of one room may begin another attempt, for which all rooms are prepared.
        this.#rooms.forEach((room) => attempt === this.#attempt && room[lose]());
        connection?.end(1000, reason);
    }

    /** The delay that a server which stops has asked for, in milliseconds. @param {string} reason */
    #hinted(reason) {
        const stopped = STOPPED.exec(reason);
        if (stopped) return Math.min(Number(stopped[1]) * 1000 * (1 + RETRY_JITTER * this.#random()), TIMER_MS_MAX);
    }

    /** The delay in front of the next attempt, in milliseconds. @param {number} attempts */
    #backoff(attempts) {
        const range = Math.min(BACKOFF_MS_MAX - BACKOFF_MS_MIN, BACKOFF_MS_MIN * 2 ** attempts);
        return BACKOFF_MS_MIN + this.#random() * range;
    }

    /** @param {ServerStateEvent} event */
    #become(event) {
        if (event.state === this.#state) return;
        this.#state = event.state;
        this[emit]("state", event);
    }
}
