"""The Helm chart, rendered by Helm itself (helm-python-sdk has its library) for a server alone, a cluster, TLS, and with all
other values changed: against the schemas of Kubernetes, and for what they do not know. `python tests/packages/chart.py CHART
BINARY`: the chart as a folder or packed, and the server, which must take the settings that the chart writes."""

import pathlib
import re
import subprocess
import sys
import tempfile
import tomllib

import helm_python as helm
import kubernetes_validate
import yaml

ALONE = {}
CLUSTER = {
    "replicas": 3,
    "cluster": {"enabled": True, "existingSecret": "nats"},
    "drain": {"delaySeconds": 7, "spreadSeconds": 60, "graceSeconds": 20},
    "autoscaling": {"enabled": True},
    "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
    "prometheusRule": {
        "enabled": True,
        "labels": {"release": "prometheus"},
        "runbookBase": "https://git.example/roomcast",
    },
    "ingress": {"enabled": True, "className": "nginx", "host": "chat.example", "tlsSecret": "chat"},
}
TLS = {
    "tls": {"existingSecret": "chat"},
    "service": {"type": "LoadBalancer", "externalTrafficPolicy": "Local"},
    "ingress": {
        "enabled": True,
        "host": "chat.example",
        "annotations": {"nginx.ingress.kubernetes.io/backend-protocol": "HTTPS"},
    },
    "serviceMonitor": {"enabled": True},
    "settings": {
        "max-clients": 1000,
        "history-budget": "1GiB",
        "allowed-origins": ["https://chat.example", "https://b.example"],
    },
    "rules": [
        {"name": "<teams> & \"others\"", "rooms": "team:*", "join": "token"},
        {"rooms": "news", "join": "anyone", "history-messages": 5},
    ],
    "secretFiles": {"tokens": "chat-tokens"},
}
SPREAD = {"maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "DoNotSchedule"}
# Values that the other cases leave at their defaults.
KNOBS = {
    "drain": {"spreadSeconds": 20},
    "settings": {"proxy-protocol": "both", "trusted-proxies": ["127.0.0.0/8"], "workers": None},
    "service": {
        "type": "LoadBalancer",
        "nodePorts": {"lines": 30080, "http": 30300},
        "loadBalancerClass": "example/balancer",
        "loadBalancerSourceRanges": ["192.0.2.0/24"],
    },
    "linesService": {"enabled": True, "port": 23, "nodePort": 30023, "externalTrafficPolicy": "Local"},
    "networkPolicy": {
        "enabled": True,
        "linesFrom": [{"ipBlock": {"cidr": "192.0.2.0/24"}}],
        "httpFrom": [{"namespaceSelector": {"matchLabels": {"name": "ingress"}}}],
        "egress": [{"to": [{"podSelector": {"matchLabels": {"app": "nats"}}}], "ports": [{"port": 4222}]}],
    },
    "serviceAccount": {"create": True, "annotations": {"owner": "chat"}},
    "extraEnv": [{"name": "ROOMCAST_LOG", "value": "debug"}],
    "extraVolumes": [{"name": "rooms", "emptyDir": {}}],
    "extraVolumeMounts": [{"name": "rooms", "mountPath": "/rooms"}],
    "podLabels": {"team": "chat"},
    "podSecurityContext": {"runAsUser": None, "runAsGroup": None, "fsGroup": None},
    "priorityClassName": "important",
    "topologySpreadConstraints": [SPREAD],
}
# Each is refused, by the schema or by the templates, with these words.
REFUSED = [
    ({"replicas": 2}, "cluster.enabled"),
    ({"autoscaling": {"enabled": True}}, "cluster.enabled"),
    ({"cluster": {"enabled": True}}, "cluster.url"),
    ({"cluster": {"url": "redis://a"}}, "url"),
    ({"image": {"tag": "latest"}}, "tag"),
    ({"drain": {"graceSeconds": "30s"}}, "graceSeconds"),
    ({"settings": {"grace": "10s"}}, "grace"),
    ({"settings": {"tcp": "127.0.0.1:1"}}, "tcp"),
    ({"settings": {"probes-until-end": False}}, "probes-until-end"),
    ({"extraEnv": [{"name": "ROOMCAST_GRACE", "value": "9s"}]}, "extraEnv"),
    ({"settings": {"max_clients": 5}}, "max_clients"),
    ({"rules": [{"join": "token"}]}, "rooms"),
    ({"rules": [{"rooms": "team:*"}]}, "join"),
    ({"ingress": {"enabled": True}}, "ingress.host"),
    ({"ingress": {"enabled": True, "host": "a.example"}, "tls": {"existingSecret": "a"}}, "backend-protocol"),
    ({"ingress": {"paths": ["/ws"]}}, "paths"),
    (CLUSTER | {"settings": {"max-clients": 6500}}, "autoscaling.connections"),
    ({"prometheusRule": {"runbookBase": "docs/"}}, "runbookBase"),
    ({"replicaCount": 3}, "replicaCount"),
]
# Kinds of the operator of Prometheus, whose schemas are not those of Kubernetes.
OPERATORS = {"ServiceMonitor", "PrometheusRule"}
# The oldest that Chart.yaml allows and kubernetes-validate has, and the newest.
VERSIONS = ["1.25", kubernetes_validate.latest_version()]
# What names end with where several objects of a kind lead to the same servers.
SAME_NODE = "-same-node"
LINES = "-lines"
# The longest parts of a stop beyond the settings: clients are cut, a cluster is left, the process ends.
AFTER_GRACE = 10
MIB = 1 << 20
# Beside its budgets and for each client, as values.yaml reckons.
PROGRAM_BYTES = 32 * MIB
CLIENT_BYTES = 22 << 10


def expect(found, wanted):
    assert found == wanted, f"{found!r} instead of {wanted!r}"


def key_of(found):
    """The kind, and what tells a further object of it from the first."""
    ends = [end for end in (SAME_NODE, LINES) if found["metadata"]["name"].endswith(end)]
    return "".join([found["kind"], *ends])


class Rendered:
    def __init__(self, chart, values):
        with helm.Chart.load(chart) as loaded:
            self.version = loaded.metadata["appVersion"]
            files = loaded.render(values, name="demo", namespace="chat")
        self.notes = next(text for name, text in files.items() if name.endswith("NOTES.txt"))
        texts = [text for name, text in files.items() if name.endswith(".yaml")]
        objects = [found for text in texts for found in yaml.safe_load_all(text) if found]
        self.objects = {key_of(found): found for found in objects}
        expect(len(self.objects), len(objects))

    def __getitem__(self, kind):
        return self.objects[kind]["spec"]

    @property
    def pod(self):
        return self["Deployment"]["template"]["spec"]

    @property
    def container(self):
        return self.pod["containers"][0]

    @property
    def settings(self):
        return self.objects["ConfigMap"]["data"]["roomcast.toml"]


def follow_schemas(rendered):
    for found in rendered.objects.values():
        if found["kind"] not in OPERATORS:
            for version in VERSIONS:
                kubernetes_validate.validate(found, version, strict=True)


def belong_together(rendered):
    """Whatever the values: who selects whom, ports by their names, the time of a stop, and no more rights than it needs."""
    labels = rendered["Deployment"]["template"]["metadata"]["labels"]
    services = [found["spec"] for found in rendered.objects.values() if found["kind"] == "Service"]
    selectors = [rendered["Deployment"]["selector"]["matchLabels"], *(service["selector"] for service in services)]
    selectors += [rendered[kind]["selector"]["matchLabels"] for kind in ("PodDisruptionBudget",) if kind in rendered.objects]
    assert all(selector and selector.items() <= labels.items() for selector in selectors), (selectors, labels)
    ports = {port["name"]: port["containerPort"] for port in rendered.container["ports"]}
    environment = {pair["name"]: pair.get("value", "") for pair in rendered.container["env"]}
    expect(environment["ROOMCAST_TCP"], f"0.0.0.0:{ports['lines']}")
    expect(environment["ROOMCAST_HTTP"], f"0.0.0.0:{ports['http']}")
    paths = [mount["mountPath"] for mount in rendered.container["volumeMounts"]]
    assert environment["ROOMCAST_CONFIG"] in paths, paths
    expect({port["targetPort"] for port in rendered["Service"]["ports"]}, set(ports))
    # Servers are scraped by one of the Services.
    marked = [key for key, found in rendered.objects.items() if "app.kubernetes.io/component" in found["metadata"]["labels"]]
    expect(set(marked), {key for key in rendered.objects if key.startswith("Service-")})
    settings = tomllib.loads(rendered.settings)
    seconds = sum(int(settings[name].removesuffix("s")) for name in ("drain-delay", "drain-spread", "grace"))
    expect(rendered.pod["terminationGracePeriodSeconds"], seconds + AFTER_GRACE)
    assert settings["probes-until-end"], "probes fail while it drains"
    are_asked(rendered, settings)
    # A load balancer has seen a server that is not ready before it turns clients away.
    ready = rendered.container["readinessProbe"]
    assert ready["periodSeconds"] * ready["failureThreshold"] < int(settings["drain-delay"].removesuffix("s"))
    expect(rendered.container["image"], f"roomcast:{rendered.version}")
    expect(rendered.container["securityContext"]["capabilities"], {"drop": ["ALL"]})
    assert rendered.container["securityContext"]["readOnlyRootFilesystem"]
    assert rendered.pod["securityContext"]["runAsNonRoot"] and not rendered.pod["automountServiceAccountToken"]
    mounted = {mount["name"] for mount in rendered.container["volumeMounts"]}
    expect(mounted, {volume["name"] for volume in rendered.pod["volumes"]})


def are_asked(rendered, settings):
    """The probes speak as the port does. A kubelet sends no PROXY header."""
    start, live, ready = (rendered.container[name] for name in ("startupProbe", "livenessProbe", "readinessProbe"))
    # A node waits for NATS before it answers, as long as systemd would wait for it.
    assert start["failureThreshold"] * start["periodSeconds"] >= 300, start
    if settings.get("proxy-protocol") in ("http", "both"):
        health = ["/usr/bin/roomcast", "health"]
        expect([probe["exec"]["command"] for probe in (start, live, ready)], [health, health, [*health, "--ready"]])
    else:
        scheme = "HTTPS" if settings.get("tls") in ("http", "both") else "HTTP"
        asked = [{"path": path, "port": "http", "scheme": scheme} for path in ("/health", "/health", "/ready")]
        expect([probe["httpGet"] for probe in (start, live, ready)], asked)


def is_taken_by_the_server(rendered, binary):
    """The settings that apply, of the file as the server reads it, but for files that only a pod has."""
    lines = [line for line in rendered.settings.splitlines() if not line.startswith("tls")]
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
        file.write("\n".join(lines))
        file.flush()
        said = subprocess.run([binary, "check-config", "--config", file.name], capture_output=True, text=True)
    assert said.returncode == 0, said.stderr
    return tomllib.loads(said.stdout)


def alone(rendered, settings):
    expect(set(rendered.objects), {"ConfigMap", "Deployment", "Service"})
    expect(rendered["Deployment"]["strategy"], {"type": "Recreate"})
    expect(rendered["Deployment"]["replicas"], 1)
    assert "ROOMCAST_CLUSTER" not in str(rendered.container["env"]) and "45 seconds" in rendered.notes, rendered.notes
    fits_its_memory(rendered, settings)


def fits_its_memory(rendered, settings):
    """A server that is full has all its memory within the limit, so that it can say so."""
    budgets = [settings[name] for name in ("outbox-budget", "history-budget", "input-budget")]
    assert all(budget.endswith("MiB") for budget in budgets), budgets
    needed = sum(int(budget.removesuffix("MiB")) * MIB for budget in budgets) + PROGRAM_BYTES
    limit = rendered.container["resources"]["limits"]["memory"]
    assert needed + settings["max-clients"] * CLIENT_BYTES <= int(limit.removesuffix("Gi")) << 30, (needed, limit)


def cluster(rendered, settings):
    assert "replicas" not in rendered["Deployment"], "the autoscaler says how many"
    expect(rendered["Deployment"]["strategy"]["rollingUpdate"], {"maxUnavailable": 0, "maxSurge": 1})
    # The drain delay and the drain spread: two servers do not send each other their clients.
    expect(rendered["Deployment"]["minReadySeconds"], 7 + 60)
    assert rendered["Deployment"]["progressDeadlineSeconds"] > 7 + 60 + 300, "a node may wait for NATS meanwhile"
    secret = {"secretKeyRef": {"name": "nats", "key": "url"}}
    expect([pair["valueFrom"] for pair in rendered.container["env"] if pair["name"] == "ROOMCAST_CLUSTER"], [secret])
    expect(rendered["PodDisruptionBudget"]["maxUnavailable"], 1)
    scaler = rendered["HorizontalPodAutoscaler"]
    expect((scaler["scaleTargetRef"]["kind"], scaler["scaleTargetRef"]["name"]), ("Deployment", "demo"))
    expect(scaler["metrics"][0]["pods"]["metric"]["name"], "active_connections")
    clients = int(scaler["metrics"][0]["pods"]["target"]["averageValue"])
    # Two of three servers take the clients of the third.
    assert clients <= settings["max-clients"] * 2 / 3, clients
    [endpoint] = rendered["ServiceMonitor"]["endpoints"]
    expect((endpoint["port"], endpoint["path"], endpoint["scheme"]), ("http", "/metrics", "http"))
    # The alerts look for a job with this word.
    expect(endpoint["relabelings"], [{"targetLabel": "job", "replacement": "roomcast/chat/demo"}])
    expect(rendered.objects["ServiceMonitor"]["metadata"]["labels"]["release"], "prometheus")
    [rule] = rendered["ServiceMonitor"]["selector"]["matchExpressions"]
    expect(rule, {"key": "app.kubernetes.io/component", "operator": "DoesNotExist"})
    alerts = [rule for group in rendered["PrometheusRule"]["groups"] for rule in group["rules"] if "alert" in rule]
    assert alerts and all("$labels" not in rule["expr"] for rule in alerts), alerts
    page = f"{CLUSTER['prometheusRule']['runbookBase']}/docs/monitoring.md#"
    assert all(rule["annotations"]["runbook_url"].startswith(page) for rule in alerts), alerts
    expect(rendered["Ingress"]["tls"], [{"hosts": ["chat.example"], "secretName": "chat"}])
    assert "https://chat.example/" in rendered.notes, rendered.notes
    keeps_streams_together(rendered)


def paths_of(rendered, key):
    """The paths of an Ingress, whose backends are the Service of its own name."""
    [rule] = rendered[key]["rules"]
    backends = [path["backend"]["service"] for path in rule["http"]["paths"]]
    service = {"name": rendered.objects[key]["metadata"]["name"], "port": {"name": "http"}}
    expect(backends, [service] * len(backends))
    return [(path["path"], path["pathType"]) for path in rule["http"]["paths"]]


def keeps_streams_together(rendered):
    """The paths of clients without WebSocket go to the same node, as docs/cluster.md says, and no path has two rules."""
    listed = re.search(r"location ~ \^/\(emulation\|connection/\(http_stream\|sse\)\$\)", document("cluster.md"))
    assert listed, "docs/cluster.md has other paths"
    same = paths_of(rendered, f"Ingress{SAME_NODE}")
    expect({path for path, _ in same}, {"/emulation", "/connection/http_stream", "/connection/sse"})
    assert not {path for path, _ in same} & {path for path, _ in paths_of(rendered, "Ingress")}, same
    annotations = rendered.objects[f"Ingress{SAME_NODE}"]["metadata"]["annotations"]
    expect(annotations["nginx.ingress.kubernetes.io/upstream-hash-by"], "$binary_remote_addr")
    assert rendered.objects["Ingress"]["metadata"]["annotations"].items() < annotations.items(), annotations


def document(name):
    return (pathlib.Path(__file__).parents[2] / "docs" / name).read_text()


def lets_through(paths, asked):
    """Whether an Ingress has a rule for this path."""
    return any(asked == path or (kind == "Prefix" and f"{asked}/".startswith(f"{path.rstrip('/')}/")) for path, kind in paths)


def is_for_strangers(rendered):
    """Through an ingress comes what the proxies of docs/proxies.md let through, of all paths that the server has."""
    listed = re.search(r"@roomcast path (.*)", document("proxies.md"))[1].split()
    routes = pathlib.Path(__file__).parents[2] / "src/transport/http/routes.rs"
    known = re.findall(r'rule\("(/[^"]*)"', routes.read_text())
    assert len(known) > 15 and "/metrics" in known and "/api/*" in known, known
    passed = [path for path in known if any(re.fullmatch(rule.replace("*", ".*"), path) for rule in listed)]
    paths = paths_of(rendered, "Ingress")
    expect([path for path in known if lets_through(paths, path)], passed)


def tls(rendered, applied):
    is_for_strangers(rendered)
    expect(applied["workers"], 2)
    settings = tomllib.loads(rendered.settings)
    expect({name: settings[name] for name in TLS["settings"]}, TLS["settings"])
    expect(settings["rule"], TLS["rules"])
    paths = {mount["name"]: mount["mountPath"] for mount in rendered.container["volumeMounts"]}
    expect(settings["tls-cert"], f"{paths['tls']}/tls.crt")
    expect(paths["secret-tokens"], "/etc/roomcast/secrets/tokens")
    # Readable by the group of the server, and by nobody else.
    secrets = [volume["secret"] for volume in rendered.pod["volumes"] if "secret" in volume]
    expect([(secret["secretName"], secret["defaultMode"]) for secret in secrets], [("chat", 0o440), ("chat-tokens", 0o440)])
    expect(rendered.pod["securityContext"]["fsGroup"], 65532)
    [endpoint] = rendered["ServiceMonitor"]["endpoints"]
    expect(endpoint["scheme"], "https")
    expect(rendered["Service"]["type"], "LoadBalancer")


def knobs(rendered, _):
    expect(rendered.pod["terminationGracePeriodSeconds"], 5 + 20 + 30 + AFTER_GRACE)
    assert "workers" not in rendered.settings, "null gives a setting back to the server"
    expect(rendered.pod["securityContext"], {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}})
    expect(rendered.pod["priorityClassName"], KNOBS["priorityClassName"])
    expect(rendered.pod["topologySpreadConstraints"], [SPREAD])
    expect(rendered["Deployment"]["template"]["metadata"]["labels"]["team"], "chat")
    assert KNOBS["extraEnv"][0] in rendered.container["env"], rendered.container["env"]
    assert KNOBS["extraVolumes"][0] in rendered.pod["volumes"], rendered.pod["volumes"]
    assert KNOBS["extraVolumeMounts"][0] in rendered.container["volumeMounts"], rendered.container["volumeMounts"]
    account = rendered.objects["ServiceAccount"]
    expect((account["metadata"]["name"], account["automountServiceAccountToken"]), ("demo", False))
    expect(rendered.pod["serviceAccountName"], "demo")
    service = rendered["Service"]
    expect([port["nodePort"] for port in service["ports"]], [30080, 30300])
    expect((service["loadBalancerClass"], service["loadBalancerSourceRanges"]), ("example/balancer", ["192.0.2.0/24"]))
    lines = rendered[f"Service{LINES}"]
    expect((lines["type"], lines["externalTrafficPolicy"]), ("LoadBalancer", "Local"))
    expect(lines["ports"], [{"name": "lines", "port": 23, "targetPort": "lines", "nodePort": 30023}])
    policy, asked = rendered["NetworkPolicy"], KNOBS["networkPolicy"]
    assert policy["podSelector"]["matchLabels"].items() <= rendered["Deployment"]["template"]["metadata"]["labels"].items()
    sources = [(rule["ports"][0]["port"], rule["from"]) for rule in policy["ingress"]]
    expect(sources, [("lines", asked["linesFrom"]), ("http", asked["httpFrom"])])
    expect((policy["policyTypes"], policy["egress"][1:]), (["Ingress", "Egress"], asked["egress"]))
    expect({rule["port"] for rule in policy["egress"][0]["ports"]}, {53})


def refuse(chart):
    for values, words in REFUSED:
        try:
            Rendered(chart, values)
        except helm.HelmError as refusal:
            assert words in str(refusal), f"{values}: {refusal}"
        else:
            raise AssertionError(f"{values} is taken")


def lint(chart):
    for values in (ALONE, CLUSTER, TLS, KNOBS):
        report = helm.lint(chart, values, strict=True)
        wrong = [message for message in report["messages"] if message["severity"] > 1] + report["errors"]
        assert not wrong, wrong


if __name__ == "__main__":
    chart, binary = sys.argv[1:]
    lint(chart)
    for values, check in [(ALONE, alone), (CLUSTER, cluster), (TLS, tls), (KNOBS, knobs)]:
        rendered = Rendered(chart, values)
        follow_schemas(rendered)
        belong_together(rendered)
        check(rendered, is_taken_by_the_server(rendered, binary))
    refuse(chart)
