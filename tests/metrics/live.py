"""A real Prometheus scrapes real servers with the files of deploy/, while there is some talk: promtool takes their metrics;
every expression of the rules and of the dashboard reads what is there, evaluates, and gives data; and no alert is raised.

Usage: live.py ROOMCAST [NATS_SERVER]. Without NATS what is about clusters is left out.
"""

import contextlib
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

import expressions
import talk

ROOT = pathlib.Path(__file__).parents[2]

# A state that has not come after this many seconds will not come.
PATIENCE = 60

# All servers are on loopback, where no proxy of the environment reaches them.
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))

# Panels whose figures are above 0 while people talk.
MAIN_PANELS = {"Servers", "Clients", "Rooms", "Messages", "Deliveries", "99 % within", "Busy workers", "Memory", "State"}

# Rules that read these measure the machine as well: on a slow one their alerts may be pending, and all is well.
MACHINE = re.compile(r"roomcast_write_seconds|roomcast_busy|roomcast_backplane_lag_seconds")

# What Grafana puts in place of its variables.
VARIABLES = {"$job": ".*", "$instance": ".*", "$__rate_interval": "10s", "$__interval": "10s"}


def until(what, state):
    """Waits for a state: a function that returns what is still missing, or nothing."""
    deadline = time.monotonic() + PATIENCE
    while missing := state():
        if time.monotonic() > deadline:
            sys.exit(f"metrics: {what}: {missing}")
        time.sleep(0.1)


class Processes:
    """Programs that end with this one, and their folder."""

    def __init__(self, stack):
        self.folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
        self._stack = stack

    def start(self, name, *command):
        log = self._stack.enter_context(open(self.folder / f"{name}.log", "w"))
        process = subprocess.Popen([str(part) for part in command], stdout=log, stderr=log)
        self._stack.callback(self._end, process)
        return process

    def log(self, name):
        return (self.folder / f"{name}.log").read_text()

    @staticmethod
    def _end(process):
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def start_roomcast(self, name, roomcast, *arguments):
        """Starts a server; returns its addresses for lines and for HTTP."""
        ready = self.folder / f"{name}.ready"
        own = ["--tcp", "127.0.0.1:0", "--http", "127.0.0.1:0", "--ready-file", ready, "--workers", "2", "--grace", "1s"]
        self.start(name, roomcast, *own, *arguments)
        until(f"{name} does not start", lambda: None if ready.exists() else self.log(name) or "it says nothing")
        addresses = dict(line.split() for line in ready.read_text().splitlines())
        return addresses["tcp"], addresses["http"]

    def start_nats(self, nats):
        """Starts NATS; returns its URL."""
        folder = self.folder / "nats"
        folder.mkdir()
        address = ["--addr", "127.0.0.1", "--port", "-1", "--ports_file_dir", folder]
        self.start("nats", nats, "--jetstream", "--store_dir", folder, *address)
        has_started = lambda: any(file.stat().st_size > 0 for file in folder.glob("*.ports"))
        until("NATS does not start", lambda: None if has_started() else self.log("nats") or "it says nothing")
        return json.loads(next(folder.glob("*.ports")).read_text())["nats"][0]

    def start_prometheus(self, jobs):
        """Starts Prometheus with the configuration and the rules of deploy/, on these jobs and each second."""
        example = (ROOT / "deploy/prometheus/prometheus.yml").read_text()
        head, _, _ = example.partition("scrape_configs:")
        head = head.replace("15s", "1s").replace("roomcast.rules.yml", str(ROOT / "deploy/prometheus/roomcast.rules.yml"))
        scrapes = [{"job_name": job, "static_configs": [{"targets": targets}]} for job, targets in jobs.items()]
        config = self.folder / "prometheus.yml"
        config.write_text(f"{head}scrape_configs: {json.dumps(scrapes)}\n")
        storage = f"--storage.tsdb.path={self.folder / 'prometheus'}"
        self.start("prometheus", "prometheus", f"--config.file={config}", storage, "--web.listen-address=127.0.0.1:0")
        listening = lambda: re.search(r'msg="Listening on" address=(\S+)', self.log("prometheus"))
        until("Prometheus does not listen", lambda: None if listening() else self.log("prometheus") or "it says nothing")
        return Prometheus(listening()[1])


class Prometheus:
    """The API of a Prometheus that runs."""

    def __init__(self, address):
        self._url = f"http://{address}/api/v1/"

    def ask(self, path, **parameters):
        url = f"{self._url}{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with OPENER.open(url, timeout=PATIENCE) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            # It loads its data first.
            if error.code == 503:
                return None
            sys.exit(f"metrics: {parameters}: {error.read().decode()}")

    def values(self, expression):
        """The values of an expression now."""
        data = self.ask("query", query=expression)
        return [float(sample["value"][1]) for sample in data["result"]] if data else []

    def rules(self):
        data = self.ask("rules")
        return [rule for group in data["groups"] for rule in group["rules"]] if data else []


def served_by(addresses):
    """Of each metric of these servers, its labels with their values."""
    served = {"up": {}}
    for address in addresses:
        with OPENER.open(f"http://{address}/metrics", timeout=PATIENCE) as answer:
            text = answer.read().decode()
        check_text(text)
        for name, labels in re.findall(r"^([a-z]\w*)(?:\{(.*)\})? ", text, re.MULTILINE):
            of_metric = served.setdefault(name, {})
            for label, value in re.findall(r'(\w+)="([^"]*)"', labels):
                of_metric.setdefault(label, set()).add(value)
    return served


