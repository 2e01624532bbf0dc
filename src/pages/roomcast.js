/**
 * The client module of a Roomcast server: rooms over one WebSocket, in the Centrifuge protocol with JSON. It connects
 * again by itself, and gives each message of a room once and in the order of the room. docs/javascript.md explains it.
 *
 * The layers, bottom up: a Connection is one WebSocket with its commands and never comes back; a Room asks for its place
 * on each new connection; Roomcast decides when there is a connection.
 * @module roomcast
 */

const BACKOFF_MS_MIN = 500;
const BACKOFF_MS_MAX = 20_000;
/** An attempt to connect fails after this time: token, handshake and reply together. */
const ATTEMPT_MS_MAX = 10_000;
/** A connection is lost if nothing at all comes for this time while an answer is awaited. */
const SILENCE_MS_MAX = 5_000;
/** It is lost too if one answer takes this long. A server may delay a client that publishes too fast, but not for ever. */
const ANSWER_MS_MAX = 30_000;
/** It is lost if the server's ping is late by this time. */
const PING_DELAY_MS_MAX = 10_000;
/** The longest time that timers take. */
const TIMER_MS_MAX = 2 ** 31 - 1;
/** Commands share a frame up to this length, far below the limit of any server. */
const FRAME_CHARS_MAX = 16_384;
/** Of a room with more members, only their number is asked for. */
const MEMBERS_LISTED_MAX = 200;
const MEMBERS_DELAY_MS_MIN = 5_000;
const MEMBERS_DELAY_MS_MAX = 60_000;

/** @typedef {"closed" | "connecting" | "connected" | "waiting" | "refused"} ServerState */
/** @typedef {"joining" | "joined" | "left"} RoomState */
/** @typedef {{ state: ServerState, code?: number, reason?: string, retryAt?: number }} ServerStateEvent */
/** @typedef {{ state: RoomState, code?: number, reason?: string, recovered?: boolean }} RoomStateEvent */
/** @typedef {{ client: string, user: string, name: string }} Author */
/** @typedef {Author & { isOwn: boolean }} Member */
/** @typedef {{ count: number, members?: Member[] }} MembersEvent */
/** @typedef {{ offset?: number, time?: number, text?: string, data: any, isOwn: boolean, isLive: boolean } & Author} Message */
/** @typedef {{ state: ServerStateEvent, nick: { nick: string } }} ServerEvents */
/** @typedef {{ state: RoomStateEvent, message: Message, gap: {}, members: MembersEvent }} RoomEvents */
/** @typedef {{ method: string, chars: number, sentAt: number, onResult: (result: any) => void, onError: (error: RoomcastError) => void }} Pending */
/** @typedef {{ opened: () => void, pushed: (push: any) => void, ended: (code: number, reason: string, isRecoverable: boolean) => void }} ConnectionHandlers */
/** @typedef {{ connection: Connection, isMember: boolean, held?: any[], epoch?: string, top: number }} Membership */
/** @typedef {{ isOwn: (client: string) => boolean, backoff: (attempts: number) => number, forget: (room: Room) => void }} Host */
/**
 * @typedef {object} Options
 * @property {string} [url] Of the endpoint; by default `connection/websocket` beside this module.
 * @property {string} [token] What the application has signed for the user.
 * @property {() => Promise<string>} [getToken] Gives a token when there is none yet, or a new one when it expires.
 * @property {string} [nick] The name that a user without a token wishes for.
 * @property {typeof globalThis.WebSocket} [WebSocket] For programs without a WebSocket of their own.
 * @property {() => number} [random] Gives numbers from 0 to 1, for tests.
 */

// What the classes of this module call of each other, and nobody else can.
const emit = Symbol("emit");
const hasListener = Symbol("hasListener");
const prepare = Symbol("prepare");
const enter = Symbol("enter");
const push = Symbol("push");
const lose = Symbol("lose");

/** Why something was not done, or may not have been. */
export class RoomcastError extends Error {
  /**
   * @param {number | "offline" | "lost" | "left"} code
   * @param {string} message
   * @param {boolean} isTemporary
   */
  constructor(code, message, isTemporary = false) {
    super(message);
    this.name = "RoomcastError";
    /** The server's number, or a word of this module: "offline" and "left" = not done; "lost" = perhaps done. */
    this.code = code;
    /** Whether it makes sense to try again. */
    this.isTemporary = isTemporary;
  }
}

