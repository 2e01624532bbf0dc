"""The Helm chart, rendered by Helm itself (helm-python-sdk has its library) for a server alone, a cluster and TLS: against the
schemas of Kubernetes, and for what they do not know. `python tests/packages/chart.py CHART BINARY`: the chart as a folder or
packed, and the server, which must take the settings that the chart writes."""

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
    "prometheusRule": {"enabled": True, "labels": {"release": "prometheus"}},
    "ingress": {"enabled": True, "className": "nginx", "host": "chat.example", "tlsSecret": "chat"},
}
TLS = {
    "tls": {"existingSecret": "chat"},
    "service": {"type": "LoadBalancer", "externalTrafficPolicy": "Local"},
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
    ({"settings": {"max_clients": 5}}, "max_clients"),
    ({"rules": [{"join": "token"}]}, "rooms"),
    ({"rules": [{"rooms": "team:*"}]}, "join"),
    ({"ingress": {"enabled": True}}, "ingress.host"),
    ({"replicaCount": 3}, "replicaCount"),
]
# Kinds of the operator of Prometheus, whose schemas are not those of Kubernetes.
OPERATORS = {"ServiceMonitor", "PrometheusRule"}
# The oldest that Chart.yaml allows and kubernetes-validate has, and the newest.
VERSIONS = ["1.25", kubernetes_validate.latest_version()]


def expect(found, wanted):
    assert found == wanted, f"{found!r} instead of {wanted!r}"


class Rendered:
    def __init__(self, chart, values):
        with helm.Chart.load(chart) as loaded:
            self.version = loaded.metadata["appVersion"]
            files = loaded.render(values, name="demo", namespace="chat")
        self.notes = next(text for name, text in files.items() if name.endswith("NOTES.txt"))
        texts = [text for name, text in files.items() if name.endswith(".yaml")]
        objects = [found for text in texts for found in yaml.safe_load_all(text) if found]
        self.objects = {found["kind"]: found for found in objects}
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
    for kind, found in rendered.objects.items():
        if kind not in OPERATORS:
            for version in VERSIONS:
                kubernetes_validate.validate(found, version, strict=True)