def check_text(text):
    """What promtool says of a text of metrics."""
    checked = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    if checked.returncode or checked.stdout or checked.stderr:
        sys.exit(f"metrics: promtool: {checked.stdout}{checked.stderr}")


def panel_expressions(dashboard):
    """The title of each panel with each of its expressions."""
    panels = [panel for panel in dashboard["panels"] if panel["type"] != "row"]
    found = [(panel["title"], target["expr"]) for panel in panels for target in panel["targets"]]
    return found + [(note["name"], note["target"]["expr"]) for note in dashboard["annotations"]["list"]]


def filled_in(expression):
    """The expression as Grafana sends it."""
    for name in sorted(VARIABLES, key=len, reverse=True):
        expression = expression.replace(name, VARIABLES[name])
    assert "$" not in expression, expression
    return expression


def is_about_clusters(expression):
    return "roomcast_backplane_" in expression


def check_names(rules, panels, served):
    """Whatever an expression reads is served, or recorded by a rule."""
    recorded = {rule["name"]: {} for rule in rules if rule["type"] == "recording"}
    for rule in rules:
        if rule["type"] == "recording":
            for name, _ in expressions.selectors(rule["query"]):
                recorded[rule["name"]].update(served.get(name, {}))
    known = served | recorded
    wrong = [mistake for rule in rules for mistake in expressions.mistakes(rule["query"], known)]
    wrong += [f"{title}: {mistake}" for title, expression in panels for mistake in expressions.mistakes(expression, served)]
    if wrong:
        sys.exit("metrics: " + "\nmetrics: ".join(wrong))


def check_advice(rules, roomcast, served):
    """Whatever an alert names with a hyphen is a setting, a task or a state of the server."""
    known = subprocess.run([roomcast, "--help"], capture_output=True, text=True, check=True).stdout
    states = {value for labels in served.values() for values in labels.values() for value in values}
    wrong = []
    for rule in rules:
        for text in rule.get("annotations", {}).values():
            named = set(re.findall(r"\b[a-z]+(?:-[a-z]+)+\b", text))
            wrong += [f"{rule['name']} names {word}" for word in named - states if not re.search(rf"\b{word}\b", known)]
    if wrong:
        sys.exit("metrics: " + "\nmetrics: ".join(wrong))


def without_data(prometheus, rules, panels):
    """Expressions that give nothing yet. Those with a condition behind them may always do so."""
    recorded = [(rule["name"], rule["name"]) for rule in rules if rule["type"] == "recording"]
    missing = []
    for title, expression in panels + recorded:
        values = prometheus.values(expression)
        has_condition = "> 0" in expression
        if not values and not has_condition or title in MAIN_PANELS and not any(value > 0 for value in values):
            missing.append(f"{title} has no data: {expression}")
    return missing


def is_raised(rule):
    healthy = ("inactive", "pending") if MACHINE.search(rule["query"]) else ("inactive",)
    return rule.get("state", "inactive") not in healthy


def unhealthy_rules(prometheus):
    """Rules that Prometheus could not evaluate yet, and alerts that a healthy server raises."""
    rules = prometheus.rules()
    failed = [f"{rule['name']}: {rule['health']} {rule.get('lastError', '')}" for rule in rules if rule["health"] != "ok"]
    raised = [f"{rule['name']} is {rule['state']}" for rule in rules if is_raised(rule)]
    return failed + raised if rules else "no rules"


def main(roomcast, nats=None):
    with contextlib.ExitStack() as stack:
        processes = Processes(stack)
        servers = {"roomcast": [processes.start_roomcast("alone", roomcast)]}
        if nats:
            cluster = ["--cluster", processes.start_nats(nats), "--cluster-stream-bytes", "64MiB"]
            nodes = [processes.start_roomcast(f"node-{number}", roomcast, *cluster) for number in (1, 2)]
            servers["roomcast-cluster"] = nodes
        jobs = {job: [http for _, http in addresses] for job, addresses in servers.items()}
        prometheus = processes.start_prometheus(jobs)
        stack.enter_context(talk.keep_talking([tcp for addresses in servers.values() for tcp, _ in addresses]))
        dashboard = json.loads((ROOT / "deploy/grafana/roomcast.json").read_text())
        panels = [(title, filled_in(expression)) for title, expression in panel_expressions(dashboard)]
        until("Prometheus has no rules", lambda: None if prometheus.rules() else "it loads them")
        rules = prometheus.rules()
        if not nats:
            print("metrics: skipped what is about clusters, no nats-server", file=sys.stderr)
            panels = [panel for panel in panels if not is_about_clusters(panel[1])]
            rules = [rule for rule in rules if not is_about_clusters(rule["query"])]
        served = served_by(sum(jobs.values(), []))
        check_names(rules, panels, served)
        check_advice(rules, roomcast, served)
        until("the dashboard", lambda: without_data(prometheus, rules, panels))
        until("the rules", lambda: unhealthy_rules(prometheus))
        print(f"metrics: {len(panels)} expressions of the dashboard and {len(rules)} rules read what the servers have")


if __name__ == "__main__":
    main(*sys.argv[1:])
