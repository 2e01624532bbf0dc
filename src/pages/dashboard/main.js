// The dashboard: one request a second becomes one update of the page.

import { makeCharts } from "./charts.js";
import { byId } from "../elements.js";
import { History } from "./history.js";
import { makeLists } from "./lists.js";
import { Poller } from "./poller.js";
import { Status } from "./status.js";
import { makeTiles } from "./tiles.js";

const history = new History();
const updateTiles = makeTiles(byId("tiles", HTMLElement));
const updateCharts = makeCharts(byId("charts", HTMLElement));
const updateLists = makeLists();

const status = new Status({ retry: () => void poller.ask(), unlock: (key) => poller.unlock(key) });

const poller = new Poller(
    {
        since: () => history.since,
        onStats(stats) {
            history.merge(stats);
            status.show(stats);
            updateTiles(stats, history.samples);
            updateCharts(history.samples);
            updateLists(stats);
        },
        onState: (state, detail) => status.enter(state, detail),
    },
    {
        fetch: (url, options) => fetch(url, options),
        setTimeout: (run, ms) => setTimeout(run, ms),
        clearTimeout: (timer) => clearTimeout(timer),
        now: () => performance.now(),
        random: Math.random,
    },
);

document.addEventListener("visibilitychange", () => poller.pause(document.hidden));
addEventListener("online", () => void poller.ask());
poller.pause(document.hidden);
