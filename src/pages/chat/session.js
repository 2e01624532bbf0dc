/** The page's state: one server and the rooms that were joined, with one of them in view. No DOM but for visibility. */
import { Roomcast, RoomcastError } from "/roomcast.js";
import { Conversation } from "./conversation.js";
import { wrongNick } from "./text.js";

/** A room begins with this many of its newest messages. */
const HISTORY = 100;
/** The list of rooms is requested this often while the page is visible. */
const ROOMS_INTERVAL_MS = 15_000;
/** The key of the nick in the browser's storage. */
const STORED_NICK = "roomcast.nick";
/** The close code for a guest where guests are not allowed, as in Centrifugo. */
const NO_TOKEN_CODE = 3501;
/** Errors of `connect` and close codes after which the page asks for a token, or for another one. */
const TOKEN_CODES = new Set([101, 103, 109, 110, 3500, 3507, 4010, 4011]);

/** @typedef {import("../roomcast.js").Room} Room */
/** @typedef {import("../roomcast.js").ServerStateEvent} ServerStateEvent */
/** @typedef {import("./conversation.js").Draft} Draft */
/** `error`: the server has refused the nick. @typedef {{ nick?: string, error?: { message: string, isTemporary?: boolean } }} NickEvent */
/** A part of the state that views render. @typedef {"server" | "rooms" | "room" | "log" | "drafts" | "members" | "nick"} Part */

export class Session {
    /** In the order of joining. @type {Map<string, Conversation>} */
    conversations = new Map();
    /** @type {Conversation | undefined} */
    current;
    /** All rooms with members, as the server has listed them; `undefined` if it does not list any. @type {string[] | undefined} */
    listed = [];
    /** @type {ServerStateEvent} */
    connection = { state: "closed" };
    /** Whether there has been a connection, so that the next one is a return. */
    wasConnected = false;
    nick = storedNick();
    hasToken = false;
    /** Whether a guest is about to give a token, because a room does not take guests. */
    wantsToken = false;
    /** The name that others see, if known. @type {string | undefined} */
    label;
    /** Why the server has refused the nick that this page had sent. @type {string | undefined} */
    nickError;
    /** Whether the server has let a guest in, so that one can go on without a token. */
    #wasGuest = false;
    /** Whether conversations still hold what a former server object has given, and would get it again. */
    #isReplaced = false;
    /** @type {Map<string, Room>} */
    #rooms = new Map();
    #stopMembers = () => {};
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    #roomsTimer;
    /** @type {Roomcast} */
    #server;
    #changed;

