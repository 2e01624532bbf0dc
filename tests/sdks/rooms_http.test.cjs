// A room over plain HTTP in a real browser: `EventSource` and `fetch`, without an SDK. What a page hears across cuts and
// restarts is the room's own order, or it hears of a gap.
"use strict";

const assert = require("node:assert/strict");
const net = require("node:net");
const { once } = require("node:events");
const readline = require("node:readline");
const test = require("node:test");
const { Server } = require("./helpers/server.cjs");
const { Proxy } = require("./helpers/proxy.cjs");
const { Browser, findBrowser, serve } = require("./helpers/page.cjs");
const { scenario, room } = require("./helpers/clients.cjs");

// The page: what an `EventSource` has told it so far.
const PAGE = `<!doctype html><meta charset="utf-8"><script>
    const seen = { texts: [], opens: 0, gaps: 0, closed: [], ids: [] };
    let source;
    const listen = (url) => {
        source = new EventSource(url);
        source.onopen = () => (seen.opens += 1);
        source.onmessage = ({ data, lastEventId }) => {
            seen.texts.push(JSON.parse(data).data.text);
            seen.ids.push(lastEventId);
        };
        source.addEventListener("gap", () => (seen.gaps += 1));
        source.addEventListener("closed", ({ data }) => seen.closed.push(JSON.parse(data).reason));
        return true;
    };
    const until = (holds) => new Promise((resolve, reject) => {
        const late = setTimeout(() => reject(new Error(JSON.stringify([source.readyState, seen]))), 120_000);
        const look = () => (holds() ? (clearTimeout(late), resolve(true)) : setTimeout(look, 5));
        look();
    });
</script>`;

// A line client in a room.
class Speaker {
    static async join(address, name) {
        const [host, port] = address.split(":");
        const speaker = new Speaker();
        speaker.socket = net.connect(Number(port), host);
        await once(speaker.socket, "connect");
        speaker.lines = readline.createInterface({ input: speaker.socket })[Symbol.asyncIterator]();
        speaker.socket.write(`JOIN ${name}\n`);
        await speaker.until(`Joined ${name}`);
        return speaker;
    }

    async until(end) {
        for (;;) {
            const { value, done } = await this.lines.next();
            if (done) throw new Error(`the end before ${end}`);
            if (value.endsWith(end)) return;
        }
    }

    async say(text) {
        this.socket.write(`${text}\n`);
        await this.until(`] ${text}`);
    }
}

const program = findBrowser();
if (!program) console.error("sdks: skipped the browser, there is no Chromium here");

if (program) {
    let browser, pages;
    test.before(async () => {
        pages = await serve({ "/": PAGE });
        browser = Browser.start(program);
    });
    test.after(async () => {
        pages.close();
        await browser.stop();
    });

    const texts = (count) => Array.from({ length: count }, (_, number) => `${number}`);
    // An `EventSource` begins its wait of 2 s anew after each cut.
    const CUTS = 4;

    scenario("an EventSource whose connection is cut again and again loses nothing", async () => {
        const server = await Server.start({ "allowed-origins": [pages.origin] });
        const proxy = await Proxy.start(server.http);
        const name = room("open");
        const speaker = await Speaker.join(server.tcp, name);
        const evaluate = await browser.open(`${pages.origin}/`);
        await evaluate(`listen("http://${proxy.address}/rooms/${encodeURIComponent(name)}?live=sse")`);
        await evaluate("until(() => seen.opens === 1)");
        let said = 0;
        for (let cut = 1; cut <= CUTS; cut += 1) {
            proxy.cutAfter(1 + 137 * cut);
            for (let number = 0; number < 10; number += 1) await speaker.say(`${said++}`);
            await evaluate(`until(() => seen.opens === ${cut + 1})`);
        }
        await speaker.say(`${said++}`);
        await evaluate(`until(() => seen.texts.length >= ${said})`);
        const seen = await evaluate("seen");
        assert.deepEqual([seen.texts, seen.gaps], [texts(said), 0]);
        assert.equal(new Set(seen.ids).size, said);
        proxy.stop();
        await server.remove();
    });

    scenario("an EventSource comes back by itself to a server that was restarted, and hears of the gap", async () => {
        const server = await Server.start({ "allowed-origins": [pages.origin] });
        const name = room("open");
        const speaker = await Speaker.join(server.tcp, name);
        const evaluate = await browser.open(`${pages.origin}/`);
        await evaluate(`listen("http://${server.http}/rooms/${encodeURIComponent(name)}?live=sse")`);
        await evaluate("until(() => seen.opens === 1)");
        await speaker.say("0");
        await evaluate("until(() => seen.texts.length === 1)");
        await server.stop();
        await evaluate("until(() => seen.closed.length === 1)");
        // It finds nobody at first.
        await evaluate("until(() => source.readyState === EventSource.CONNECTING)");
        await server.run();
        const later = await Speaker.join(server.tcp, name);
        await evaluate("until(() => seen.opens === 2 && seen.gaps === 1)");
        await later.say("1");
        await evaluate("until(() => seen.texts.length === 2)");
        const seen = await evaluate("seen");
        assert.deepEqual([seen.texts, seen.gaps, seen.closed], [texts(2), 1, ["shutdown"]]);
        await server.remove();
    });

    scenario("an EventSource that is refused for now comes back, and one without the right does not", async () => {
        const server = await Server.start({ "allowed-origins": [pages.origin], "max-clients": 1 });
        const name = room("open");
        const speaker = await Speaker.join(server.tcp, name);
        const evaluate = await browser.open(`${pages.origin}/`);
        await evaluate(`listen("http://${server.http}/rooms/${encodeURIComponent(name)}?live=sse")`);
        await evaluate("until(() => seen.closed.length === 1)");
        assert.deepEqual(await evaluate("seen.closed"), ["too-many-connections"]);
        await evaluate("until(() => source.readyState === EventSource.CONNECTING)");
        speaker.socket.destroy();
        // After 10 s, as the server has said.
        await evaluate("until(() => seen.opens === 2)");
        await evaluate(`source.close(), listen("http://${server.http}/rooms/closed%3Aa?live=sse")`);
        await evaluate("until(() => source.readyState === EventSource.CLOSED)");
        await server.remove();
    });

    scenario("a page reads the history of a room with fetch", async () => {
        const server = await Server.start({ "allowed-origins": [pages.origin] });
        const name = room("open");
        const speaker = await Speaker.join(server.tcp, name);
        await speaker.say("hello");
        const evaluate = await browser.open(`${pages.origin}/`);
        const url = `http://${server.http}/rooms/${encodeURIComponent(name)}`;
        const page = await evaluate(`fetch("${url}").then((answer) => answer.json())`);
        assert.deepEqual([page.room, page.publications.map(({ data }) => data.text)], [name, ["hello"]]);
        const status = await evaluate(`fetch("${url}?since=${page.position}1").then(({ status }) => status)`);
        assert.equal(status, 400);
        await server.remove();
    });
}
