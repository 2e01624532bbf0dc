// The shape of /dashboard/stats. Types only.

/** @typedef {"ok" | "warning" | "critical"} Level */

/**
 * One array per figure, one element per second, oldest first.
 * @typedef {object} Samples
 * @property {number[]} at Unix seconds
 * @property {(number | null)[]} clients
 * @property {(number | null)[]} rooms
 * @property {(number | null)[]} published per second
 * @property {(number | null)[]} delivered per second
 * @property {(number | null)[]} p50 seconds from read to written, null without deliveries
 * @property {(number | null)[]} p99
 * @property {(number | null)[]} pending_bytes
 * @property {(number | null)[]} memory_bytes
 * @property {(number | null)[]} load of the busiest worker, 0 to 1
 * @property {(number | null)[]} cut slow consumers that were cut in that second
 */

/** @typedef {{ room: string, members: number, rate: number }} Room `rate` is in publications per second */
/** @typedef {{ transport: string, reason: string, total: number, lately: number }} Ending `lately` is the last minute */
/** @typedef {{ load: number, clients: number }} Worker `load` is from 0 to 1 */

/**
 * @typedef {object} Stats
 * @property {string} version
 * @property {string} node the name of the host
 * @property {number} now Unix ms
 * @property {number} uptime seconds
 * @property {{ level: Level, sentences: string[] }} verdict
 * @property {{ now: number, max: number, by_transport: Record<string, number>, http_connections: number }} clients
 * @property {number} rooms
 * @property {number} published since the start
 * @property {number} delivered since the start
 * @property {{ slow: number, gap: number, gone: number }} dropped
 * @property {number} refused
 * @property {number} pending_bytes
 * @property {number} held_bytes
 * @property {number} outbox_budget
 * @property {number} history_bytes
 * @property {number} history_budget
 * @property {number} memory_bytes
 * @property {Ending[]} ended most first
 * @property {{ by_members: Room[], by_rate: Room[] }} top_rooms
 * @property {Worker[]} workers
 * @property {Samples & { next: number }} samples `next` is the number to pass as `since`
 */

export {};