    /** @param {(part: Part) => void} changed */
    constructor(changed) {
        this.#changed = changed;
        this.#server = this.#connect();
        document.addEventListener("visibilitychange", () => this.#seen());
    }

    /** Puts a room in view, and joins it if need be; "" is none. @param {string} name */
    open(name) {
        if (this.current) this.current.newFrom = undefined;
        this.#stopMembers();
        this.#stopMembers = () => {};
        this.current = name ? this.conversations.get(name) ?? this.#join(name) : undefined;
        if (this.wantsToken) this.#setWantsToken(false);
        this.#listen();
        this.#seen();
        ["rooms", "room", "members", "log", "drafts"].forEach((part) => this.#changed(/** @type {Part} */ (part)));
    }

    /** Joins a room once more that refused or removed this user. @param {Conversation} conversation */
    rejoin(conversation) {
        if (conversation.state !== "left" || !this.#has(conversation)) return;
        conversation.clear();
        this.#enter(conversation);
        if (conversation === this.current) this.#listen();
        this.#changed("room");
        this.#changed("log");
    }

    /** @param {Conversation} conversation */
    leave(conversation) {
        if (!this.#has(conversation)) return;
        this.conversations.delete(conversation.name);
        this.#rooms.get(conversation.name)?.leave();
        this.#rooms.delete(conversation.name);
        this.#changed("rooms");
        this.#listLater(500);
    }

    /** Whether the text is sent or will be; `false` if too many texts wait. @param {Conversation} conversation @param {string} text */
    say(conversation, text) {
        const draft = conversation.addDraft(text, Date.now());
        if (draft) this.#publish(conversation, draft);
        return draft !== undefined;
    }

    /** @param {Conversation} conversation @param {Draft} draft */
    sayAgain(conversation, draft) {
        conversation.discard(draft);
        this.say(conversation, draft.text);
    }

    /** @param {Conversation} conversation @param {Draft} draft */
    discard(conversation, draft) {
        conversation.discard(draft);
        this.#changed("drafts");
    }

    /** @param {string} nick @throws {RoomcastError} */
    async rename(nick) {
        await this.#server.rename(nick);
        this.nick = nick;
        this.nickError = undefined;
        storeNick(nick);
        this.#changed("nick");
    }

    /** Connects with a token, which is kept nowhere else. @param {string} token */
    useToken(token) {
        this.wantsToken = false;
        this.#replaceServer(token);
    }

    /** Shows the form for a token to a guest. */
    askForToken() {
        this.#setWantsToken(true);
    }

    /** Closes the form for a token. Connects without one if a token was refused. */
    goOnAsGuest() {
        this.#setWantsToken(false);
        if (this.hasToken) this.#replaceServer(undefined);
    }

    /** Whether the form for a token can be closed. */
    get canGoOnAsGuest() {
        return this.wantsToken || (this.hasToken && this.#wasGuest);
    }

    retry() {
        if (this.connection.state === "refused") this.#server.connect();
        else this.#server.retry();
    }

    get needsToken() {
        const { state, code = 0 } = this.connection;
        const isFirst = !this.hasToken && !this.wasConnected;
        return this.wantsToken || (state === "refused" && (TOKEN_CODES.has(code) || (code === NO_TOKEN_CODE && isFirst)));
    }

    get unread() {
        return [...this.conversations.values()].reduce((sum, { unread }) => sum + unread, 0);
    }

    async list() {
        clearTimeout(this.#roomsTimer);
        try {
            this.listed = await this.#server.rooms();
        } catch (error) {
            const isUnknown = error instanceof RoomcastError && typeof error.code === "number" && error.code < 429;
            if (isUnknown) this.listed = undefined;
        }
        this.#changed("rooms");
        this.#listLater(ROOMS_INTERVAL_MS);
    }

    /** @param {number} delay */
    #listLater(delay) {
        clearTimeout(this.#roomsTimer);
        this.#roomsTimer = setTimeout(() => {
            if (document.hidden || this.connection.state !== "connected") this.#listLater(ROOMS_INTERVAL_MS);
            else this.list();
        }, delay);
    }

    /** Connects as somebody else, and joins the same rooms. @param {string | undefined} token */
    #replaceServer(token) {
        const former = this.#server;
        this.hasToken = token !== undefined;
        this.label = undefined;
        this.#isReplaced = true;
        this.#server = this.#connect(token);
        for (const conversation of this.conversations.values()) this.#enter(conversation);
        former.close();
        this.#listen();
        this.#changed("room");
        this.#changed("nick");
    }

    /** @param {string} [token] */
    #connect(token) {
        const server = new Roomcast({ token, nick: token ? undefined : this.nick });
        server.on("state", (event) => {
            if (server !== this.#server) return; // it was replaced
            this.connection = event;
            if (event.state === "connected") this.#connected();
            this.#changed("server");
        });
        server.on("nick", (event) => {
            if (server === this.#server) this.#named(event);
        });
        queueMicrotask(() => server.connect());
        return server;
    }

    #connected() {
        this.wasConnected = true;
        if (!this.hasToken) this.#wasGuest = true;
        if (this.#isReplaced) {
            this.conversations.forEach((conversation) => conversation.clear());
            this.#changed("log");
            this.#changed("drafts");
            this.#changed("rooms");
        }
        this.#isReplaced = false;
        this.#listLater(0);
    }

    /** The server has accepted a nick, or has refused it. @param {NickEvent} event */
    #named({ nick, error }) {
        this.label = nick;
        if (!error) this.nickError = undefined;
        else if (this.nick) this.nickError = `The name “${this.nick}” was refused: ${error.message}.`;
        if (error && !error.isTemporary) storeNick(this.nick = undefined);
        const { current } = this;
        if (nick && current?.members) current.members = renamed(current.members, nick);
        this.#changed("nick");
        this.#changed("members");
    }

    /** @param {boolean} wantsToken */
    #setWantsToken(wantsToken) {
        this.wantsToken = wantsToken;
        this.#changed("server");
    }

    /** Whether the conversation is one of those that were not left. @param {Conversation} conversation */
    #has(conversation) {
        return this.conversations.get(conversation.name) === conversation;
    }

