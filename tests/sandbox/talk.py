"""Clients of the server in the sandbox, on its default ports, and a program that may not have descriptor tables of its own.
Plain sockets of the standard library."""

import ctypes
import errno
import http.client
import os
import platform
import socket
import struct
import sys

LINES, HTTP = 8080, 3000
WITHIN = 30  # seconds; a failsafe
KEY = "dGhlIHNhbXBsZSBub25jZQ=="


def connect(port):
    return socket.create_connection(("127.0.0.1", port), WITHIN)


def line_member(room):
    """A line client that has joined a room, and its stream."""
    client = connect(LINES)
    stream = client.makefile("r")
    assert stream.readline().startswith("Welcome!")
    client.sendall(f"JOIN {room}\n".encode())
    assert stream.readline() == f"Joined {room}\n"
    return client, stream


def web_member(room):
    """A client over WebSocket that has joined a room, and its stream."""
    client = connect(HTTP)
    head = ["GET /ws HTTP/1.1", f"Host: 127.0.0.1:{HTTP}", "Upgrade: websocket", "Connection: Upgrade"]
    head += [f"Sec-WebSocket-Key: {KEY}", "Sec-WebSocket-Version: 13", "", ""]
    client.sendall("\r\n".join(head).encode())
    stream = client.makefile("rb")
    status = stream.readline()
    assert status.startswith(b"HTTP/1.1 101 "), status
    while stream.readline().strip():
        pass
    assert hear(stream).startswith("Welcome!")
    say(client, f"JOIN {room}")
    assert hear(stream) == f"Joined {room}"
    return client, stream


def say(client, text):
    """A masked text frame, of a mask that changes nothing."""
    client.sendall(bytes([0x81, 0x80 | len(text)]) + bytes(4) + text.encode())


def hear(stream):
    first, length = stream.read(2)
    assert first == 0x81 and length < 126, (first, length)
    return stream.read(length).decode()


def answer(path):
    connection = http.client.HTTPConnection("127.0.0.1", HTTP, timeout=WITHIN)
    connection.request("GET", path)
    found = connection.getresponse()
    return found.status, found.getheader("content-type", ""), found.read()


def talk():
    """A line client and one over WebSocket hear each other, and a browser gets the chat page."""
    line, lines = line_member("lobby")
    web, frames = web_member("lobby")
    line.sendall(b"hello\n")
    assert lines.readline().endswith("] hello\n") and hear(frames).endswith("] hello")
    say(web, "welcome")
    assert lines.readline().endswith("] welcome\n") and hear(frames).endswith("] welcome")
    status, kind, page = answer("/")
    assert status == 200 and kind.startswith("text/html") and b"</html>" in page, (status, kind)
    assert answer("/ready")[0] == 200 and answer("/health")[0] == 200


def hold():
    """A client that says when it has joined, and prints the last line that it is sent."""
    _client, stream = line_member("lobby")
    print("joined", flush=True)
    *_, last = stream
    print(last, end="")


def deny_unshare(program, *arguments):
    """Runs a program to which the system denies unshare(2), as seccomp profiles of containers do."""
    number, architecture = {"x86_64": (272, 0xC000003E), "aarch64": (97, 0xC00000B7)}[platform.machine()]
    load, equal, finish = 0x20, 0x15, 0x06
    steps = [
        (load, 0, 0, 4),
        (equal, 0, 2, architecture),
        (load, 0, 0, 0),
        (equal, 1, 0, number),
        (finish, 0, 0, 0x7FFF0000),
        (finish, 0, 0, 0x00050000 | errno.EPERM),
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
    rules = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(steps), ctypes.addressof(code)))
    libc = ctypes.CDLL(None, use_errno=True)
    set_no_new_privileges, set_seccomp, filter_mode = 38, 22, 2
    for call in [(set_no_new_privileges, 1, 0, 0, 0), (set_seccomp, filter_mode, rules, 0, 0)]:
        assert libc.prctl(*call) == 0, os.strerror(ctypes.get_errno())
    os.execv(program, [program, *arguments])


if __name__ == "__main__":
    {"talk": talk, "hold": hold, "deny-unshare": deny_unshare}[sys.argv[1]](*sys.argv[2:])
