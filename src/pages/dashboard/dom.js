// Small helpers to make and update elements. Text is only ever set as text, never as markup.

const SVG = "http://www.w3.org/2000/svg";

/** @typedef {Record<string, string | number | boolean | undefined>} Attributes false and undefined leave one out */

/**
 * @param {Element} element
 * @param {Attributes} attributes
 */
function setAttributes(element, attributes) {
    for (const [name, value] of Object.entries(attributes)) {
        if (value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : String(value));
    }
}

/**
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Attributes} [attributes]
 * @param {...(Node | string)} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function html(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    setAttributes(element, attributes);
    element.append(...children);
    return element;
}

/**
 * @template {keyof SVGElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Attributes} [attributes]
 * @param {...Node} children
 * @returns {SVGElementTagNameMap[Tag]}
 */
export function svg(tag, attributes = {}, ...children) {
    const element = document.createElementNS(SVG, tag);
    setAttributes(element, attributes);
    element.append(...children);
    return element;
}

/**
 * @param {Element} element
 * @param {string} name
 * @param {string} value
 */
export function setAttribute(element, name, value) {
    if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

/**
 * Sets a custom property, which the style sheet reads.
 * @param {HTMLElement} element
 * @param {string} name
 * @param {string} value
 */
export function setProperty(element, name, value) {
    if (element.style.getPropertyValue(name) !== value) element.style.setProperty(name, value);
}

/** @template Item @typedef {{ element: Element, update: (item: Item) => void }} Row */

/**
 * Keeps one row per item below `parent`, and reuses rows, so that a list that changes each second makes no garbage.
 * @template Item
 */
export class List {
    /** @type {Row<Item>[]} */
    #rows = [];

    /**
     * @param {Element} parent
     * @param {() => Row<Item>} makeRow
     */
    constructor(parent, makeRow) {
        this.parent = parent;
        this.makeRow = makeRow;
    }

    /** @param {Item[]} items */
    update(items) {
        while (this.#rows.length < items.length) {
            const row = this.makeRow();
            this.#rows.push(row);
            this.parent.append(row.element);
        }
        for (const row of this.#rows.splice(items.length)) row.element.remove();
        items.forEach((item, index) => this.#rows[index].update(item));
    }
}
