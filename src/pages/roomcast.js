/** The client module for browsers: a placeholder. */
export class Roomcast {}
