// Which charts there are.

import { Chart } from "./chart.js";
import { Cursor } from "./cursor.js";
import { bytes, count, percent, rate, seconds } from "./format.js";

/** @type {import("./chart.js").ChartDefinition[]} */
const CHARTS = [
    {
        title: "Traffic",
        panels: [
            { kind: "line", format: rate, least: 10, series: [{ key: "delivered", name: "Deliveries", look: "main", summary: "mean" }] },
            { kind: "line", format: rate, least: 10, isLow: true, series: [{ key: "published", name: "Publishes", look: "third", summary: "mean" }] },
        ],
    },
    {
        title: "Latency, read to written",
        panels: [
            {
                kind: "line",
                format: seconds,
                least: 0.001,
                series: [
                    { key: "p99", name: "p99", look: "second", summary: "max" },
                    { key: "p50", name: "p50", look: "main", summary: "mean" },
                ],
            },
        ],
    },
    {
        title: "Slow consumers",
        panels: [
            { kind: "line", format: bytes, least: 10_000, series: [{ key: "pending_bytes", name: "Pending", look: "main", summary: "max" }] },
            { kind: "bars", format: count, least: 4, isLow: true, series: [{ key: "cut", name: "Cut", look: "alarm", summary: "sum" }] },
        ],
    },
    { title: "Clients", panels: [{ kind: "line", format: count, least: 10, series: [{ key: "clients", name: "Clients", look: "main", summary: "max" }] }] },
    {
        title: "Busiest worker",
        panels: [{ kind: "line", format: percent, least: 1, top: 1, series: [{ key: "load", name: "Load", look: "main", summary: "max" }] }],
    },
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
