// The dashboard as one who looks at it.
"use strict";

class Dashboard {
    static async open(visit, address, options = {}) {
        const dashboard = new Dashboard();
        dashboard.visitor = await visit(`http://${address}/dashboard`, options);
        return dashboard;
    }

    untilLevel(level) {
        return this.visitor.until(`the verdict ${level}`, (wanted) => document.getElementById("verdict").dataset.level === wanted, level);
    }

    // "live", "lost", "locked" or "off".
    untilState(state) {
        return this.visitor.until(`the state ${state}`, (wanted) => document.documentElement.dataset.state === wanted, state);
    }

    // Waits until the verdict, which may change each second, has such a level and this sentence.
    untilVerdict(isLevel, sentence) {
        const verdict = () =>
            this.visitor.page.evaluate(() => {
                const { level } = document.getElementById("verdict").dataset;
                return { level, text: document.getElementById("verdict-sentences").innerText };
            });
        return this.visitor.poll(`verdict ${sentence}`, verdict, ({ level, text }) => isLevel(level) && sentence.test(text));
    }

    // Waits until the tile of this name shows a value that `condition` accepts.
    async untilTile(name, condition) {
        const value = this.visitor.page.getByRole("group", { name, exact: true }).locator(".value");
        await this.visitor.poll(`tile ${name}`, () => value.innerText(), (text) => condition(text.trim()));
    }

    untilRooms(condition) {
        return this.visitor.poll("top rooms", () => this.visitor.page.locator("#rooms bdi").allTextContents(), condition);
    }

    sortRoomsByRate() {
        return this.visitor.page.getByText("by rate").click();
    }

    untilEnding(pattern) {
        return this.visitor.poll("the endings", () => this.visitor.page.locator("#endings").innerText(), (text) => pattern.test(text));
    }

    async giveKey(key) {
        await this.visitor.page.getByLabel("API key").fill(key);
        await this.visitor.page.getByRole("button", { name: "Show the figures" }).click();
    }

    untilKeyError() {
        return this.visitor.poll("the error of the key", () => this.visitor.page.locator("#key-error").innerText(), (text) => text !== "");
    }

    // How many points each line of the charts has when figures show for the first time.
    async firstCharts() {
        await this.untilState("live");
        return this.visitor.page.locator("#charts path.line").evaluateAll((lines) => lines.map((line) => (line.getAttribute("d") ?? "").split(/[MLHV]/).length - 1));
    }
}

module.exports = { Dashboard };
