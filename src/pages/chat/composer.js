/** Where one writes. Enter sends; what is written stays with its room. */
import { find } from "./dom.js";

/** @typedef {import("./conversation.js").Conversation} Conversation */

export class Composer {
    #form = find("composer", HTMLFormElement);
    #field = find("text", HTMLTextAreaElement);
    /** @type {Conversation | undefined} */
    #conversation;

    /** @param {(conversation: Conversation, text: string) => void} say */
    constructor(say) {
        this.#form.addEventListener("submit", (event) => {
            event.preventDefault();
            const text = this.#field.value.replace(/\r\n?/g, "\n").trimEnd();
            if (!this.#conversation || !text) return;
            this.#write("");
            say(this.#conversation, text);
        });
        this.#field.addEventListener("keydown", (event) => {
            if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
            event.preventDefault();
            this.#form.requestSubmit();
        });
        this.#field.addEventListener("input", () => this.#written());
    }

    /** @param {Conversation | undefined} conversation */
    show(conversation) {
        if (conversation === this.#conversation) return;
        this.#conversation = conversation;
        this.#field.ariaLabel = conversation ? `Message to ${conversation.name}` : "Message";
        this.#field.value = conversation?.written ?? "";
        this.#fit();
    }

    /** Puts a text back to be changed. @param {string} text */
    edit(text) {
        const { value } = this.#field;
        this.#write(value ? `${value}\n${text}` : text);
        this.focus();
    }

    focus() {
        this.#field.focus();
    }

    /** @param {string} text */
    #write(text) {
        this.#field.value = text;
        this.#written();
    }

    #written() {
        if (this.#conversation) this.#conversation.written = this.#field.value;
        this.#fit();
    }

    /** Grows with the text, where style sheets cannot say so. */
    #fit() {
        if (CSS.supports("field-sizing", "content")) return;
        this.#field.style.height = "auto";
        this.#field.style.height = `${this.#field.scrollHeight + 2}px`;
    }
}
