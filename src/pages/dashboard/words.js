// What the server's constant phrases mean, in words for people. Phrases that are not here are shown as they are.

/** @type {Record<string, string>} */
const TRANSPORTS = { tcp: "TCP", websocket: "WebSocket", http_stream: "HTTP stream", sse: "SSE", http: "HTTP" };

/** @type {Record<string, string>} */
const REASONS = {
    "closed-by-peer": "The client closed the connection",
    quit: "The client said QUIT",
    shutdown: "The server stopped",
    "protocol-error": "Broken frames",
    unsupported: "A binary message",
    "not-utf8": "Text that is not UTF-8",
    "too-long": "A message over the limit",
    "too-many-connections": "Too many connections",
    "input-budget": "Too much unfinished input",
    "slow-consumer": "Slow consumer, cut",
    "ping-timeout": "No answer to a ping",
    "token-invalid": "Token refused",
    "token-expired": "Token expired",
    kicked: "Ended by the application",
    dismissed: "Ended by the application, in its words",
    refused: "Refused by the application",
    "idle-timeout": "Silent for too long",
    "message-timeout": "A message without an end",
    "handshake-timeout": "A handshake without an end",
    "io-error": "Network error",
    "out-of-step": "Out of step with the log",
    "insufficient-state": "The cluster lost its log",
    "not-available": "Asked for what is not here",
    done: "HTTP requests answered",
    upgraded: "Became a WebSocket client",
};

/** @param {string} transport */
export const transportName = (transport) => (Object.hasOwn(TRANSPORTS, transport) ? TRANSPORTS[transport] : transport);

/** @param {string} reason */
export const reasonName = (reason) => (Object.hasOwn(REASONS, reason) ? REASONS[reason] : reason);

/**
 * A node among others, as in `3 nodes`, and how far it is behind if it is.
 * @param {import("./stats.js").Cluster} cluster
 */
export const clusterPhrase = ({ nodes, state, lag_messages }) => {
    if (state === "unavailable") return "no NATS";
    const behind = state === "catching-up" ? `, ${lag_messages} messages behind` : "";
    return `${nodes} ${nodes === 1 ? "node" : "nodes"}${behind}`;
};

/** @type {Record<string, string>} */
const LEVELS = { ok: "OK", warning: "Warning", critical: "Critical" };

/** @param {string} level */
export const levelWord = (level) => (Object.hasOwn(LEVELS, level) ? LEVELS[level] : level);
