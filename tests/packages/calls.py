"""Every system call that the server makes, as strace sees it, is one that the unit allows, as systemd lists them: from the
start over clients and a reload to the end, with one descriptor table and with one for each worker.
`python3 tests/packages/calls.py UNIT BINARY`."""

import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time

WITHIN = 60  # seconds; a failsafe


def group(name):
    """The calls of a group of systemd, and of the groups within it."""
    listed = subprocess.run(["systemd-analyze", "syscall-filter", name], capture_output=True, text=True, check=True).stdout
    words = [line.strip() for line in listed.splitlines()[1:]]
    calls = {word for word in words if re.fullmatch(r"\w+", word)}
    return calls.union(*(group(word) for word in words if word.startswith("@")))


def allowed(unit):
    calls = group("@default")
    for sign, names in re.findall(r"^SystemCallFilter=(~?)(.*)$", pathlib.Path(unit).read_text(), re.MULTILINE):
        listed = set().union(*(group(name) for name in names.split()))
        calls = calls - listed if sign else calls | listed
    return calls


def await_state(holds, server, log):
    begun = time.monotonic()
    while not holds():
        assert server.poll() is None, f"the server ended with {server.returncode}: {log.read_text()}"
        assert time.monotonic() - begun < WITHIN, f"the server goes on without what is awaited: {log.read_text()}"
        time.sleep(0.05)


def address_of(ready_file, name):
    host, port = re.search(rf"^{name} (.*):(\d+)$", ready_file.read_text(), re.MULTILINE).groups()
    return host, int(port)


def exchange(address, text, last):
    """Says something, and reads until what comes ends with this."""
    with socket.create_connection(address, WITHIN) as client:
        client.sendall(text)
        heard = b""
        while not heard.endswith(last):
            part = client.recv(65536)
            assert part, heard
            heard += part


def made(folder, binary, *flags):
    trace, ready, told, log = folder / "trace", folder / "ready", folder / "told", folder / "log"
    command = [binary, "--tcp", "localhost:0", "--http", "localhost:0", "--ready-file", ready, *flags]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(told))
        environment = {"NOTIFY_SOCKET": str(told), "WATCHDOG_USEC": "1000000"}
        traced = ["strace", "-f", "-qq", "-o", trace, *command]
        with log.open("w") as stderr:
            server = subprocess.Popen(traced, env={**os.environ, **environment}, stderr=stderr)
        await_state(ready.exists, server, log)
        lines, web = address_of(ready, "tcp"), address_of(ready, "http")
        exchange(lines, b"JOIN calls\nhello\nPING\n", b"PONG\n")
        exchange(web, b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", b"\n")
        # The first process of the trace is the server; strace, which is ours, does not hand on signals.
        process = int(re.match(r"\d+", trace.read_text())[0])
        os.kill(process, signal.SIGHUP)
        await_state(lambda: "INFO reloaded" in log.read_text(), server, log)
        os.kill(process, signal.SIGTERM)
        assert server.wait(WITHIN) == 0, f"the server ended with {server.returncode}: {log.read_text()}"
    return set(re.findall(r"^\d+ +(\w+)\(", trace.read_text(), re.MULTILINE))


if __name__ == "__main__":
    unit, binary = sys.argv[1:]
    permitted = allowed(unit)
    assert "unshare" in permitted and "mount" not in permitted and "setuid" not in permitted, sorted(permitted)
    for flags, call in [((), "accept4"), (("--descriptor-tables", "per-worker"), "unshare")]:
        with tempfile.TemporaryDirectory() as folder:
            calls = made(pathlib.Path(folder), binary, *flags)
        assert call in calls, sorted(calls)
        assert calls <= permitted, f"the unit forbids {sorted(calls - permitted)}"
