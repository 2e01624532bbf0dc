// A chart: panels over the same ten minutes, a legend that reads out one moment, and a table of the minutes.
//
// The plot is a slider for assistive technology: arrow keys move the moment, and its value text says what was then.

import { List, html, setAttribute, setProperty } from "./dom.js";
import { setText } from "../elements.js";
import { NONE, clock, duration, text } from "./format.js";
import { SPAN_SECONDS } from "./history.js";
import { Panel } from "./panel.js";
import { byMinute, nearest } from "./plot.js";

/** @typedef {import("./stats.js").Samples} Samples */
/** @typedef {import("./panel.js").Series & { format: import("./format.js").Format }} Series */
/** @typedef {{ title: string, panels: import("./panel.js").PanelDefinition[] }} ChartDefinition */

/** How far a key moves the moment, in seconds. */
const STEPS = new Map([
    ["ArrowLeft", -1],
    ["ArrowDown", -1],
    ["ArrowRight", 1],
    ["ArrowUp", 1],
    ["PageDown", -60],
    ["PageUp", 60],
    ["Home", -SPAN_SECONDS],
    ["End", SPAN_SECONDS],
]);

const SUMMARY_WORDS = { mean: "mean", max: "highest", sum: "sum" };
const TIMES = ["−10 min", "−8", "−6", "−4", "−2", "now"];

/**
 * @param {Series} series
 * @param {number | null | undefined} value
 */
const reading = ({ format }, value) => (value === null || value === undefined ? NONE : text(format(value)));

export class Chart {
    /** @type {Samples | undefined} */
    #samples;
    #end = 0;

    /**
     * @param {ChartDefinition} definition
     * @param {import("./cursor.js").Cursor} cursor
     */
    constructor({ title, panels }, cursor) {
        this.title = title;
        this.cursor = cursor;
        this.panels = panels.map((panel) => new Panel(panel));
        /** @type {Series[]} */
        this.series = panels.flatMap(({ format, series }) => series.map((one) => ({ ...one, format })).reverse());
        this.readings = this.series.map(() => html("b", {}, NONE));
        this.moment = html("time", { class: "moment" });
        this.line = html("div", { class: "cursor", hidden: true });
        this.empty = html("p", { class: "empty note" }, "The first sample follows in a second.");
        this.plot = this.#makePlot();
        this.table = this.#makeTable();
        this.element = html("figure", { class: "card chart" },
            html("figcaption", {}, html("h3", {}, title), this.moment), this.#makeLegend(), this.plot, this.table.element);
        cursor.onChange(() => this.#readOut());
    }

    /**
     * @param {Samples} samples
     * @param {number} end Unix seconds of the newest sample
     */
    update(samples, end) {
        this.#samples = samples;
        this.#end = end;
        this.empty.hidden = true;
        for (const panel of this.panels) panel.update(samples, end);
        this.#readOut();
        this.#fillTable();
    }

    #makeLegend() {
        const entries = this.series.map(({ name, look }, index) =>
            html("li", {}, html("span", { class: `swatch ${look}` }), `${name} `, this.readings[index]));
        return html("ul", { class: "legend" }, ...entries);
    }

    #makePlot() {
        const times = html("div", { class: "times" }, ...TIMES.map((time) => html("span", {}, time)));
        const attributes = { class: "plot", role: "slider", tabindex: 0, "aria-label": `${this.title}: moment`, "aria-valuenow": 0 };
        const plot = html("div", attributes, ...this.panels.map(({ element }) => element), this.line, this.empty, times);
        plot.addEventListener("pointermove", (event) => this.cursor.hover(this.#momentAt(event)));
        plot.addEventListener("pointerleave", () => this.cursor.hover(undefined));
        plot.addEventListener("pointerdown", (event) => this.cursor.pin(this.#momentAt(event)));
        // The value text of a focused slider is read out on each change, so it must not follow the newest sample.
        plot.addEventListener("focus", () => this.cursor.pin(this.cursor.moment ?? (this.#samples && this.#end)));
        plot.addEventListener("blur", () => this.cursor.pin(undefined));
        plot.addEventListener("keydown", (event) => this.#onKey(event));
        return plot;
    }

    #makeTable() {
        const heads = this.series.map(({ name, summary }) => html("th", { scope: "col" }, `${name}, ${SUMMARY_WORDS[summary]}`));
        const body = html("tbody");
        const head = html("thead", {}, html("tr", {}, html("th", { scope: "col" }, "Minute"), ...heads));
        const table = html("table", {}, html("caption", { class: "unseen" }, `${this.title}, by minute`), head, body);
        const wide = html("div", { class: "wide", tabindex: 0, role: "region", "aria-label": `Table: ${this.title}` }, table);
        const element = html("details", {}, html("summary", {}, "As a table", html("span", { class: "unseen" }, `: ${this.title}`)), wide);
        element.addEventListener("toggle", () => this.#fillTable());
        const list = new List(body, () => {
            const cells = this.series.map(() => html("td"));
            const minute = html("th", { scope: "row" });
            /** @param {{ minute: number, values: import("./plot.js").Values }} row */
            const update = (row) => {
                setText(minute, clock(row.minute * 1000).slice(0, 5));
                cells.forEach((cell, index) => setText(cell, reading(this.series[index], row.values[index])));
            };
            return { element: html("tr", {}, minute, ...cells), update };
        });
        return { element, list };
    }

    #fillTable() {
        const samples = this.#samples;
        if (!samples || !this.table.element.open) return;
        this.table.list.update(byMinute(samples.at, this.series.map(({ key, summary }) => ({ values: samples[key], summary }))));
    }

    #readOut() {
        const { at } = this.#samples ?? { at: [] };
        const { moment } = this.cursor;
        const index = moment === undefined ? at.length - 1 : nearest(at, moment);
        if (index < 0 || !this.#samples) return;
        const samples = this.#samples;
        const values = this.series.map((series) => reading(series, samples[series.key][index]));
        values.forEach((value, position) => setText(this.readings[position], value));
        const time = clock(at[index] * 1000);
        const ago = this.#end - at[index];
        setText(this.moment, moment === undefined ? "now" : `${time}, ${duration(ago)} ago`);
        this.line.hidden = moment === undefined;
        setProperty(this.line, "--at", String(Math.max(0, 1 - ago / SPAN_SECONDS)));
        setAttribute(this.plot, "aria-valuemin", String(at[0]));
        setAttribute(this.plot, "aria-valuemax", String(this.#end));
        setAttribute(this.plot, "aria-valuenow", String(at[index]));
        const words = this.series.map(({ name }, position) => `${name} ${values[position]}`);
        setAttribute(this.plot, "aria-valuetext", [time, ...words].join(", "));
    }

    /** @param {PointerEvent} event */
    #momentAt(event) {
        const { left, width } = this.panels[0].element.getBoundingClientRect();
        const share = Math.min(1, Math.max(0, (event.clientX - left) / width));
        return this.#end - Math.round((1 - share) * SPAN_SECONDS);
    }

    /** @param {KeyboardEvent} event */
    #onKey(event) {
        if (event.key === "Escape") return this.cursor.pin(undefined);
        const step = STEPS.get(event.key);
        const { at } = this.#samples ?? { at: [] };
        if (step === undefined || at.length === 0 || event.altKey || event.ctrlKey || event.metaKey) return;
        event.preventDefault();
        const wanted = (this.cursor.moment ?? this.#end) + step;
        this.cursor.hover(undefined);
        this.cursor.pin(Math.min(this.#end, Math.max(at[0], wanted)));
    }
}
