// The shape of /dashboard/stats, for the types of this page's modules. Not served.

export type Level = "ok" | "warning" | "critical";

/** One element per second, oldest first. */
type Series = (number | null)[];

export interface Samples {
    /** Unix seconds. */
    at: number[];
    clients: Series;
    rooms: Series;
    /** Per second. */
    published: Series;
    /** Per second. */
    delivered: Series;
    /** Seconds from read to written, null without deliveries. */
    p50: Series;
    /** Seconds from read to written, null without deliveries. */
    p99: Series;
    pending_bytes: Series;
    memory_bytes: Series;
    /** Of the busiest worker, 0 to 1. */
    load: Series;
    /** Slow consumers that were cut in that second. */
    cut: Series;
}

export interface Room {
    room: string;
    members: number;
    /** Publications per second. */
    rate: number;
}

export interface Ending {
    transport: string;
    reason: string;
    total: number;
    /** In the last minute. */
    lately: number;
}

export interface Cluster {
    /** Nodes that were heard of lately, this one among them. */
    nodes: number;
    state: "following" | "catching-up" | "unavailable";
    /** Messages of the stream that the node has not followed. */
    lag_messages: number;
    lag_seconds: number;
}

export interface Stats {
    version: string;
    /** The name of the host. */
    node: string;
    /** Unix milliseconds. */
    now: number;
    /** Seconds. */
    uptime: number;
    verdict: { level: Level; sentences: string[] };
    clients: { now: number; max: number; by_transport: Record<string, number>; http_connections: number };
    rooms: number;
    /** Since the start. */
    published: number;
    /** Since the start. */
    delivered: number;
    dropped: { slow: number; gap: number; gone: number };
    refused: number;
    pending_bytes: number;
    held_bytes: number;
    outbox_budget: number;
    history_bytes: number;
    history_budget: number;
    memory_bytes: number;
    /** Most first. */
    ended: Ending[];
    top_rooms: { by_members: Room[]; by_rate: Room[] };
    /** The load is from 0 to 1. */
    workers: { load: number; clients: number }[];
    /** Only of a node of a cluster. */
    cluster?: Cluster;
    /** `next` is the number to pass as `since`. */
    samples: Samples & { next: number };
}
