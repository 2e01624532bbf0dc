// From samples to shapes: scales, ticks and the path data of lines, areas and bars. Pure functions without the DOM.
//
// A plot is WIDTH x HEIGHT units: one unit of width is one second, the newest sample lies at the right edge.

export const WIDTH = 600;
export const HEIGHT = 100;

/** A silence longer than this many samples breaks the line. */
const BREAK_SAMPLES = 3;

/** A value is shown as the present one for up to this many samples. */
const FRESH_SAMPLES = 10;

/** @typedef {(number | null)[]} Values */

/**
 * The top of an axis from 0, and its ticks: 1, 2, 2.5 or 5 times a power of ten apart, at most five.
 * @param {number} most the greatest value to be shown
 * @param {number} [least] the top is no lower, so that noise near 0 does not fill the plot
 * @param {boolean} [isWhole] the ticks are whole numbers
 */
export function axis(most, least = 1, isWhole = false) {
    const wanted = Math.max(most, least);
    const power = 10 ** Math.floor(Math.log10(wanted / 4));
    const sizes = [1, 2, 2.5, 5, 10].map((factor) => factor * power).filter((size) => !isWhole || Number.isInteger(size));
    const step = sizes.find((size) => size * 4 >= wanted * (1 - 1e-9)) ?? wanted;
    const steps = Math.ceil(wanted / step - 1e-9);
    return { top: step * steps, ticks: Array.from({ length: steps + 1 }, (_, index) => step * index) };
}

/** @param {Values} values */
export function greatest(values) {
    let most = 0;
    for (const value of values) if (value !== null && value > most) most = value;
    return most;
}

/**
 * The newest value that there is, null where even that is old.
 * @param {Values} values
 */
export const newest = (values) => values.slice(-FRESH_SAMPLES).findLast((value) => value !== null) ?? null;

/** @param {number} length */
const tenth = (length) => Math.round(length * 10) / 10;

/**
 * The path data of a line, and of the area below it. A silence breaks the line, as missing values do.
 * @param {number[]} at Unix seconds, rising
 * @param {Values} values
 * @param {number} end the moment of the right edge
 * @param {number} top
 * @param {number} [spacing] seconds from one sample to the next
 */
export function line(at, values, end, top, spacing = 1) {
    let line = "";
    let area = "";
    let previous = -Infinity;
    const finish = () => (area += area ? `V${HEIGHT}Z` : "");
    for (let index = 0; index < at.length; index += 1) {
        const value = values[index];
        if (value === null) continue;
        const x = tenth(WIDTH - (end - at[index]));
        if (x < 0) continue;
        const y = tenth(HEIGHT - (HEIGHT * Math.min(value, top)) / top);
        if (at[index] - previous > BREAK_SAMPLES * spacing) {
            finish();
            line += `M${x} ${y}h0`;
            area += `M${x} ${HEIGHT}V${y}`;
        } else {
            line += `L${x} ${y}`;
            area += `L${x} ${y}`;
        }
        previous = at[index];
    }
    finish();
    return { line, area };
}

/**
 * The path data of one upright stroke per value above 0.
 * @param {number[]} at
 * @param {Values} values
 * @param {number} end
 * @param {number} top
 */
export function bars(at, values, end, top) {
    let path = "";
    for (let index = 0; index < at.length; index += 1) {
        const value = values[index];
        const x = tenth(WIDTH - (end - at[index]));
        if (!value || x < 0) continue;
        path += `M${x} ${HEIGHT}V${tenth(HEIGHT - (HEIGHT * Math.min(value, top)) / top)}`;
    }
    return path;
}

/**
 * The greatest value of each span of seconds, for plots that are narrower than their samples. Spans begin at round
 * times, so that a shape moves and does not flicker.
 * @param {number[]} at
 * @param {Values} values
 * @param {number} span
 */
export function thinned(at, values, span) {
    /** @type {{ at: number[], values: Values }} */
    const thin = { at: [], values: [] };
    for (let index = 0; index < at.length; index += 1) {
        const start = Math.floor(at[index] / span) * span;
        const last = thin.at.length - 1;
        const value = values[index];
        if (thin.at[last] !== start) {
            thin.at.push(start);
            thin.values.push(value);
        } else if (value !== null) {
            thin.values[last] = Math.max(value, thin.values[last] ?? value);
        }
    }
    return thin;
}

/**
 * The index of the sample nearest to a moment, -1 if there is none.
 * @param {number[]} at
 * @param {number} moment
 */
export function nearest(at, moment) {
    let low = 0;
    let high = at.length - 1;
    while (low < high) {
        const middle = (low + high) >> 1;
        if (at[middle] < moment) low = middle + 1;
        else high = middle;
    }
    return low > 0 && moment - at[low - 1] <= at[low] - moment ? low - 1 : high < 0 ? -1 : low;
}

/** @typedef {"mean" | "max" | "sum"} Summary how the values of a minute become one */

/** @type {Record<Summary, (values: number[]) => number>} */
const SUMMARIES = {
    mean: (values) => values.reduce((sum, value) => sum + value, 0) / values.length,
    max: (values) => Math.max(...values),
    sum: (values) => values.reduce((sum, value) => sum + value, 0),
};

/**
 * One value per minute of the clock, newest first, for tables.
 * @param {number[]} at
 * @param {{ values: Values, summary: Summary }[]} series
 * @returns {{ minute: number, values: Values }[]} the minute in Unix seconds
 */
export function byMinute(at, series) {
    /** @type {{ minute: number, from: number, to: number }[]} */
    const minutes = [];
    at.forEach((moment, index) => {
        const minute = Math.floor(moment / 60) * 60;
        const newest = minutes.at(-1);
        if (newest?.minute === minute) newest.to = index + 1;
        else minutes.push({ minute, from: index, to: index + 1 });
    });
    return minutes.reverse().map(({ minute, from, to }) => ({
        minute,
        values: series.map(({ values, summary }) => {
            const known = /** @type {number[]} */ (values.slice(from, to).filter((value) => value !== null));
            return known.length > 0 ? SUMMARIES[summary](known) : null;
        }),
    }));
}
