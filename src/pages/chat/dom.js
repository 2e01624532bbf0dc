/** Small helpers for elements. Texts become text nodes and nothing else. */

/**
 * The element of the page with this id.
 * @template {Element} T @param {string} id @param {new () => T} type @returns {T}
 */
export function find(id, type) {
    const element = document.getElementById(id);
    if (!(element instanceof type)) throw new Error(`the page has no ${type.name} #${id}`);
    return element;
}

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

/** Writes a text where it differs, so that what has not changed is not announced or painted again. @param {Element} element @param {string} text */
export function write(element, text) {
    if (element.textContent !== text) element.textContent = text;
}

/** @param {HTMLElement} element @param {boolean} isHidden */
export function hide(element, isHidden) {
    if (element.hidden !== isHidden) element.hidden = isHidden;
}

/** Nobody reads faster, and a flood of messages leaves time for other work. */
const RENDER_INTERVAL_MS_MIN = 50;
/** Frames do not come in a hidden page, nor always in one that is covered. */
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
