// The lists below the charts: transports, endings, rooms, workers, budgets and totals.

import { List, html, setAttribute, setProperty, svg } from "./dom.js";
import { byId, setText } from "../elements.js";
import { bytes, count, percent, rate, text } from "./format.js";
import { reasonName, transportName } from "./words.js";

/** @typedef {import("./stats.js").Stats} Stats */

/** A load or a use above these wants attention: about where the server's verdict begins to mention it. */
const HIGH = 0.8;
const FULL = 0.95;

/** @param {number} share */
const alarm = (share) => (share >= FULL ? "full" : share >= HIGH ? "high" : "normal");

/**
 * A labelled bar.
 * @typedef {{ name: string, share: number, value: string, note: string }} Gauge
 */

function makeGauge() {
    const name = html("span", { class: "name" });
    const value = html("span", { class: "amount" });
    const note = html("span", { class: "note" });
    const bar = html("div", { class: "bar", role: "meter", "aria-valuemin": 0, "aria-valuemax": 100 }, html("span", { class: "fill" }));
    const element = html("li", { class: "gauge" }, name, value, bar, note);
    /** @param {Gauge} gauge */
    const update = (gauge) => {
        setText(name, gauge.name);
        setText(value, gauge.value);
        setText(note, gauge.note);
        setAttribute(bar, "aria-label", gauge.name);
        setAttribute(bar, "aria-valuenow", String(Math.round(Math.min(1, gauge.share) * 100)));
        setAttribute(bar, "aria-valuetext", [gauge.value, gauge.note].filter(Boolean).join(", "));
        setAttribute(bar, "data-alarm", alarm(gauge.share));
        setProperty(bar, "--share", String(Math.min(1, gauge.share)));
    };
    return { element, update };
}

/**
 * @param {number} part
 * @param {number} whole
 */
const share = (part, whole) => (whole > 0 ? part / whole : 0);

/** @param {number} clients */
const clientsText = (clients) => `${text(count(clients))} ${clients === 1 ? "client" : "clients"}`;

/** @param {Stats} stats */
const transports = ({ clients }) =>
    Object.entries(clients.by_transport).map(([transport, amount]) => ({
        name: transportName(transport),
        amount: text(count(amount)),
        share: share(amount, clients.now),
    }));

function makeTransport() {
    const name = html("th", { scope: "row" });
    const amount = html("td");
    const part = html("td", { class: "muted" });
    const element = html("tr", { class: "shared" }, name, amount, part);
    /** @param {{ name: string, amount: string, share: number }} row */
    const update = (row) => {
        setText(name, row.name);
        setText(amount, row.amount);
        setText(part, text(percent(row.share)));
        setProperty(element, "--share", String(row.share));
    };
    return { element, update };
}

/** @param {Stats} stats */
const workers = ({ workers }) =>
    workers.map(({ load, clients }, index) => ({
        name: `Worker ${index}`,
        share: load,
        value: text(percent(load)),
        note: clientsText(clients),
    }));

/** @param {Stats} stats */
function budgets(stats) {
    const { held_bytes, outbox_budget, history_bytes, history_budget, clients } = stats;
    const of = (/** @type {string} */ used, /** @type {string} */ whole) => `${used} of ${whole}`;
    return [
        { name: "Outboxes", share: share(held_bytes, outbox_budget), note: of(text(bytes(held_bytes)), text(bytes(outbox_budget))) },
        { name: "History", share: share(history_bytes, history_budget), note: of(text(bytes(history_bytes)), text(bytes(history_budget))) },
        { name: "Connections", share: share(clients.now, clients.max), note: of(text(count(clients.now)), text(count(clients.max))) },
    ].map((gauge) => ({ ...gauge, value: text(percent(gauge.share)) }));
}

/** @typedef {{ reason: string, total: number, lately: number, transports: string[] }} Ending */

/**
 * One row per reason, over all transports.
 * @param {Stats} stats
 * @returns {Ending[]} most first
 */
export function endings({ ended }) {
    /** @type {Map<string, Ending>} */
    const byReason = new Map();
    for (const { transport, reason, total, lately } of ended) {
        const ending = byReason.get(reason) ?? { reason, total: 0, lately: 0, transports: [] };
        ending.total += total;
        ending.lately += lately;
        ending.transports.push(`${transportName(transport)}\u00a0${text(count(total))}`);
        byReason.set(reason, ending);
    }
    return [...byReason.values()].sort((one, other) => other.total - one.total);
}

