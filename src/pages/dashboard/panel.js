// One plot of a chart: its lines or bars over ten minutes, with a value axis. It reads no pointer and no key.

import { html, setAttribute, setProperty, svg } from "./dom.js";
import { setText } from "../elements.js";
import { count, text } from "./format.js";
import { HEIGHT, WIDTH, axis, bars, greatest, line } from "./plot.js";

/** @typedef {import("./stats.js").Samples} Samples */

/**
 * @typedef {object} Series
 * @property {Exclude<keyof Samples, "at">} key
 * @property {string} name
 * @property {"main" | "second" | "third" | "alarm"} look
 * @property {import("./plot.js").Summary} summary
 */

/**
 * @typedef {object} PanelDefinition
 * @property {"line" | "bars"} kind
 * @property {import("./format.js").Format} format
 * @property {number} least the least top of the axis
 * @property {number} [top] a top that never changes
 * @property {boolean} [isLow] takes half the height
 * @property {Series[]} series the most important last, which is drawn on top
 */

const TICKS_MAX = 5;

/** @param {string} name */
const path = (name) => svg("path", { class: name });

/** @param {import("./format.js").Quantity} quantity */
const tickText = ({ value, unit }) => (value === "0" || value === "0.0" ? "0" : text({ value: value.replace(/\.0$/, ""), unit }));

export class Panel {
    #grid = path("grid");
    #labels = Array.from({ length: TICKS_MAX }, () => html("span", { class: "tick" }));

    /** @param {PanelDefinition} definition */
    constructor(definition) {
        this.definition = definition;
        this.shapes = definition.series.map((series) => ({
            series,
            line: path(`${definition.kind} ${series.look}`),
            area: path(`area ${series.look}`),
        }));
        const shapes = this.shapes.flatMap(({ area, line }) => [area, line]);
        const view = { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none" };
        const picture = svg("svg", { ...view, "aria-hidden": "true", focusable: "false" }, this.#grid, ...shapes);
        this.element = html("div", { class: definition.isLow ? "panel low" : "panel" }, picture, ...this.#labels);
    }

    /**
     * @param {Samples} samples
     * @param {number} end Unix seconds at the right edge
     */
    update(samples, end) {
        const { kind, format, least, top: fixed, series } = this.definition;
        const most = fixed ?? Math.max(...series.map(({ key }) => greatest(samples[key])));
        const { top, ticks } = axis(most, fixed ?? least, format === count);
        this.#label(top, ticks);
        for (const shape of this.shapes) {
            const values = samples[shape.series.key];
            if (kind === "bars") {
                setAttribute(shape.line, "d", bars(samples.at, values, end, top));
                continue;
            }
            const drawn = line(samples.at, values, end, top);
            setAttribute(shape.line, "d", drawn.line);
            if (shape.series.look !== "second") setAttribute(shape.area, "d", drawn.area);
        }
    }

    /**
     * @param {number} top
     * @param {number[]} ticks
     */
    #label(top, ticks) {
        const shown = this.definition.isLow ? [ticks[0], ticks[ticks.length - 1]] : ticks;
        setAttribute(this.#grid, "d", shown.map((tick) => `M0 ${HEIGHT - (HEIGHT * tick) / top}H${WIDTH}`).join(""));
        this.#labels.forEach((label, index) => {
            const tick = shown[index];
            label.hidden = tick === undefined;
            if (tick === undefined) return;
            setText(label, tickText(this.definition.format(tick, top)));
            setProperty(label, "--at", String(tick / top));
        });
    }
}
