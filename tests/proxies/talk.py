"""Clients through a proxy that stands before Roomcast: whom the server takes them for, and whose pages may connect. Plain
sockets of the standard library. Clients come from several addresses of the loopback network, the proxy from 127.0.0.1.

Usage: talk.py PORTS FRONT, with the address at which the proxy listens."""

import http.client
import json
import re
import socket
import sys
import time
import urllib.request

FRONT = sys.argv[2]
WITHIN = 30  # seconds; a failsafe
# The server is on loopback, where no proxy of the environment reaches it.
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def connect(source, port):
    """A connection from this address, once somebody listens there."""
    begun = time.monotonic()
    while True:
        try:
            return socket.create_connection((FRONT, port), WITHIN, (source, 0))
        except ConnectionRefusedError:
            assert time.monotonic() - begun < WITHIN, f"nobody listens on port {port}"
            time.sleep(0.05)


def shake_hands(source, port, origin="http://chat.example", path="/ws"):
    """The status of a handshake, and the stream behind it."""
    client = connect(source, port)
    head = [
        f"GET {path} HTTP/1.1",
        "Host: chat.example",
        f"Origin: {origin}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {KEY}",
        "Sec-WebSocket-Version: 13",
    ]
    client.sendall("\r\n".join([*head, "", ""]).encode())
    stream = client.makefile("rb")
    lines = iter(lambda: stream.readline().decode().strip(), "")
    status, *headers = list(lines)
    status = int(status.split()[1])
    assert status != 101 or any(ACCEPT in header for header in headers), headers
    return status, client, stream


def say(client, text):
    """A masked text frame, of a mask that changes nothing."""
    client.sendall(bytes([0x81, 0x80 | len(text)]) + bytes(4) + text.encode())


def hear(stream):
    first, length = stream.read(2)
    assert first == 0x81 and length < 126, (first, length)
    return stream.read(length).decode()


def expect(found, wanted):
    assert found == wanted, f"{found!r} instead of {wanted!r}"


def websocket(port, path="/ws"):
    """A page of the public name may connect, others may not, and the limit per address goes by the client."""
    status, client, stream = shake_hands("127.0.0.2", port, path=path)
    expect(status, 101)
    assert hear(stream).startswith("Welcome! ")
    say(client, "JOIN proxies")
    expect(hear(stream), "Joined proxies")
    say(client, "PING through")
    expect(hear(stream), "PONG through")
    expect(shake_hands("127.0.0.3", port, origin="http://evil.example")[0], 403)
    expect(shake_hands("127.0.0.2", port)[0], 429)
    status, slashed, _ = shake_hands("127.0.0.6", port, path=f"{path}/")
    expect(status, 101)
    slashed.close()
    status, other, _ = shake_hands("127.0.0.3", port)
    expect(status, 101)
    return client, stream, other


def lines(port, client, stream):
    """A line client is labelled with its own address, is limited by it, and is heard in the room."""
    line_client = connect("127.0.0.4", port)
    line_stream = line_client.makefile("rb")
    own = "{}:{}".format(*line_client.getsockname())
    line_client.sendall(b"JOIN proxies\nhello\n")
    heard = [line_stream.readline().decode().strip() for _ in range(3)]
    expect(heard[1:], ["Joined proxies", f"[{own}] hello"])
    expect(hear(stream), f"[{own}] hello")
    second = connect("127.0.0.4", port).makefile("rb")
    expect(second.readline(), b"ERR closed too-many-connections\n")


def request(source, port, method, path, body):
    """A request on a connection of its own, and the answer behind its head."""
    client = connect(source, port)
    head = f"{method} {path} HTTP/1.1\r\nHost: chat.example\r\nOrigin: http://chat.example\r\nContent-Length: {len(body)}"
    client.sendall(f"{head}\r\n\r\n{body}".encode())
    stream = client.makefile("rb")
    status, *_ = list(iter(lambda: stream.readline().decode().strip(), ""))
    return int(status.split()[1]), client, stream


def stream(port):
    """A stream comes as it is sent, and takes commands by requests beside it."""
    for path in ["/connection/http_stream", "/connection/sse"]:
        status, client, answer = request("127.0.0.5", port, "POST", path, '{"id":1,"connect":{}}')
        expect(status, 200)

        def object_of(id):
            lines = (re.search(r"\{.*\}", line.decode()) for line in iter(answer.readline, b""))
            return next(found for line in lines if line and (found := json.loads(line[0])).get("id") == id)

        names = object_of(1)["connect"]
        frame = {"session": names["session"], "node": names["node"], "data": '{"id":2,"ping":{}}'}
        expect(request("127.0.0.5", port, "POST", "/emulation", json.dumps(frame))[0], 204)
        expect(object_of(2), {"id": 2, "ping": {}})
        client.shutdown(socket.SHUT_RDWR)
        answer.close()
        client.close()
        # The server lets the same address in again once it has seen the end.
        begun = time.monotonic()
        while request("127.0.0.5", port, "POST", "/emulation", json.dumps(frame))[0] != 404:
            assert time.monotonic() - begun < WITHIN, "the stream does not end"


def metrics(port):
    with OPENER.open(f"http://127.0.0.1:{port}/metrics", timeout=WITHIN) as answer:
        text = answer.read().decode()
    return {name: float(value) for name, value in re.findall(r"^([^# ].*) (\S+)$", text, re.MULTILINE)}


def health_checks(port):
    """The proxy asks by itself, and what it asks is never refused."""
    begun = time.monotonic()
    requests = "roomcast_http_requests_total"
    own, before = 1, metrics(port)[requests]
    while metrics(port)[requests] <= before + own:
        own += 1
        assert time.monotonic() - begun < WITHIN, "nobody asks"
        # A text of the metrics may be as old as this.
        time.sleep(0.1)
    refused = {name: count for name, count in metrics(port).items() if "http_refused" in name and count}
    reasons = {re.search('reason="(.*?)"', name)[1]: count for name, count in refused.items()}
    expect({reason: reasons.get(reason) for reason in reasons if reason != "session"}, {"origin": 1.0, "address": 1.0})


def get(port, path, host):
    """The status and the body of an answer, whatever it is."""
    client = http.client.HTTPConnection(FRONT, port, timeout=WITHIN)
    client.request("GET", path, headers={"Host": host})
    answer = client.getresponse()
    return answer.status, answer.read()


def pages(port):
    """The pages come through, and nobody behind the proxy is taken for a browser on the machine of the server."""
    for path, beginning in [("/", b"<!doctype html>"), ("/dashboard", b"<!doctype html>"), ("/roomcast.js", b"/*")]:
        status, body = get(port, path, "chat.example")
        expect((status, body[: len(beginning)].lower()), (200, beginning))
    for host in ["chat.example", "localhost", "127.0.0.1:3000"]:
        status, body = get(port, "/dashboard/stats", host)
        assert b'"verdict"' not in body, f"anybody may read the figures: {body!r}"
    expect(get(port, "/dashboard/stats", "chat.example")[0], 401)


if __name__ == "__main__":
    ports = json.loads(sys.argv[1])
    members = websocket(ports["web"])
    stream(ports["web"])
    if "lines" in ports:
        lines(ports["lines"], *members[:2])
    if ports["checks"]:
        health_checks(ports["server"])
    # Last, since a refusal of the figures is counted.
    pages(ports["web"])