    /** @param {string} name */
    #join(name) {
        const conversation = new Conversation(name);
        this.conversations.set(name, conversation);
        this.#enter(conversation);
        this.#listLater(1_000);
        return conversation;
    }

    /** @param {Conversation} conversation */
    #enter(conversation) {
        const room = this.#server.join(conversation.name, { history: HISTORY });
        this.#rooms.set(conversation.name, room);
        Object.assign(conversation, { state: room.state, reason: undefined });
        const isPresent = () => this.#rooms.get(conversation.name) === room;
        room.on("state", ({ state, code, reason }) => {
            if (!isPresent()) return;
            Object.assign(conversation, { state, reason: state === "left" ? notIn(code, reason) : undefined });
            this.#changed("room");
            this.#changed("rooms");
        });
        room.on("message", (message) => {
            if (!isPresent()) return;
            const isInView = conversation === this.current;
            conversation.add(message, isInView && !document.hidden, Date.now());
            if (isInView) this.#changed("log");
            if (isInView && message.isOwn) this.#changed("drafts");
            if (!isInView || document.hidden) this.#changed("rooms");
        });
        room.on("gap", () => {
            if (!isPresent()) return;
            conversation.addGap();
            this.#changed("log");
            this.#changed("drafts");
        });
    }

    /** Asks for the members of the room in view, and of no other. */
    #listen() {
        const conversation = this.current;
        this.#stopMembers();
        this.#stopMembers = (conversation && this.#rooms.get(conversation.name)?.on("members", ({ count, members }) => {
            Object.assign(conversation, { count, members });
            this.label ??= members?.find((member) => member.isOwn)?.name;
            this.#changed("members");
            this.#changed("nick");
        })) ?? (() => {});
    }

    /** @param {Conversation} conversation @param {Draft} draft */
    async #publish(conversation, draft) {
        this.#changed("drafts");
        try {
            const room = this.#has(conversation) && this.#rooms.get(conversation.name);
            if (!room) throw new RoomcastError("left", "the room was left");
            await room.say(draft.text);
            conversation.markSent(draft);
        } catch (error) {
            conversation.markFailed(draft, notSent(error), error instanceof RoomcastError && error.code === "lost");
        }
        this.#changed("drafts");
    }

    /** The messages of the room in view are read as soon as the page is visible. */
    #seen() {
        if (document.hidden) return;
        this.current?.read();
        this.#changed("rooms");
    }
}

/** @param {number | undefined} code @param {string | undefined} reason */
function notIn(code = 0, reason = "no reason was given") {
    if (code >= 2000) return `You were removed from this room: ${reason}.`;
    if (code === 103) return "You may not join this room.";
    if (code === 106) return "You are in as many rooms as this server allows. Leave another one first.";
    return `This room cannot be joined: ${reason}.`;
}

/** Members with the new name of this user. @param {import("./conversation.js").Member[]} members @param {string} name */
function renamed(members, name) {
    const all = members.map((member) => member.isOwn ? { ...member, name } : member);
    return all.sort((one, other) => one.name.localeCompare(other.name));
}

/** @param {unknown} error */
function notSent(error) {
    if (!(error instanceof RoomcastError)) return "Not sent.";
    switch (error.code) {
        case "offline": return "Not sent: there is no connection.";
        case "left": return "Not sent: you are not in this room.";
        case "lost": return "Perhaps not sent: the connection ended before the answer.";
        case 103: return "Not sent: you may not write in this room.";
        case 111: return "Not sent: too many messages at once.";
        case 1009: return "Not sent: it is too long for this server.";
        default: return `Not sent: ${error.message}.`;
    }
}

/** Storage may be forbidden, and then the nick lasts as long as the page. @returns {string | undefined} */
function storedNick() {
    try {
        const nick = localStorage.getItem(STORED_NICK);
        return nick && !wrongNick(nick) ? nick : undefined;
    } catch {
        return undefined;
    }
}

/** @param {string | undefined} nick */
function storeNick(nick) {
    try {
        if (nick === undefined) localStorage.removeItem(STORED_NICK);
        else localStorage.setItem(STORED_NICK, nick);
    } catch {}
}
