/** Pure: how texts, names and moments become what a page shows. Moments are in milliseconds since 1970. No DOM. */

/** A text that is longer than this is cut, with a button that shows the rest. */
const CHARS_SHOWN_MAX = 1_500;
/** A text that has more lines than this is cut. */
const LINES_SHOWN_MAX = 16;
/** JSON that would be longer than this when indented is shown compact. */
const INDENTED_CHARS_MAX = 4 * CHARS_SHOWN_MAX;
/** A text that exceeds the limits by less than this factor is shown whole. */
const CLIP_TOLERANCE = 1.25;
/** Addresses behind this many in one text are no links. */
const LINKS_MAX = 200;
/** Ends at spaces, quotes, and at characters that turn the direction of writing, which could disguise an address. */
const LINK = /(?<![\p{L}\p{N}])https?:\/\/[^\s<>"`\u0000-\u001f\u200e\u200f\u202a-\u202e\u2066-\u2069]+/giu;
const TRAILING = new Set(".,;:!?'*_~…)]}");
/** @type {Record<string, string>} */
const OPENING = { ")": "(", "]": "[", "}": "{" };

/** Limits of the server. */
const ROOM_BYTES_MAX = 128, NICK_BYTES_MAX = 64;

const MINUTE_MS = 60_000, DAY_MS = 86_400_000;
/** In the time zone of the reader. Made when first used, because making one takes milliseconds. */
const clockFormat = lazy(() => new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" }));
const fullFormat = lazy(() => new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "medium" }));
const weekdayFormat = lazy(() => new Intl.DateTimeFormat("en", { weekday: "long", day: "numeric", month: "long" }));
const yearFormat = lazy(() => new Intl.DateTimeFormat("en", { weekday: "long", day: "numeric", month: "long", year: "numeric" }));

/** The latest result of `clock`. */
let latest = { minute: NaN, text: "" };

/** @typedef {{ text: string, href?: string }} Segment */

/** Divides a text into links and what is between them. @param {string} text @returns {Segment[]} */
export function segments(text) {
    /** @type {Segment[]} */
    const found = [];
    let end = 0, links = 0;
    for (const match of text.matchAll(LINK)) {
        if (links === LINKS_MAX) break;
        const link = withoutTrailing(match[0]);
        if (!isAddress(link)) continue;
        links++;
        if (match.index > end) found.push({ text: text.slice(end, match.index) });
        found.push({ text: link, href: link });
        end = match.index + link.length;
    }
    if (end < text.length) found.push({ text: text.slice(end) });
    return found;
}

/** Punctuation behind an address belongs to the sentence; a bracket that the address has opened does not. @param {string} link */
function withoutTrailing(link) {
    /** @type {Record<string, number>} */
    const counts = {};
    for (const sign of link) counts[sign] = (counts[sign] ?? 0) + 1;
    let end = link.length;
    for (let sign = link[end - 1]; TRAILING.has(sign); sign = link[--end - 1]) {
        const opening = OPENING[sign];
        if (opening && (counts[opening] ?? 0) >= counts[sign]) break;
        counts[sign]--;
    }
    return link.slice(0, end);
}

/** @param {string} link */
function isAddress(link) {
    const url = URL.parse ? URL.parse(link) : URL.canParse?.(link) ? new URL(link) : null;
    return url !== null && (url.protocol === "http:" || url.protocol === "https:") && url.hostname !== "";
}

/** The beginning of a text that is too long or too high to be shown whole; otherwise the text. @param {string} text */
export function clipped(text) {
    let end = 0;
    for (let line = 0; line < LINES_SHOWN_MAX && end >= 0; line++) end = text.indexOf("\n", end + 1);
    const isHigh = end >= 0 && text.indexOf("\n", end + 1) >= 0;
    const isLong = text.length > CHARS_SHOWN_MAX * CLIP_TOLERANCE;
    if (!isHigh && !isLong) return text;
    let cut = Math.min(isHigh ? end : text.length, isLong ? CHARS_SHOWN_MAX : text.length);
    const code = text.charCodeAt(cut - 1);
    if (code >= 0xd800 && code < 0xdc00) cut--; // half a character
    return text.slice(0, cut);
}

/** The letter that stands for a name. @param {string} name */
export function initial(name) {
    const [letter = ""] = name.match(/[\p{L}\p{N}]/u) ?? [];
    return [...letter.toUpperCase()][0] ?? "";
}

/** Compact JSON, indented if it stays short: the indents of nested data can be many times longer than the data. @param {string} json */
export function readable(json) {
    if (json.length >= CHARS_SHOWN_MAX) return json;
    try {
        const indented = JSON.stringify(JSON.parse(json), null, 2);
        return indented.length <= INDENTED_CHARS_MAX ? indented : json;
    } catch {
        return json;
    }
}

/** @param {number} count @param {string} one @param {string} many */
export function counted(count, one, many = `${one}s`) {
    return `${count.toLocaleString("en")} ${count === 1 ? one : many}`;
}

/** The room that `#lobby` means; "" is none. @param {string} hash */
export function roomOfHash(hash) {
    const encoded = hash.replace(/^#/, "");
    try {
        return decodeURIComponent(encoded).normalize("NFC");
    } catch {
        return encoded; // a stray percent sign, typed by hand
    }
}

/** @param {string} room */
export function hashOfRoom(room) {
    return `#${encodeURIComponent(room.replace(/\p{Surrogate}/gu, "\ufffd"))}`;
}

/** Why this cannot be the name of a room; `undefined` if it can. @param {string} name @returns {string | undefined} */
export function wrongRoom(name) {
    return wrong(name, "A room name", ROOM_BYTES_MAX);
}

/** @param {string} name @returns {string | undefined} */
export function wrongNick(name) {
    return wrong(name, "A name", NICK_BYTES_MAX);
}

/** @param {string} name @param {string} subject @param {number} bytesMax */
function wrong(name, subject, bytesMax) {
    if (/\s/u.test(name)) return `${subject} has no spaces: try “${name.trim().replace(/\s+/gu, "-")}”.`;
    if (/\p{Cc}/u.test(name)) return `${subject} has no control characters.`;
    if (new TextEncoder().encode(name).length > bytesMax) return `${subject} has at most ${bytesMax} bytes.`;
    return undefined;
}

/** The time of a day; messages come many to a minute, and formatting is slow. @param {number} moment */
export function clock(moment) {
    const minute = Math.floor(moment / MINUTE_MS);
    if (minute !== latest.minute) latest = { minute, text: clockFormat().format(moment) };
    return latest.text;
}

/** @param {number} moment */
export const full = (moment) => fullFormat().format(moment);

/** The first millisecond of the day of a moment. @param {number} moment */
export function dayOf(moment) {
    return new Date(moment).setHours(0, 0, 0, 0);
}

/** @param {number} moment @param {number} now */
export function dayLabel(moment, now) {
    const days = Math.round((dayOf(now) - dayOf(moment)) / DAY_MS); // days with a change of the clock are not 24 hours long
    if (days === 0) return "Today";
    if (days === 1) return "Yesterday";
    const isSameYear = new Date(moment).getFullYear() === new Date(now).getFullYear();
    return (isSameYear ? weekdayFormat : yearFormat)().format(moment);
}

/** Milliseconds until labels of days are wrong. @param {number} now */
export function untilMidnight(now) {
    return new Date(now).setHours(24, 0, 0, 0) - now;
}

/** @template Value @param {() => Value} make @returns {() => Value} */
function lazy(make) {
    /** @type {Value | undefined} */
    let value;
    return () => value ??= make();
}
