// What both pages do with the elements of their HTML.

/**
 * The element of the page with an id.
 * @template {Element} Kind
 * @param {string} id
 * @param {new () => Kind} kind
 * @returns {Kind}
 */
export function byId(id, kind) {
    const element = document.getElementById(id);
    if (!(element instanceof kind)) throw new Error(`the page has no ${kind.name} #${id}`);
    return element;
}

/**
 * Writes only what has changed, so that nothing is laid out or announced again without need.
 * @param {Element} element
 * @param {string} text
 */
export function setText(element, text) {
    if (element.textContent !== text) element.textContent = text;
}
