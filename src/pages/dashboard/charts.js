// Which charts there are.

import { Chart } from "./chart.js";
import { Cursor } from "./cursor.js";
import { bytes, count, percent, rate, seconds } from "./format.js";

/** @typedef {import("./panel.js").Series} Series */

/** @type {Record<string, Series>} */
const SERIES = {
    delivered: { key: "delivered", name: "Deliveries", look: "main", summary: "mean" },
    published: { key: "published", name: "Publishes", look: "third", summary: "mean" },
    p50: { key: "p50", name: "p50", look: "main", summary: "mean" },
    p99: { key: "p99", name: "p99", look: "second", summary: "max" },
    pending: { key: "pending_bytes", name: "Pending", look: "main", summary: "max" },
    cut: { key: "cut", name: "Cut", look: "alarm", summary: "sum" },
    clients: { key: "clients", name: "Clients", look: "main", summary: "max" },
    load: { key: "load", name: "Load", look: "main", summary: "max" },
};

/** @type {import("./chart.js").ChartDefinition[]} */
const CHARTS = [
    {
        title: "Traffic",
        panels: [
            { kind: "line", format: rate, least: 10, series: [SERIES.delivered] },
            { kind: "line", format: rate, least: 10, series: [SERIES.published], isLow: true },
        ],
    },
    {
        title: "Latency, read to written",
        panels: [{ kind: "line", format: seconds, least: 0.001, series: [SERIES.p99, SERIES.p50] }],
    },
    {
        title: "Slow consumers",
        panels: [
            { kind: "line", format: bytes, least: 10_000, series: [SERIES.pending] },
            { kind: "bars", format: count, least: 4, series: [SERIES.cut], isLow: true },
        ],
    },
    { title: "Clients", panels: [{ kind: "line", format: count, least: 10, series: [SERIES.clients] }] },
    { title: "Busiest worker", panels: [{ kind: "line", format: percent, least: 1, top: 1, series: [SERIES.load] }] },
];

/**
 * @param {Element} parent
 * @returns {(samples: import("./stats.js").Samples) => void} the update
 */
export function makeCharts(parent) {
    const cursor = new Cursor();
    const charts = CHARTS.map((definition) => new Chart(definition, cursor));
    parent.append(...charts.map(({ element }) => element));
    return (samples) => {
        const end = samples.at.at(-1);
        if (end !== undefined) charts.forEach((chart) => chart.update(samples, end));
    };
}
