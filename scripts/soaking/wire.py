"""WebSocket frames and HTTP requests as bytes, for clients that a soak writes itself. Opens no socket."""

import json

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


def upgrade(path, headers=""):
    """The request for a WebSocket at `path`."""
    asked = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    key = "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{asked}{key}{headers}\r\n".encode()


def request(method, path, body=b"", headers=""):
    """A request whose answer ends the connection."""
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
    return head.encode() + body


def api(method, key, **fields):
    """A call of the server API."""
    return request("POST", f"/api/{method}", json.dumps(fields).encode(), f"X-API-Key: {key}\r\n")


def frame(opcode, payload):
    """A whole masked frame. The key of the mask is zero, so the payload stands there as it is."""
    length = len(payload)
    if length < 126:
        head = bytes([0x80 | opcode, 0x80 | length])
    elif length < 1 << 16:
        head = bytes([0x80 | opcode, 0x80 | 126]) + length.to_bytes(2, "big")
    else:
        head = bytes([0x80 | opcode, 0x80 | 127]) + length.to_bytes(8, "big")
    return head + bytes(4) + payload


def take_frame(buffer):
    """Takes one frame of a server out of a bytearray: opcode and payload, or nothing while it is not whole."""
    if len(buffer) < 2:
        return None
    length, start = buffer[1] & 0x7F, 2
    if length >= 126:
        start = 4 if length == 126 else 10
        length = int.from_bytes(buffer[2:start], "big")
    if len(buffer) < start + length:
        return None
    opcode, payload = buffer[0] & 0x0F, bytes(buffer[start : start + length])
    del buffer[: start + length]
    return opcode, payload


def take_line(buffer):
    """Takes one line without its end out of a bytearray, or nothing while it is not whole."""
    end = buffer.find(b"\n")
    if end < 0:
        return None
    line = bytes(buffer[:end])
    del buffer[: end + 1]
    return line
