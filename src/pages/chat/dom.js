/** Small helpers for elements. Texts become text nodes and nothing else. */
import { initial } from "./text.js";

/**
 * @template {keyof HTMLElementTagNameMap} Tag @param {Tag} tag @param {Partial<HTMLElementTagNameMap[Tag]>} [properties]
 * @param {(Node | string)[]} children @returns {HTMLElementTagNameMap[Tag]}
 */
export function make(tag, properties = {}, ...children) {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
}

/** A shape of the page's sprite. @param {string} name */
export function icon(name) {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
    use.setAttribute("href", `#icon-${name}`);
    svg.setAttribute("class", "icon");
    svg.setAttribute("aria-hidden", "true");
    svg.append(use);
    return svg;
}

/** The sign of a member: the first letter of the name, or a shape for a name without letters. @param {string} name */
export function monogram(name) {
    const letter = initial(name);
    const element = make("span", { className: "monogram", ariaHidden: "true" }, letter);
    if (!letter) element.append(icon("signal"));
    return element;
}

/**
 * Gives a list one row for each item, in this order. Rows of items that stay are kept, and so is the focus in them.
 * @template Item @param {Element} list @param {Item[]} items
 * @param {(item: Item) => string} keyOf @param {(item: Item) => HTMLElement} rowOf
 */
export function setRows(list, items, keyOf, rowOf) {
    const former = new Map([...list.children].map((row) => [row.getAttribute("data-key"), row]));
    const rows = items.map((item) => {
        const key = keyOf(item);
        const row = former.get(key) ?? rowOf(item);
        row.setAttribute("data-key", key);
        former.delete(key);
        return row;
    });
    former.forEach((row) => row.remove());
    rows.forEach((row, index) => {
        if (list.children[index] !== row) list.insertBefore(row, list.children[index] ?? null);
    });
}

/** @param {HTMLElement} element @param {boolean} isHidden */
export function hide(element, isHidden) {
    if (element.hidden !== isHidden) element.hidden = isHidden;
}

/** Rendering less often than each frame leaves time for other work during a flood of messages. */
const RENDER_INTERVAL_MS_MIN = 50;
/** A hidden page gets no frames, and a covered one may get none, so rendering waits for a frame no longer than this. */
const FRAME_WAIT_MS_MAX = 400;

/**
 * Collects what has changed, and calls back with it in the next frame, but not in each of many.
 * @template Part @param {(parts: Set<Part>) => void} render @returns {(part: Part) => void}
 */
export function batched(render) {
    /** @type {Set<Part>} */
    let parts = new Set();
    let latest = 0, timer = 0, frame = 0;
    const run = () => {
        clearTimeout(timer);
        cancelAnimationFrame(frame);
        const due = parts;
        parts = new Set();
        latest = performance.now();
        render(due);
    };
    const runInFrame = () => {
        frame = requestAnimationFrame(run);
        timer = setTimeout(run, FRAME_WAIT_MS_MAX);
    };
    return (part) => {
        const isFirst = parts.size === 0;
        parts.add(part);
        if (!isFirst) return;
        const wait = latest + RENDER_INTERVAL_MS_MIN - performance.now();
        if (wait > 0) timer = setTimeout(runInFrame, wait);
        else runInFrame();
    };
}

/** Puts a text into the clipboard, also where the page has no right to it. @param {string} text */
export async function copy(text) {
    try {
        await navigator.clipboard.writeText(text);
    } catch { // plain HTTP from another host
        const field = make("textarea", { value: text, className: "unseen" });
        document.body.append(field);
        field.select();
        document.execCommand("copy");
        field.remove();
    }
}

/** Copies on a click, and says so in the button for a moment. @param {HTMLButtonElement} button @param {() => string} text */
export function copies(button, text) {
    const label = button.querySelector("span") ?? button;
    const usual = label.textContent ?? "";
    let timer = 0;
    button.addEventListener("click", async () => {
        await copy(text());
        button.focus();
        button.dataset.done = "";
        label.textContent = "Copied";
        clearTimeout(timer);
        timer = setTimeout(() => {
            delete button.dataset.done;
            label.textContent = usual;
        }, 2_000);
    });
}
