// Numbers as people read them, with a unit: 15 000, 1.2 k/s, 34.1 MB, 2.5 ms. Pure functions without the DOM.
//
// Each function takes an optional second number that chooses the unit, so that all labels of an axis share one.

/** @typedef {{ value: string, unit: string }} Quantity */
/** @typedef {(amount: number, unitOf?: number) => Quantity} Format */

/** What stands where there is no figure. */
export const NONE = "–";

const THIN_SPACE = "\u202f";
const NO_BREAK_SPACE = "\u00a0";

/** @param {Quantity} quantity */
export const text = ({ value, unit }) => (unit ? `${value}${NO_BREAK_SPACE}${unit}` : value);

/** @param {string} digits */
const group = (digits) => digits.replace(/\B(?=(\d{3})+$)/g, THIN_SPACE);

/**
 * One decimal below 100, none above: three digits say enough. Labels of an axis are exact: a quarter has two decimals.
 * @param {number} amount
 * @param {boolean} isLabel
 */
function threeDigits(amount, isLabel) {
    const isExact = Math.abs(amount * 10 - Math.round(amount * 10)) < 1e-6;
    return amount < 99.95 ? amount.toFixed(isLabel && !isExact ? 2 : 1) : String(Math.round(amount));
}

/**
 * @param {number} amount
 * @param {number} unitOf
 * @param {string[]} units each 1000 times the one before
 * @returns {Quantity}
 */
function scaled(amount, unitOf, units) {
    let power = 0;
    while (power < units.length - 1 && unitOf / 1000 ** power >= 999.5) power += 1;
    const value = amount / 1000 ** power;
    const isWhole = power === 0 && (value >= 10 || Number.isInteger(value));
    return { value: isWhole ? String(Math.round(value)) : threeDigits(value, amount !== unitOf), unit: units[power] };
}

/** @type {Format} */
export function count(amount, unitOf = amount) {
    if (unitOf < 10_000_000) return { value: group(String(Math.round(amount))), unit: "" };
    return scaled(amount, unitOf, ["", "k", "M", "G", "T"]);
}

/** @type {Format} */
export const rate = (amount, unitOf = amount) => scaled(amount, unitOf, ["/s", "k/s", "M/s", "G/s"]);

/** @type {Format} */
export const bytes = (amount, unitOf = amount) => scaled(amount, unitOf, ["B", "kB", "MB", "GB", "TB"]);

/** @type {Format} */
export function seconds(amount, unitOf = amount) {
    if (unitOf < 0.9995) return scaled(amount * 1e6, unitOf * 1e6, ["µs", "ms"]);
    return { value: threeDigits(amount, amount !== unitOf), unit: "s" };
}

/**
 * A share from 0 to 1.
 * @type {Format}
 */
export function percent(share) {
    const hundredths = share * 100;
    if (hundredths === 0 || hundredths >= 0.95) return { value: String(Math.round(hundredths)), unit: "%" };
    return { value: hundredths < 0.05 ? "<0.1" : hundredths.toFixed(1), unit: "%" };
}

const SPANS = [
    { unit: "d", length: 86_400 },
    { unit: "h", length: 3600 },
    { unit: "min", length: 60 },
    { unit: "s", length: 1 },
];

/**
 * The two largest units of a length of time: "3 d 4 h", "2 min 5 s".
 * @param {number} length in seconds
 */
export function duration(length) {
    const whole = Math.max(0, Math.floor(length));
    const first = Math.max(0, SPANS.findIndex((span) => whole >= span.length));
    if (whole === 0) return `0${NO_BREAK_SPACE}s`;
    const parts = [];
    let rest = whole;
    for (const { unit, length } of SPANS.slice(first, first + 2)) {
        const number = Math.floor(rest / length);
        rest -= number * length;
        if (number > 0) parts.push(`${number}${NO_BREAK_SPACE}${unit}`);
    }
    return parts.join(" ");
}

/** @param {number} number */
const twoDigits = (number) => String(number).padStart(2, "0");

/**
 * The time of day here: "14:03:22".
 * @param {number} ms Unix time
 */
export function clock(ms) {
    const date = new Date(ms);
    return [date.getHours(), date.getMinutes(), date.getSeconds()].map(twoDigits).join(":");
}

/**
 * The day and the time here: "2026-11-27 14:03".
 * @param {number} ms Unix time
 */
export function date(ms) {
    const date = new Date(ms);
    const day = [date.getFullYear(), twoDigits(date.getMonth() + 1), twoDigits(date.getDate())].join("-");
    return `${day} ${twoDigits(date.getHours())}:${twoDigits(date.getMinutes())}`;
}