def belong_together(rendered):
    """Whatever the values: who selects whom, ports by their names, the time of a stop, and no more rights than it needs."""
    labels = rendered["Deployment"]["template"]["metadata"]["labels"]
    selectors = [rendered["Deployment"]["selector"]["matchLabels"], rendered["Service"]["selector"]]
    selectors += [rendered[kind]["selector"]["matchLabels"] for kind in ("PodDisruptionBudget",) if kind in rendered.objects]
    assert all(selector and selector.items() <= labels.items() for selector in selectors), (selectors, labels)
    ports = {port["name"]: port["containerPort"] for port in rendered.container["ports"]}
    environment = {pair["name"]: pair.get("value", "") for pair in rendered.container["env"]}
    expect(environment["ROOMCAST_TCP"], f"0.0.0.0:{ports['lines']}")
    expect(environment["ROOMCAST_HTTP"], f"0.0.0.0:{ports['http']}")
    paths = [mount["mountPath"] for mount in rendered.container["volumeMounts"]]
    assert environment["ROOMCAST_CONFIG"] in paths, paths
    expect({port["targetPort"] for port in rendered["Service"]["ports"]}, set(ports))
    settings = tomllib.loads(rendered.settings)
    seconds = sum(int(settings[name].removesuffix("s")) for name in ("drain-delay", "drain-spread", "grace"))
    expect(rendered.pod["terminationGracePeriodSeconds"], seconds + 5)
    probes = {name: rendered.container[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    expect([probe["path"] for probe in probes.values()], ["/health", "/health", "/ready"])
    scheme = "HTTPS" if settings.get("tls") in ("http", "both") else "HTTP"
    expect({(probe["port"], probe["scheme"]) for probe in probes.values()}, {("http", scheme)})
    # A load balancer has seen a server that is not ready before it turns clients away.
    ready = rendered.container["readinessProbe"]
    assert ready["periodSeconds"] * ready["failureThreshold"] < int(settings["drain-delay"].removesuffix("s"))
    expect(rendered.container["image"], f"roomcast:{rendered.version}")
    expect(rendered.container["securityContext"]["capabilities"], {"drop": ["ALL"]})
    assert rendered.container["securityContext"]["readOnlyRootFilesystem"]
    assert rendered.pod["securityContext"]["runAsNonRoot"] and not rendered.pod["automountServiceAccountToken"]
    mounted = {mount["name"] for mount in rendered.container["volumeMounts"]}
    expect(mounted, {volume["name"] for volume in rendered.pod["volumes"]})


def is_taken_by_the_server(rendered, binary):
    """The settings file as the server reads it, but for files that only a pod has."""
    lines = [line for line in rendered.settings.splitlines() if not line.startswith("tls")]
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
        file.write("\n".join(lines))
        file.flush()
        said = subprocess.run([binary, "check-config", "--config", file.name], capture_output=True, text=True)
    assert said.returncode == 0, said.stderr


def alone(rendered):
    expect(set(rendered.objects), {"ConfigMap", "Deployment", "Service"})
    expect(rendered["Deployment"]["strategy"], {"type": "Recreate"})
    expect(rendered["Deployment"]["replicas"], 1)
    assert "ROOMCAST_CLUSTER" not in str(rendered.container["env"]) and "50 seconds" in rendered.notes, rendered.notes


def cluster(rendered):
    assert "replicas" not in rendered["Deployment"], "the autoscaler says how many"
    expect(rendered["Deployment"]["strategy"]["rollingUpdate"], {"maxUnavailable": 0, "maxSurge": 1})
    secret = {"secretKeyRef": {"name": "nats", "key": "url"}}
    expect([pair["valueFrom"] for pair in rendered.container["env"] if pair["name"] == "ROOMCAST_CLUSTER"], [secret])
    expect(rendered["PodDisruptionBudget"]["maxUnavailable"], 1)
    scaler = rendered["HorizontalPodAutoscaler"]
    expect((scaler["scaleTargetRef"]["kind"], scaler["scaleTargetRef"]["name"]), ("Deployment", "demo"))
    expect(scaler["metrics"][0]["pods"]["metric"]["name"], "active_connections")
    expect(scaler["metrics"][0]["pods"]["target"]["averageValue"], "10000")
    [endpoint] = rendered["ServiceMonitor"]["endpoints"]
    expect((endpoint["port"], endpoint["path"], endpoint["scheme"]), ("http", "/metrics", "http"))
    # The alerts look for a job with this word.
    expect(endpoint["relabelings"], [{"targetLabel": "job", "replacement": "roomcast/chat/demo"}])
    expect(rendered.objects["ServiceMonitor"]["metadata"]["labels"]["release"], "prometheus")
    alerts = [rule for group in rendered["PrometheusRule"]["groups"] for rule in group["rules"] if "alert" in rule]
    assert alerts and all("$labels" not in rule["expr"] for rule in alerts), alerts
    [rule] = rendered["Ingress"]["rules"]
    expect(rule["http"]["paths"][0]["backend"]["service"], {"name": "demo", "port": {"name": "http"}})
    expect(rendered["Ingress"]["tls"], [{"hosts": ["chat.example"], "secretName": "chat"}])
    assert "https://chat.example/" in rendered.notes, rendered.notes


def tls(rendered):
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


def refuse(chart):
    for values, words in REFUSED:
        try:
            Rendered(chart, values)
        except helm.HelmError as refusal:
            assert words in str(refusal), f"{values}: {refusal}"
        else:
            raise AssertionError(f"{values} is taken")


def lint(chart):
    for values in (ALONE, CLUSTER, TLS):
        report = helm.lint(chart, values, strict=True)
        wrong = [message for message in report["messages"] if message["severity"] > 1] + report["errors"]
        assert not wrong, wrong


if __name__ == "__main__":
    chart, binary = sys.argv[1:]
    lint(chart)
    for values, check in [(ALONE, alone), (CLUSTER, cluster), (TLS, tls)]:
        rendered = Rendered(chart, values)
        follow_schemas(rendered)
        belong_together(rendered)
        is_taken_by_the_server(rendered, binary)
        check(rendered)
    refuse(chart)