/** @template {Record<string, any>} Events */
class Emitter {
  /** @type {{ name: keyof Events, listener: (event: any) => void }[]} */
  #entries = [];

  /**
   * Calls the listener on each event of this name. Returns a function that stops it.
   * @template {keyof Events} Name
   * @param {Name} name
   * @param {(event: Events[Name]) => void} listener
   * @returns {() => void}
   */
  on(name, listener) {
    const entry = { name, listener };
    this.#entries = [...this.#entries, entry];
    return () => {
      this.#entries = this.#entries.filter((other) => other !== entry);
    };
  }

  /** @param {keyof Events} name */
  [hasListener](name) {
    return this.#entries.some((entry) => entry.name === name);
  }

  /**
   * A listener that throws keeps nobody from the event.
   * @template {keyof Events} Name
   * @param {Name} name
   * @param {Events[Name]} event
   */
  [emit](name, event) {
    for (const { listener } of this.#entries.filter((entry) => entry.name === name)) {
      try {
        listener(event);
      } catch (error) {
        queueMicrotask(() => { throw error; });
      }
    }
  }
}

/**
 * One WebSocket: its commands with their answers, and its pings. It ends once, and then all is settled.
 *
 * Answers are callbacks and no promises, because a push behind an answer in the same frame must find its effect.
 */
class Connection {
  #socket;
  #handlers;
  /** @type {Map<number, Pending>} */
  #pending = new Map();
  /** @type {string[]} */
  #outgoing = [];
  #newestId = 0;
  #answersPings = false;
  #silenceMsMax = TIMER_MS_MAX;
  #isEnded = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  isOpen = false;