function warningSign() {
    const triangle = svg("path", { d: "M8 1.5 15 14H1ZM8 6v4M8 11.6v.6" });
    return svg("svg", { class: "sign", viewBox: "0 0 16 16", "aria-hidden": "true" }, triangle);
}

function makeEnding() {
    const name = html("span");
    const detail = html("small");
    const lately = html("td");
    const total = html("td");
    const element = html("tr", {}, html("th", { scope: "row" }, warningSign(), name, detail), lately, total);
    /** @param {Ending} ending */
    const update = (ending) => {
        setText(name, reasonName(ending.reason));
        setText(detail, `${ending.reason} · ${ending.transports.join(", ")}`);
        setText(lately, text(count(ending.lately)));
        setText(total, text(count(ending.total)));
        element.classList.toggle("slow", ending.reason === "slow-consumer");
        element.classList.toggle("recent", ending.lately > 0);
    };
    return { element, update };
}

/** @typedef {import("./stats.js").Room & { share: number }} RoomRow */

function makeRoom() {
    const name = html("bdi");
    const members = html("td");
    const publishes = html("td");
    const element = html("tr", { class: "shared" }, html("th", { scope: "row" }, name), members, publishes);
    /** @param {RoomRow} row */
    const update = (row) => {
        setText(name, row.room);
        setAttribute(name, "title", row.room);
        setText(members, text(count(row.members)));
        setText(publishes, text(rate(row.rate)));
        setProperty(element, "--share", String(row.share));
    };
    return { element, update };
}

/**
 * @param {Stats} stats
 * @param {"members" | "rate"} order
 * @returns {RoomRow[]}
 */
function rooms({ top_rooms }, order) {
    const list = order === "members" ? top_rooms.by_members : top_rooms.by_rate;
    const most = Math.max(...list.map((room) => room[order]));
    return list.map((room) => ({ ...room, share: share(room[order], most) }));
}

/** @param {Stats} stats */
const totals = ({ published, delivered, dropped, refused, clients }) => [
    { name: "Published", value: published },
    { name: "Delivered", value: delivered },
    { name: "Dropped: client too slow", value: dropped.slow },
    { name: "Dropped: left out as a gap", value: dropped.gap },
    { name: "Dropped: client gone", value: dropped.gone },
    { name: "Connections refused", value: refused },
    { name: "HTTP connections now", value: clients.http_connections },
];

function makeTotal() {
    const name = html("dt");
    const value = html("dd");
    /** @param {{ name: string, value: number }} total */
    const update = (total) => {
        setText(name, total.name);
        setText(value, text(count(total.value)));
    };
    return { element: html("div", {}, name, value), update };
}

/** @returns {(stats: Stats) => void} the update */
export function makeLists() {
    const listOfTransports = new List(byId("transports", HTMLElement), makeTransport);
    const listOfEndings = new List(byId("endings", HTMLElement), makeEnding);
    const listOfRooms = new List(byId("rooms", HTMLElement), makeRoom);
    const listOfWorkers = new List(byId("workers", HTMLElement), makeGauge);
    const listOfBudgets = new List(byId("budgets", HTMLElement), makeGauge);
    const listOfTotals = new List(byId("totals", HTMLElement), makeTotal);
    const byRate = byId("rooms-by-rate", HTMLInputElement);
    const noEndings = byId("no-endings", HTMLElement);
    const noRooms = byId("no-rooms", HTMLElement);
    /** @type {Stats | undefined} */
    let newest;
    const updateRooms = () => {
        if (!newest) return;
        const rows = rooms(newest, byRate.checked ? "rate" : "members");
        listOfRooms.update(rows);
        noRooms.hidden = rows.length > 0;
        setText(noRooms, newest.rooms > 0 ? "The list follows in a second." : "No room has members.");
    };
    byId("rooms-order", HTMLElement).addEventListener("change", updateRooms);
    return (stats) => {
        newest = stats;
        listOfTransports.update(transports(stats));
        const ends = endings(stats);
        listOfEndings.update(ends);
        noEndings.hidden = ends.length > 0;
        updateRooms();
        listOfWorkers.update(workers(stats));
        listOfBudgets.update(budgets(stats));
        listOfTotals.update(totals(stats));
    };
}
