/** Where one writes, and under which name. */
import { find, write } from "./dom.js";
import { wrongNick } from "./text.js";

/** @typedef {import("./session.js").Session} Session */
/** @typedef {import("./conversation.js").Conversation} Conversation */

/** Enter sends, and what is written stays with its room. */
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

/** The name of a guest: asked for once, gently, and changed at any time. */
export class NickForm {
    #form = find("nick-form", HTMLFormElement);
    #field = find("nick", HTMLInputElement);
    #error = find("nick-error", HTMLElement);
    #title = find("nick-title", HTMLElement);
    #cancel = find("nick-cancel", HTMLButtonElement);
    #me = find("me", HTMLButtonElement);
    #name = find("me-name", HTMLElement);
    #session;
    #closed;

    /** @param {Session} session @param {() => void} closed Takes the focus when the form goes. */
    constructor(session, closed) {
        this.#session = session;
        this.#closed = closed;
        this.#show(!session.nick);
        this.#me.addEventListener("click", () => this.#form.hidden ? this.#open() : this.close());
        this.#cancel.addEventListener("click", () => this.close());
        this.#field.addEventListener("input", () => this.#complain(undefined));
        this.#form.addEventListener("submit", (event) => {
            event.preventDefault();
            this.#save();
        });
    }

    update() {
        const { label, nick, hasToken } = this.#session;
        write(this.#name, label ?? (hasToken ? "the user of your token" : nick ?? "a guest"));
        this.#me.disabled = hasToken;
        if (hasToken) this.#show(false);
        write(this.#title, nick ? "Change your name" : "What should others call you?");
        write(this.#cancel, nick ? "Cancel" : "Not now");
    }

    /** Whether there was a form to close. */
    close() {
        const wasOpen = !this.#form.hidden;
        this.#show(false);
        if (wasOpen) this.#closed();
        return wasOpen;
    }

    #open() {
        this.#field.value = this.#session.nick ?? "";
        this.#show(true);
        this.#field.focus();
        this.#field.select();
    }

    async #save() {
        const nick = this.#field.value.trim();
        if (!nick) return this.#field.focus();
        const wrong = wrongNick(nick);
        if (wrong) return this.#complain(wrong);
        try {
            await this.#session.rename(nick);
            this.close();
        } catch (error) {
            this.#complain(`This name cannot be had: ${error instanceof Error ? error.message : error}.`);
        }
    }

    /** @param {string | undefined} wrong */
    #complain(wrong) {
        write(this.#error, wrong ?? "");
        this.#field.ariaInvalid = wrong ? "true" : null;
        if (wrong) this.#field.focus();
    }

    /** @param {boolean} isOpen */
    #show(isOpen) {
        this.#form.hidden = !isOpen;
        this.#me.ariaExpanded = `${isOpen}`;
        if (!isOpen) this.#complain(undefined);
    }
}
