/** A room of the client module: where it stands on each connection, its messages and its members. */

import { Connection, RoomcastError } from "./connection.js";
import { Emitter, emit, enter, hears, lose, prepare, push, relabel } from "./events.js";

/** Of a room with more members, only their number is asked for. */
const MEMBERS_LISTED_MAX = 200;
/** The publishes that may wait for a join. */
const UNSENT_MAX = 100;
/** The time between two questions for members is between these. */
const MEMBERS_DELAY_MS_MIN = 5_000, MEMBERS_DELAY_MS_MAX = 60_000;

/** @typedef {"joining" | "joined" | "left"} RoomState */
/** @typedef {{ state: RoomState, code?: number, reason?: string, recovered?: boolean }} RoomStateEvent */
/** @typedef {{ client: string, user: string, name: string, isOwn: boolean }} Member */
/** @typedef {{ offset?: number, time?: number, text?: string, data: any, isLive: boolean, isNew: boolean } & Member} Message */
/** @typedef {{ count: number, members?: Member[] }} MembersEvent */
/** @typedef {{ state: RoomStateEvent, message: Message, gap: {}, members: MembersEvent }} RoomEvents */
/** @typedef {{ connection: Connection, isMember: boolean, top: number, epoch?: string, held?: any[] }} Membership */
/** @typedef {{ data: any, resolve: () => void, reject: (error: unknown) => void }} Unsent */
/** @typedef {{ isOwn(client: string): boolean, backoff(attempts: number): number, forget(): void }} Host */
/** @typedef {import("./connection.js").OnResult} OnResult */
/** @typedef {import("./connection.js").OnError} OnError */
/** @typedef {import("./connection.js").Timer} Timer */

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
    /** What was published waits here for the join; `undefined` while nothing connects. @type {Unsent[] | undefined} */
    #unsent;
    #attempts = 0;
    /** @type {Timer} */
    #timer;
    #name;
    #history;
    #host;
    #roster;

    /** Only `join` of a Roomcast makes rooms. @param {string} name @param {number} history @param {Host} host */
    constructor(name, history, host) {
        super(["state", "message", "gap", "members"]);
        this.#name = name;
        this.#history = history;
        this.#host = host;
        this.#roster = new Roster(this, (method, ...answers) => this.#ask(method, {}, ...answers), host.isOwn);
    }

    get name() { return this.#name; }
    get state() { return this.#state; }

    /**
     * @override @template {keyof RoomEvents} Name
     * @param {Name} name @param {(event: RoomEvents[Name]) => void} listener
     */
    on(name, listener) {
        const stop = super.on(name, listener);
        if (name === "members" && this.#state === "joined") this.#roster.begin();
        return stop;
    }

    /**
     * Publishes any JSON value, behind what was published before it.
     * @param {any} data @returns {Promise<void>} @throws {RoomcastError}
     */
    publish(data) {
        return new Promise((resolve, reject) => {
            if (this.#state === "left") throw new RoomcastError("left", "the room was left");
            if (!this.#unsent) throw new RoomcastError("offline", "not connected", true);
            if (this.#unsent.length >= UNSENT_MAX) throw new RoomcastError("busy", "too many messages wait for the join", true);
            this.#unsent.push({ data, resolve, reject });
            if (this.#state === "joined") this.#sendAll();
        });
    }

    /**
     * Publishes a text, which clients of every protocol can read.
     * @param {string} text @returns {Promise<void>} @throws {RoomcastError}
     */
    async say(text) {
        if (typeof text !== "string") throw new TypeError(`say() takes a string, not ${typeof text}: publish() takes any JSON`);
        return this.publish({ text });
    }

    /** Leaves for good. To come back, `join` makes another room of this name. */
    leave() {
        this.#membership?.connection.send("unsubscribe", { channel: this.#name }, () => {}, () => {});
        this.#finish({});
    }

    /** A connection is being made: whoever publishes waits for it. */
    [prepare]() { this.#unsent = []; }

    /** @param {Connection} connection */
    [enter](connection) {
        const membership = this.#membership = { connection, isMember: false, top: 0 };
        const position = this.#epoch && { recover: true, epoch: this.#epoch, offset: this.#offset };
        this.#ask("subscribe", { ...position },
            (result) => this.#entered(membership, result), (error) => this.#refused(error));
        if (!position) this.#askHistory(membership);
    }

    /** @param {any} pushed */
    [push]({ pub, join, leave, subscribe, unsubscribe }) {
        const membership = this.#membership;
        if (subscribe && membership) this.#entered(membership, subscribe);
        if (!membership?.isMember) return; // it belongs to a former membership
        if (pub) membership.held ? membership.held.push(pub) : this.#deliver(pub, { isLive: true, isNew: true });
        if (join) this.#roster.joined(join.info);
        if (leave) this.#roster.left(leave.info);
        if (unsubscribe) this.#expelled(unsubscribe.code, unsubscribe.reason);
    }

    /** This client has another label. @param {string} label */
    [relabel](label) { this.#roster.relabel(label); }

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
            ({ publications = [] }) => this.#fill(membership, publications), () => this.#fill(membership, []));
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

    /**
     * Gives what was not given before. What comes on coming back (`recovered` is a boolean) is new to the application.
     * @param {Membership} membership @param {any[]} publications @param {boolean | undefined} recovered
     */
    #catchUp(membership, publications, recovered) {
        for (const publication of publications) {
            if (membership !== this.#membership) return; // a listener has left the room
            const isLive = recovered || publication.offset > membership.top;
            this.#deliver(publication, { isLive, isNew: isLive || recovered === false });
        }
        if (membership !== this.#membership) return;
        this.#offset = Math.max(this.#offset, membership.top);
        this.#attempts = 0;
        this.#sendAll();
        this.#become({ state: "joined", recovered });
        this.#roster.begin();
    }

    #sendAll() {
        for (const { data, resolve, reject } of this.#unsent?.splice(0) ?? []) {
            try {
                this.#membership?.connection.send("publish", { channel: this.#name, data }, () => resolve(), reject);
            } catch (error) {
                reject(error); // the data cannot be JSON
            }
        }
    }

    /**
     * Gives a message, unless it was given before. Offsets of pushes have no holes: a server disconnects a slow client
     * that counts offsets, whatever its policy is, and never drops a push of it (docs/decisions/0030).
     * @param {any} publication @param {{ isLive: boolean, isNew: boolean }} kind
     */
    #deliver({ offset, time, data, info }, { isLive, isNew }) {
        if (offset <= this.#offset) return;
        this.#offset = offset ?? this.#offset;
        const text = [data?.text, data].find((value) => typeof value === "string");
        const author = memberOf(info, this.#host.isOwn);
        if (isLive) this.#roster.heard(author);
        this[emit]("message", { offset, time, text, data, ...author, isLive, isNew });
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
        const unsent = this.#unsent;
        this.#unsent = undefined;
        unsent?.forEach(({ reject }) => reject(error));
    }

    /** @param {RoomStateEvent} event */
    #become(event) {
        if (event.state === this.#state) return;
        this.#state = event.state;
        this[emit]("state", event);
    }
}

/**
 * Who is in a room: it is asked for again and again while somebody listens, and kept up to date in between by the
 * events of rooms that have any.
 */
class Roster {
    /** An answer is awaited, or the right to ask is missing. */
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

    /** Asks, now and later, for as long as somebody listens. */
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

    /** A member that speaks may have another name by now. @param {Member} author */
    heard(author) {
        const known = this.#members?.get(author.client);
        if (this.#members && known && known.name !== author.name) this.#tell(this.#members.set(author.client, author));
    }

    /** @param {string} label */
    relabel(label) {
        const own = [...this.#members?.values() ?? []].filter(({ isOwn, name }) => isOwn && name !== label);
        for (const member of own) this.#members?.set(member.client, { ...member, name: label });
        if (this.#members && own.length > 0) this.#tell(this.#members);
    }

    #count() {
        clearTimeout(this.#timer);
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
        this.#isAsking = false;
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
 * Who has published or joined. A backend has no name.
 * @param {any} info @param {(client: string) => boolean} isOwn @returns {Member}
 */
function memberOf(info, isOwn) {
    const { client = "", user = "", conn_info: given } = info ?? {};
    const name = [given?.name, user].find((value) => value && typeof value === "string");
    return { client, user, name: name ?? (client && `client-${client.slice(0, 6)}`), isOwn: isOwn(client) };
}
