"""The tree of the image, started as a container runtime does: its own root, read-only, as the user of the Dockerfile, with the
variables, the entry point, the health check and the stop signal that stand there. Runs in namespaces of its own, so that the
ports are free and nothing stays: `unshare --mount --pid --net --fork python3 tests/packages/boot.py DOCKERFILE TREE`. Adds
the folder /proc to the tree, as a runtime does."""

import fcntl
import http.client
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import time

WITHIN = 30  # seconds; a failsafe


def instructions(dockerfile):
    """The instructions of the last stage, by their first word; of several the last."""
    text = open(dockerfile).read().replace("\\\n", " ")
    stage = text[text.index("FROM scratch") :]
    return dict(re.findall(r"^([A-Z]+) +(.*)$", stage, re.MULTILINE))


def raise_loopback():
    """The network of the namespace has loopback alone, and that is down."""
    up = struct.pack("16sh22x", b"lo", 0x1 | 0x40)  # IFF_UP, IFF_RUNNING
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, 0x8914, up)  # SIOCSIFFLAGS


def mount_read_only(tree):
    os.makedirs(f"{tree}/proc", exist_ok=True)
    for command in [
        ["mount", "--bind", tree, tree],
        ["mount", "-t", "proc", "proc", f"{tree}/proc"],
        ["mount", "-o", "remount,bind,ro", tree],
    ]:
        subprocess.run(command, check=True)


class Container:
    def __init__(self, dockerfile, tree):
        self.says = instructions(dockerfile)
        self.tree = tree
        self.environment = dict(pair.split("=", 1) for pair in self.says["ENV"].split())
        self.user, self.group = map(int, self.says["USER"].split(":"))

    def enter(self):
        os.chroot(self.tree)
        os.chdir("/")
        os.setgroups([])
        os.setgid(self.group)
        os.setuid(self.user)

    def start(self, command, **streams):
        return subprocess.Popen(command, env=self.environment, preexec_fn=self.enter, **streams)

    def port(self, variable):
        return int(self.environment[variable].rsplit(":", 1)[1])


def connect(server, port):
    """A connection, once the server listens."""
    begun = time.monotonic()
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), WITHIN)
        except ConnectionRefusedError:
            assert server.poll() is None, f"the server ended with {server.returncode}"
            assert time.monotonic() - begun < WITHIN, f"nobody listens on port {port}"
            time.sleep(0.05)


def get(port, path):
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=WITHIN)
    client.request("GET", path)
    answer = client.getresponse()
    return answer.status, answer.read().decode()


def talk(server, port):
    client = connect(server, port)
    client.sendall(b"JOIN images\nhello\n")
    lines = client.makefile()
    heard = [lines.readline().strip() for _ in range(3)]
    assert heard[1] == "Joined images" and heard[2].endswith("] hello"), heard


def run(container, command):
    done = container.start(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    said, _ = done.communicate(timeout=WITHIN)
    assert done.returncode == 0, f"{command} ended with {done.returncode}: {said}"
    return said


def check(container):
    entry = json.loads(container.says["ENTRYPOINT"])
    health = json.loads(re.search(r"CMD (\[.*\])", container.says["HEALTHCHECK"])[1])
    ports = [container.port(name) for name in ("ROOMCAST_TCP", "ROOMCAST_HTTP")]
    assert sorted(container.says["EXPOSE"].split()) == sorted(map(str, ports)), container.says
    # Says itself what is wrong, on standard error.
    server = container.start(entry)
    talk(server, ports[0])
    status, page = get(ports[1], "/")
    assert status == 200 and page.startswith("<!doctype html>"), (status, page[:80])
    assert run(container, health).strip() == "OK"
    # The server resolves names by the files of the tree.
    run(container, [*health, "--url", f"http://localhost:{ports[1]}"])
    assert os.statvfs(container.tree).f_flag & os.ST_RDONLY, "the tree may be written"
    identity = open(f"{container.tree}/proc/{server.pid}/status").read()
    assert re.search(rf"^Uid:\s+{container.user}\s.*^CapEff:\s+0+$", identity, re.MULTILINE | re.DOTALL), identity
    server.send_signal(signal.Signals[container.says["STOPSIGNAL"]])
    assert server.wait(WITHIN) == 0, f"a stop ended with {server.returncode}"


if __name__ == "__main__":
    raise_loopback()
    mount_read_only(sys.argv[2])
    check(Container(*sys.argv[1:]))
