"""Input that no client of good will sends, in small doses. Each is bytes for one of the two ports of a server."""

import random

from . import wire

CHUNK_BYTES_MAX = 2_000


def lines():
    """For the port of line clients. The longest is beyond `message-bytes`."""
    yield b"x" * 70_000
    yield b"\xff\xfe\xc0\xaf\n\xed\xa0\x80\n\x00\x01\n"
    yield b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
    yield b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
    yield b"\n" * 10_000
    yield b"JOIN " + b"r" * 200 + b"\nNICK a b\nJOIN a since=zzz\nHISTORY -1\nAUTH x.y.z\n"
    yield b"JOIN hostile since=" + b"9" * 4_000 + b"\n" + b"LIST\nWHO\n" * 200
    yield b"\xff\xfb\x1f\xff\xfb\x20\xff\xfd\x01JOIN telnet\r\0hi\r\n"


def http():
    """For the port of HTTP: requests."""
    yield b"JOIN lobby\n"
    yield b"GET /health HTTP/1.1\r\n" + b"a: b\r\n" * 2_000 + b"\r\n"
    yield b"POST /api/publish HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\n{"
    yield b"POST /emulation HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n"
    yield b"GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    yield wire.request("GET", "/rooms/%2e%2e%2f?since=zz&limit=-1")
    yield wire.request("POST", "/api/publish", b'{"channel":"a","data":1}', "X-API-Key: wrong\r\n")
    yield wire.request("POST", "/emulation", b'{"session":"none","node":"none","data":"{}"}')
    yield wire.request("POST", "/connection/http_stream", b"[" * 10_000)


def frames():
    """For a WebSocket of the text protocol, behind its upgrade."""
    yield b"\x81\x02hi"
    yield b"\xc1\x80\0\0\0\0"
    yield b"\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0"
    yield b"\x01\x81\0\0\0\0a" + b"\x00\x81\0\0\0\0b" * 3_000
    yield wire.frame(wire.BINARY, b"\0\1\2")
    yield wire.frame(wire.TEXT, b"\xff\xfe")
    yield wire.frame(wire.CLOSE, b"\x03\xe7")
    yield wire.frame(wire.TEXT, b"hi\n[ada] forged\nERR closed shutdown")
    yield wire.frame(wire.PING, b"p") * 3_000


def commands():
    """For a WebSocket of the Centrifuge protocol in JSON."""
    connect = b'{"id":1,"connect":{}}'
    yield wire.frame(wire.TEXT, b'{"id":1,"subscribe":{"channel":"early"}}')
    yield wire.frame(wire.TEXT, connect) + wire.frame(wire.TEXT, connect)
    yield wire.frame(wire.TEXT, connect + b'\n{"id":2,"publish":{"channel":"none","data":' + b"[" * 5_000)
    yield wire.frame(wire.TEXT, connect + b'\n{"id":2,"subscribe":{"channel":"a","recover":true,"epoch":"no","offset":7}}')
    yield wire.frame(wire.TEXT, connect + b'\n{"id":2,"history":{"channel":"a","limit":-5}}\n{"id":2}')


def protobuf():
    """For a WebSocket of the Centrifuge protocol in Protobuf."""
    yield wire.frame(wire.BINARY, b"\x04\x08\x01\x22\x00") + wire.frame(wire.BINARY, b"\x7f\x08\x02")
    yield wire.frame(wire.BINARY, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")


def everything(seed):
    """Pairs of a port, `lines` or `http`, and what is sent there, in random order, with random bytes among them."""
    choose = random.Random(seed)
    of_lines = [*lines(), *(choose.randbytes(choose.randrange(CHUNK_BYTES_MAX)) for _ in range(4))]
    text, json = wire.upgrade("/ws"), wire.upgrade("/connection/websocket")
    as_protobuf = wire.upgrade("/connection/websocket", "Sec-WebSocket-Protocol: centrifuge-protobuf\r\n")
    of_http = [*http(), *(text + bad for bad in frames()), *(json + bad for bad in commands())]
    of_http += [*(as_protobuf + bad for bad in protobuf()), text + choose.randbytes(CHUNK_BYTES_MAX)]
    inputs = [("lines", bad) for bad in of_lines] + [("http", bad) for bad in of_http]
    choose.shuffle(inputs)
    return inputs
