// The main figures, each with a small line of the last ten minutes.

import { html, setAttribute, svg } from "./dom.js";
import { setText } from "../elements.js";
import { NONE, bytes, count, rate, seconds, text } from "./format.js";
import { HEIGHT, WIDTH, axis, greatest, line, newest, thinned } from "./plot.js";

/** @typedef {import("./stats.js").Stats} Stats */
/** @typedef {import("./stats.js").Samples} Samples */

/**
 * @typedef {object} Tile
 * @property {string} name
 * @property {Exclude<keyof Samples, "at">} key
 * @property {import("./format.js").Format} format
 * @property {number} least the least top of the small line
 * @property {(stats: Stats, samples: Samples) => number | null | undefined} now
 * @property {string} [about] stands beside the figure instead of the peak
 * @property {(stats: Stats) => string} [note] the same, from the figures
 */

/** @type {Tile[]} */
const TILES = [
    {
        name: "Clients",
        key: "clients",
        format: count,
        least: 10,
        now: ({ clients }) => clients.now,
        note: ({ clients }) => `of ${text(count(clients.max))}`,
    },
    { name: "Rooms", key: "rooms", format: count, least: 10, now: ({ rooms }) => rooms },
    { name: "Publishes", key: "published", format: rate, least: 10, now: (_, { published }) => published.at(-1) },
    { name: "Deliveries", key: "delivered", format: rate, least: 10, now: (_, { delivered }) => delivered.at(-1) },
    { name: "Latency, p50", key: "p50", format: seconds, least: 0.001, now: (_, { p50 }) => newest(p50), about: "read to written" },
    { name: "Latency, p99", key: "p99", format: seconds, least: 0.001, now: (_, { p99 }) => newest(p99) },
    { name: "Pending", key: "pending_bytes", format: bytes, least: 10_000, now: ({ pending_bytes }) => pending_bytes },
    { name: "Memory", key: "memory_bytes", format: bytes, least: 1_000_000, now: ({ memory_bytes }) => memory_bytes },
];

/** The seconds between two points of a small line. */
const THIN_SECONDS = 5;

/** @param {Tile} tile */
function makeTile(tile) {
    const value = html("span", { class: "value" }, NONE);
    const unit = html("span", { class: "unit" });
    const note = html("p", { class: "note" }, tile.about ?? "");
    const area = svg("path", { class: "area main" });
    const stroke = svg("path", { class: "line main" });
    const view = { class: "spark", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" };
    const title = html("h3", { id: `tile-${tile.key}` }, tile.name);
    const figure = html("p", { class: "figure" }, value, unit);
    const spark = svg("svg", view, area, stroke);
    const attributes = { class: "card tile", role: "group", "aria-labelledby": title.id };
    const element = html("div", attributes, title, figure, note, spark);
    /**
     * @param {Stats} stats
     * @param {Samples} samples
     */
    const update = (stats, samples) => {
        const now = tile.now(stats, samples) ?? null;
        const peak = Math.max(greatest(samples[tile.key]), now ?? 0);
        const quantity = now === null ? { value: NONE, unit: "" } : tile.format(now);
        setText(value, quantity.value);
        setText(unit, quantity.unit ? `\u00a0${quantity.unit}` : "");
        const isKnown = now !== null || peak > 0;
        if (!tile.about) setText(note, tile.note?.(stats) ?? (isKnown ? `peak ${text(tile.format(peak))}` : "nothing yet"));
        const end = samples.at.at(-1) ?? 0;
        const thin = thinned(samples.at, samples[tile.key], THIN_SECONDS);
        const drawn = line(thin.at, thin.values, end, axis(peak, tile.least).top, THIN_SECONDS);
        setAttribute(stroke, "d", drawn.line);
        setAttribute(area, "d", drawn.area);
    };
    return { element, update };
}

/**
 * @param {Element} parent
 * @returns {(stats: Stats, samples: Samples) => void} the update
 */
export function makeTiles(parent) {
    const tiles = TILES.map(makeTile);
    parent.append(...tiles.map(({ element }) => element));
    return (stats, samples) => tiles.forEach(({ update }) => update(stats, samples));
}
