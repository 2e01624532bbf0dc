/** Pure: moments in words. A moment is in milliseconds since 1970, shown in the reader's time zone. No DOM. */

const DAY_MS = 86_400_000;

const clockFormat = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const fullFormat = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "medium" });
const weekdayFormat = new Intl.DateTimeFormat("en", { weekday: "long", day: "numeric", month: "long" });
const yearFormat = new Intl.DateTimeFormat("en", { weekday: "long", day: "numeric", month: "long", year: "numeric" });

/** @param {number} moment */
export const clock = (moment) => clockFormat.format(moment);
/** @param {number} moment */
export const full = (moment) => fullFormat.format(moment);

/** The first millisecond of the day of a moment. @param {number} moment */
export function dayOf(moment) {
    return new Date(moment).setHours(0, 0, 0, 0);
}

/** @param {number} moment @param {number} now */
export function dayLabel(moment, now) {
    const days = Math.round((dayOf(now) - dayOf(moment)) / DAY_MS); // days with a change of the clock are not 24 hours long
    if (days === 0) return "Today";
    if (days === 1) return "Yesterday";
    const isSameYear = new Date(moment).getFullYear() === new Date(now).getFullYear();
    return (isSameYear ? weekdayFormat : yearFormat).format(moment);
}

/** Milliseconds until labels of days are wrong. @param {number} now */
export function untilMidnight(now) {
    return new Date(now).setHours(24, 0, 0, 0) - now;
}