  /**
   * @param {WebSocket} socket
   * @param {ConnectionHandlers} handlers
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
   * Sends a command, in one frame with what else is sent in this turn. One of the callbacks is called.
   * @param {string} method
   * @param {object} parameters
   * @param {(result: any) => void} onResult
   * @param {(error: RoomcastError) => void} onError
   */
  send(method, parameters, onResult, onError) {
    const id = ++this.#newestId;
    const line = JSON.stringify({ id, [method]: parameters });
    this.#pending.set(id, { method, chars: line.length, sentAt: performance.now(), onResult, onError });
    if (this.#outgoing.push(line) === 1) queueMicrotask(() => this.#flush());
    if (this.#pending.size === 1) this.#watch();
  }

  /**
   * Begins to expect pings.
   * @param {{ ping?: number, pong?: boolean }} connected
   */
  expectPings({ ping = 0, pong = false }) {
    this.#answersPings = pong;
    this.#silenceMsMax = ping ? ping * 1000 + PING_DELAY_MS_MAX : TIMER_MS_MAX;
  }

  /**
   * @param {number} code
   * @param {string} reason
   */
  end(code, reason) {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.isOpen = false;
    clearTimeout(this.#timer);
    this.#socket.onopen = this.#socket.onmessage = this.#socket.onclose = null;
    this.#socket.close();
    const tooLong = code === 1009 ? this.#longestPublish() : undefined;
    this.#handlers.ended(code, reason, !isForGood(code) || tooLong !== undefined);
    for (const pending of this.#pending.values()) {
      pending.onError(pending === tooLong ? new RoomcastError(1009, "the message is too long for the server")
        : new RoomcastError("lost", `no answer: ${reason}`, true));
    }
  }

  /** The one that the server has found too long, which it does not say. */
  #longestPublish() {
    const publishes = [...this.#pending.values()].filter(({ method }) => method === "publish");
    return publishes.sort((one, other) => other.chars - one.chars)[0];
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
    const pending = this.#pending.get(reply.id);
    if (!pending) return reply.id || !this.#answersPings ? undefined : this.#transmit("{}");
    this.#pending.delete(reply.id);
    if (!reply.error) return pending.onResult(reply[pending.method] ?? {});
    const { code, message, temporary = false } = reply.error;
    pending.onError(new RoomcastError(code, message, temporary));
  }

  #watch() {
    clearTimeout(this.#timer);
    const [oldest] = this.#pending.values();
    const answerMs = oldest ? oldest.sentAt + ANSWER_MS_MAX - performance.now() : TIMER_MS_MAX;
    const milliseconds = oldest ? Math.min(SILENCE_MS_MAX, answerMs) : this.#silenceMsMax;
    this.#timer = setTimeout(() => this.end(1006, "the server does not answer"), Math.min(milliseconds, TIMER_MS_MAX));
  }
}

/** Who is in a room: asked for again and again while somebody listens, and kept by the events of rooms that have any. */
class Roster {
  #room;
  #ask;
  #isOwn;
  /** @type {Map<string, Member> | undefined} */
  #members;
  #hasEvents = false;
  #isAsking = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /**
   * @param {Room} room
   * @param {(method: string, parameters: object, onResult: (result: any) => void, onError: (error: RoomcastError) => void) => void} ask
   * @param {(client: string) => boolean} isOwn
   */
  constructor(room, ask, isOwn) {
    this.#room = room;
    this.#ask = ask;
    this.#isOwn = isOwn;
  }

  /** Begins to ask, unless it does so already. */
  begin() {
    if (this.#isAsking || !this.#room[hasListener]("members")) return;
    this.#isAsking = true;
    this.#count();
  }

  end() {
    clearTimeout(this.#timer);
    this.#isAsking = this.#hasEvents = false;
    this.#members = undefined;
  }

  /** @param {any} info */
  joined(info) {
    const member = this.#memberOf(info);
    this.#hasEvents ||= member.isOwn;
    if (this.#members) this.#tell(this.#members.set(member.client, member));
  }

  /** @param {any} info */
  left({ client }) {
    if (this.#members?.delete(client)) this.#tell(this.#members);
  }

  #count() {
    this.#isAsking = this.#room[hasListener]("members");
    if (!this.#isAsking) return;
    if (globalThis.document?.hidden) return this.#askLater(0);
    this.#ask("presence_stats", {}, ({ num_clients: count }) => {
      if (count <= MEMBERS_LISTED_MAX) return this.#list();
      this.#members = undefined;
      this.#room[emit]("members", { count });
      this.#askLater(count);
    }, (error) => error.isTemporary && this.#askLater(MEMBERS_LISTED_MAX));
  }

  #list() {
    this.#ask("presence", {}, ({ presence }) => {
      const members = Object.values(presence).map((info) => this.#memberOf(info));
      this.#tell(this.#members = new Map(members.map((member) => [member.client, member])));
      this.#askLater(members.length);
    }, () => this.#askLater(MEMBERS_LISTED_MAX));
  }

  /**
   * Longer in rooms with more members, so that all of them together ask about as often. Where events come, it only
   * repairs what they leave out, such as the members of a room that has become small again.
   * @param {number} count
   */
  #askLater(count) {
    const delay = this.#hasEvents ? MEMBERS_DELAY_MS_MAX : Math.max(MEMBERS_DELAY_MS_MIN, count * 250);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#count(), Math.min(delay, MEMBERS_DELAY_MS_MAX));
  }

  /** @param {Map<string, Member>} members */
  #tell(members) {
    const sorted = [...members.values()].sort((one, other) => one.name.localeCompare(other.name));
    this.#room[emit]("members", { count: sorted.length, members: sorted });
  }

  /**
   * @param {any} info
   * @returns {Member}
   */
  #memberOf(info) {
    return { ...authorOf(info), isOwn: this.#isOwn(info.client) };
  }
}

/**
 * A room that was joined, on each connection anew from its position on, until it is left.
 * @extends {Emitter<RoomEvents>}
 */
export class Room extends Emitter {
  #name;
  #history;
  #host;
  #roster;
  /** @type {RoomState} */
  #state = "joining";
  /** The position: everything up to it was given to the application. @type {string | undefined} */
  #epoch;
  #offset = 0;
  /** The place on the present connection. What is asked for one place is not answered to the next. @type {Membership | undefined} */
  #membership;
  /** Settled when it is known whether the present attempt to join succeeds. @type {Deferred | undefined} */
  #outcome;
  #attempts = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /**
   * Use {@link Roomcast#join}.
   * @param {string} name
   * @param {number} history
   * @param {Host} host
   */
  constructor(name, history, host) {
    super();
    this.#name = name;
    this.#history = history;
    this.#host = host;
    this.#roster = new Roster(this, this.#ask.bind(this), host.isOwn);
  }

  get name() {
    return this.#name;
  }

  get state() {
    return this.#state;
  }

  /**
   * @template {keyof RoomEvents} Name
   * @param {Name} name
   * @param {(event: RoomEvents[Name]) => void} listener
   */
  on(name, listener) {
    const stop = super.on(name, listener);
    if (this.#state === "joined") this.#roster.begin();
    return stop;
  }

  /**
   * Publishes any JSON value, behind what was published before.
   * @param {any} data
   * @returns {Promise<void>}
   * @throws {RoomcastError}
   */
  async publish(data) {
    if (this.#state === "left") throw new RoomcastError("left", "the room was left");
    if (!this.#outcome) throw new RoomcastError("offline", "not connected", true);
    await this.#outcome.promise;
    return new Promise((resolve, reject) => {
      const connection = this.#membership?.connection;
      if (!connection) return reject(new RoomcastError("offline", "not connected", true));
      connection.send("publish", { channel: this.#name, data }, () => resolve(), reject);
    });
  }

  /**
   * Publishes a text as the members of other programs understand it.
   * @param {string} text
   */
  say(text) {
    return this.publish({ text });
  }

  leave() {
    if (this.#state === "left") return;
    this.#membership?.connection.send("unsubscribe", { channel: this.#name }, () => {}, () => {});
    this.#finish({});
  }

  /** There will be a connection, or there will not. */
  [prepare]() {
    this.#outcome = new Deferred();
  }

  /** @param {Connection} connection */
  [enter](connection) {
    /** @type {Membership} */
    const membership = { connection, isMember: false, top: 0 };
    this.#membership = membership;
    const isResuming = this.#epoch !== undefined;
    const position = isResuming ? { recover: true, epoch: this.#epoch, offset: this.#offset } : {};
    this.#ask("subscribe", position, (result) => this.#entered(membership, result), (error) => this.#refused(error));
    if (!isResuming) this.#askHistory(membership);
  }

  /** @param {any} pushed */
  [push]({ pub, join, leave, subscribe, unsubscribe }) {
    const membership = this.#membership;
    if (subscribe && membership && !membership.isMember) return this.#entered(membership, subscribe);
    if (!membership?.isMember) return; // it belongs to an earlier membership
    if (pub) membership.held ? membership.held.push(pub) : this.#deliver(pub, true);
    if (join) this.#roster.joined(join.info);
    if (leave) this.#roster.left(leave.info);
    if (unsubscribe) this.#expelled(unsubscribe);
  }

  /** The connection is gone. */
  [lose]() {
    this.#drop(new RoomcastError("offline", "the connection is lost", true));
    this.#become({ state: "joining" });
  }

  /** @type {(method: string, parameters: object, onResult: (result: any) => void, onError: (error: RoomcastError) => void) => void} */
  #ask(method, parameters, onResult, onError) {
    const membership = this.#membership;
    membership?.connection.send(method, { channel: this.#name, ...parameters }, (result) => {
      if (membership === this.#membership) onResult(result);
    }, (error) => {
      if (membership === this.#membership) onError(error);
    });
  }

  /**
   * Pushes wait until the history is there.
   * @param {Membership} membership
   */
  #askHistory(membership) {
    if (this.#history === 0) return;
    membership.held = [];
    const parameters = { limit: this.#history, reverse: true };
    this.#ask("history", parameters, ({ publications = [] }) => this.#fill(membership, publications), () => this.#fill(membership, []));
  }

  /**
   * @param {Membership} membership
   * @param {any} result
   */
  #entered(membership, { epoch, offset = 0, recovered = false, publications = [] }) {
    if (membership.isMember) return;
    membership.isMember = true;
    membership.epoch = epoch;
    membership.top = offset;
    if (recovered) return this.#deliverAll(membership, publications, true, true);
    if (this.#epoch !== undefined && epoch !== undefined) this.#askHistory(membership);
    if (!membership.held) this.#fill(membership, []);
  }

  /**
   * Gives the history, and what was said since it was asked for. It is a gap if this does not connect with what the
   * application has got before.
   * @param {Membership} membership
   * @param {any[]} history
   */
  #fill(membership, history) {
    const { epoch, top, held = [] } = membership;
    const isResuming = this.#epoch !== undefined;
    const isOtherLife = epoch !== this.#epoch;
    const publications = [...history, ...held].sort((one, other) => one.offset - other.offset);
    const seen = isOtherLife ? 0 : this.#offset;
    const isGap = isResuming && ((isOtherLife && this.#offset > 0) || (publications[0]?.offset ?? top + 1) > seen + 1);
    this.#epoch = epoch;
    this.#offset = seen;
    membership.held = undefined;
    if (isGap) this[emit]("gap", {});
    this.#deliverAll(membership, publications, false, isResuming ? !isGap : undefined);
  }

  /**
   * @param {Membership} membership
   * @param {any[]} publications
   * @param {boolean} isLive
   * @param {boolean | undefined} recovered
   */
  #deliverAll(membership, publications, isLive, recovered) {
    for (const publication of publications) {
      if (membership !== this.#membership) return;
      this.#deliver(publication, isLive || publication.offset > membership.top);
    }
    if (membership !== this.#membership) return;
    this.#offset = Math.max(this.#offset, membership.top);
    this.#attempts = 0;
    this.#become({ state: "joined", recovered });
    this.#outcome?.resolve();
    this.#roster.begin();
  }

  /**
   * Gives a message to the application, unless it had it.
   * @param {any} publication
   * @param {boolean} isLive
   */
  #deliver({ offset, time, data, info }, isLive) {
    if (offset <= this.#offset) return;
    this.#offset = offset ?? this.#offset;
    const text = typeof data?.text === "string" ? data.text : typeof data === "string" ? data : undefined;
    const author = authorOf(info);
    this[emit]("message", { offset, time, text, data, ...author, isOwn: this.#host.isOwn(author.client), isLive });
  }

  /** @param {RoomcastError} error */
  #refused(error) {
    if (this.#membership?.isMember) return; // 105: the server has had it join already
    const code = Number(error.code);
    if (error.isTemporary) this.#enterLater(error);
    else this.#finish({ code, reason: error.message });
  }

  /** @param {{ code: number, reason: string }} unsubscribe */
  #expelled({ code, reason }) {
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
    this.#drop(new RoomcastError(code ?? "left", reason ?? "the room was left"));
    this.#host.forget(this);
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
 * A server: it connects, again and again where this makes sense.
 * @extends {Emitter<ServerEvents>}
 */
export class Roomcast extends Emitter {
  #url;
  #token;
  #getToken;
  #wishedNick;
  #WebSocket;
  #random;
  /** @type {ServerState} */
  #state = "closed";
  /** @type {Map<string, Room>} */
  #rooms = new Map();
  /** The client ids that this object has had. @type {Set<string>} */
  #clientIds = new Set();
  /** @type {string | undefined} */
  #clientId;
  /** @type {string | undefined} */
  #nick;
  /** @type {Connection | undefined} */
  #connection;
  #attempts = 0;
  /** Ends an attempt that takes too long, or begins the next one. @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #refreshTimer;
  /** Aborted when the attempt or its connection has ended. */
  #attempt = new AbortController();
  /** Aborted when no connection is wanted any more. */
  #wish = new AbortController();

  /** @param {Options} options */
  constructor({ url, token, getToken, nick, WebSocket = globalThis.WebSocket, random = Math.random } = {}) {
    super();
    this.#url = (url ?? new URL("connection/websocket", import.meta.url).href).replace(/^http/, "ws");
    this.#token = token;
    this.#getToken = getToken;
    this.#wishedNick = nick;
    this.#WebSocket = WebSocket;
    this.#random = random;
  }

  get state() {
    return this.#state;
  }

  /** Of the present connection, or of the latest. */
  get clientId() {
    return this.#clientId;
  }

  /** The label that others see, once the server has said it. */
  get nick() {
    return this.#nick;
  }

  connect() {
    if (this.#state !== "closed" && this.#state !== "refused") return;
    this.#wish = new AbortController();
    const { signal } = this.#wish;
    const { document } = globalThis;
    globalThis.addEventListener?.("online", () => this.retry(), { signal });
    document?.addEventListener("visibilitychange", () => document.hidden || this.retry(), { signal });
    this.#attempts = 0;
    this.#begin();
  }

  /** Ends the connection. Rooms stay joined for the next {@link connect}. */
  close() {
    this.#wish.abort();
    this.#drop(1000, "closed by this client");
    this.#become({ state: "closed" });
  }

  /** Connects at once instead of at the time that a state "waiting" has named. */
  retry() {
    if (this.#state === "waiting") this.#begin();
  }

  /**
   * Enters a room now, or as soon as there is a connection, and again on each further one. A room that is joined already
   * is given as it is.
   * @param {string} name
   * @param {{ history?: number }} options How many of the newest messages come first.
   * @returns {Room}
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
   * Changes the nick of a user without a token, now and on all further connections.
   * @param {string} nick
   * @returns {Promise<string | undefined>} The label that others see, if the server says it now.
   * @throws {RoomcastError}
   */
  async rename(nick) {
    const previous = this.#wishedNick;
    this.#wishedNick = nick;
    if (!this.#connection?.isOpen) return undefined;
    try {
      return await this.#sendNick(this.#connection, nick);
    } catch (error) {
      if (error instanceof RoomcastError && error.code === "lost") return undefined; // it is sent again
      if (this.#wishedNick === nick) this.#wishedNick = previous;
      throw error;
    }
  }

  /**
   * The names of the rooms that have members and that this user may join.
   * @returns {Promise<string[]>}
   * @throws {RoomcastError}
   */
  async rooms() {
    const url = new URL("../rooms", this.#url.replace(/^ws/, "http"));
    const headers = this.#token ? { authorization: `Bearer ${this.#token}` } : undefined;
    const response = await fetch(url, { headers, signal: AbortSignal.timeout(ATTEMPT_MS_MAX) }).catch((error) => {
      throw new RoomcastError("offline", String(error), true);
    });
    if (!response.ok) throw new RoomcastError(response.status, await response.text(), response.status >= 500);
    return (await response.json()).rooms;
  }

  async #begin() {
    this.#drop(1000, "another attempt");
    const { signal } = this.#attempt;
    this.#timer = setTimeout(() => this.#wait(1006, "no connection within 10 s"), ATTEMPT_MS_MAX);
    this.#rooms.forEach((room) => room[prepare]());
    this.#become({ state: "connecting" });
    try {
      if (this.#getToken) this.#token ??= await this.#getToken();
    } catch (error) {
      if (!signal.aborted) this.#wait(undefined, `no token: ${error}`);
      return;
    }
    if (!signal.aborted) this.#dial();
  }

  #dial() {
    if (this.#getToken && !this.#token) return this.#refuse(109, "no token");
    const connection = new Connection(new this.#WebSocket(this.#url), {
      opened: () => this.#introduce(connection),
      pushed: (pushed) => this.#rooms.get(pushed.channel)?.[push](pushed),
      ended: (code, reason, isRecoverable) => {
        if (connection !== this.#connection) return;
        if (code === 3005) this.#token = this.#getToken ? undefined : this.#token;
        isRecoverable ? this.#wait(code, reason) : this.#refuse(code, reason);
      },
    });
    this.#connection = connection;
  }

  /**
   * Sends all in one frame: who this is, its nick and its rooms.
   * @param {Connection} connection
   */
  #introduce(connection) {
    connection.send("connect", { token: this.#token, name: "roomcast.js" }, (result) => this.#connected(connection, result),
      (error) => connection === this.#connection && this.#notConnected(error));
    if (this.#wishedNick) this.#sendNick(connection, this.#wishedNick).catch(() => {});
    this.#rooms.forEach((room) => room[enter](connection));
  }

  /**
   * @param {Connection} connection
   * @param {any} result
   */
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
    const isExpired = code === 109 && this.#getToken !== undefined;
    if (isExpired) this.#token = undefined;
    isExpired || isTemporary ? this.#wait(Number(code), message) : this.#refuse(Number(code), message);
  }

  /**
   * @param {Connection} connection
   * @param {string} nick
   * @returns {Promise<string | undefined>}
   */
  #sendNick(connection, nick) {
    return new Promise((resolve, reject) => {
      connection.send("rpc", { method: "nick", data: { nick } }, ({ data }) => {
        const isOther = this.#nick !== data.nick;
        this.#nick = data.nick;
        if (isOther) this[emit]("nick", data);
        resolve(data.nick);
      }, (error) => (error.code === 108 ? resolve(undefined) : reject(error))); // an older server has no nicks here
    });
  }

  /** @param {number} seconds */
  #refreshIn(seconds) {
    if (this.#getToken) this.#refreshTimer = setTimeout(() => this.#refresh(), Math.min(seconds * 1000, TIMER_MS_MAX));
  }

  async #refresh() {
    const { signal } = this.#attempt;
    try {
      const token = await this.#getToken?.();
      if (signal.aborted) return;
      this.#token = token;
      this.#connection?.send("refresh", { token }, ({ expires, ttl }) => expires && this.#refreshIn(ttl),
        (error) => error.isTemporary ? this.#refreshLater() : this.#refuse(Number(error.code), error.message));
    } catch {
      if (!signal.aborted) this.#refreshLater();
    }
  }

  #refreshLater() {
    this.#refreshIn(5 + 5 * this.#random());
  }

  /**
   * @param {number | undefined} code
   * @param {string} reason
   */
  #wait(code, reason) {
    this.#drop(1000, reason);
    const delay = this.#backoff(this.#attempts++);
    this.#timer = setTimeout(() => this.#begin(), delay);
    this.#become({ state: "waiting", code, reason, retryAt: Date.now() + delay });
  }

  /**
   * @param {number} code
   * @param {string} reason
   */
  #refuse(code, reason) {
    this.#wish.abort();
    this.#drop(1000, reason);
    this.#become({ state: "refused", code, reason });
  }

  /**
   * Ends what is under way.
   * @param {number} code
   * @param {string} reason
   */
  #drop(code, reason) {
    clearTimeout(this.#timer);
    clearTimeout(this.#refreshTimer);
    this.#attempt.abort();
    this.#attempt = new AbortController();
    const connection = this.#connection;
    this.#connection = undefined;
    this.#rooms.forEach((room) => room[lose]());
    connection?.end(code, reason);
  }

  /** @param {number} attempts */
  #backoff(attempts) {
    return BACKOFF_MS_MIN + this.#random() * Math.min(BACKOFF_MS_MAX - BACKOFF_MS_MIN, BACKOFF_MS_MIN * 2 ** attempts);
  }

  /** @param {ServerStateEvent} event */
  #become(event) {
    if (event.state === this.#state) return;
    this.#state = event.state;
    this[emit]("state", event);
  }
}

/** A promise with its two ends. It may fail without anybody who waits for it. */
class Deferred {
  /** @type {() => void} */
  resolve = () => {};
  /** @type {(error: RoomcastError) => void} */
  reject = () => {};
  /** @type {Promise<void>} */
  promise = new Promise((resolve, reject) => Object.assign(this, { resolve, reject }));

  constructor() {
    this.promise.catch(() => {});
  }
}

/**
 * Whether a connection that has ended with this code is not to be made again.
 * @param {number} code
 */
function isForGood(code) {
  return code === 1009 || (code >= 3500 && code < 4000) || (code >= 4500 && code < 5000);
}

/**
 * Who has published or joined. A backend has no name.
 * @param {any} info
 * @returns {Author}
 */
function authorOf(info) {
  const { client = "", user = "" } = info ?? {};
  const name = info?.conn_info?.name;
  if (typeof name === "string" && name) return { client, user, name };
  return { client, user, name: user || (client && `client-${client.slice(0, 6)}`) };
}
