"""A compose file, as `docker compose config --format json` resolves it: each server runs with no more rights than it needs,
and has the time for a stop that its settings ask for. `python3 tests/packages/compose.py RESOLVED BINARY`."""

import json
import os
import re
import subprocess
import sys
import tomllib

UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}
# The longest time of a stop after the grace period, in seconds: clients are cut, a cluster is left, the process ends.
AFTER_GRACE = 10


def seconds(span):
    return sum(float(number) * UNITS[unit] for number, unit in re.findall(r"([\d.]+)(ms|s|m|h)", span))


def settings_of(service, binary):
    """What applies, as the server itself says: its variables over the file that the service mounts."""
    environment = {**os.environ, **service.get("environment", {})}
    for mount in service.get("volumes", []):
        # The file as it is called outside.
        environment["ROOMCAST_CONFIG"] = environment["ROOMCAST_CONFIG"].replace(mount["target"], mount["source"], 1)
    said = subprocess.run([binary, "check-config"], env=environment, capture_output=True, text=True)
    assert said.returncode == 0, said.stderr
    return tomllib.loads(said.stdout)


def check(name, service, binary):
    assert service["read_only"] and service["cap_drop"] == ["ALL"], f"{name} has rights"
    assert service["security_opt"] == ["no-new-privileges:true"], f"{name} may get rights"
    assert service["ulimits"]["nofile"] >= 65536 and service["restart"] == "unless-stopped", service
    assert service["logging"] == {"driver": "local"}, f"{name} keeps its log for ever"
    settings = settings_of(service, binary)
    stop = sum(seconds(settings[span]) for span in ("drain-delay", "drain-spread", "grace")) + AFTER_GRACE
    assert stop <= seconds(service["stop_grace_period"]), f"{name}: a stop may take {stop} s"


if __name__ == "__main__":
    resolved, binary = sys.argv[1:]
    services = json.load(open(resolved))["services"]
    servers = {name: service for name, service in services.items() if service["image"] == "roomcast"}
    assert servers, services
    for name, service in servers.items():
        check(name, service, binary)
