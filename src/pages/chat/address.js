/** Pure: names of rooms and nicks, and the part of the page's address that names a room. No DOM. */

const ROOM_BYTES_MAX = 128, NICK_BYTES_MAX = 64;

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
