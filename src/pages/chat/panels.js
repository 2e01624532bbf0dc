/** Rooms and members: columns where there is space, drawers where there is not. */
import { find } from "./dom.js";

/** As in chat.css. */
const roomsFit = matchMedia("(min-width: 48rem)"), membersFit = matchMedia("(min-width: 68rem)");

/** @param {import("./session.js").Session} session */
export function panels(session) {
    const rooms = find("rooms", HTMLElement), members = find("members", HTMLElement);
    const openRooms = find("open-rooms", HTMLButtonElement), openMembers = find("open-members", HTMLButtonElement);

    const lay = () => {
        rooms.popover = roomsFit.matches ? null : "auto";
        members.popover = membersFit.matches ? null : "auto";
        openRooms.popoverTargetElement = rooms.popover ? rooms : null;
        openMembers.popoverTargetElement = members.popover ? members : null;
        describe();
    };
    const describe = () => {
        openRooms.ariaExpanded = `${isShown(rooms)}`;
        openMembers.ariaExpanded = `${members.popover ? isShown(members) : document.body.dataset.members !== "hidden"}`;
    };
    for (const [panel, button] of /** @type {[HTMLElement, HTMLButtonElement][]} */ ([[rooms, openRooms], [members, openMembers]])) {
        panel.addEventListener("toggle", () => {
            if (panel === rooms && isShown(panel)) session.list();
            describe();
        });
        panel.querySelector(".close")?.addEventListener("click", () => {
            panel.hidePopover();
            button.focus();
        });
    }
    openMembers.addEventListener("click", () => {
        if (members.popover) return; // the browser opens it
        document.body.dataset.members = document.body.dataset.members === "hidden" ? "shown" : "hidden";
        describe();
    });
    for (const fit of [roomsFit, membersFit]) fit.addEventListener("change", lay);
    lay();

    return {
        isOpen: () => isShown(rooms) || isShown(members),
        openRooms() {
            if (rooms.popover && !isShown(rooms)) rooms.showPopover();
        },
        close() {
            for (const panel of [rooms, members]) if (isShown(panel)) panel.hidePopover();
        },
    };
}

/** Whether a drawer is open. @param {HTMLElement} panel */
function isShown(panel) {
    return panel.popover !== null && panel.matches(":popover-open");
}
