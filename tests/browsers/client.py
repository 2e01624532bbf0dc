"""A member through Python's websockets: says hello once everybody is there, prints what it hears, quits."""

import json
import sys

from websockets.exceptions import ConnectionClosedOK
from websockets.sync.client import connect

WITHIN = 120  # seconds; a failsafe

url, nick, *everybody = sys.argv[1:]
with connect(url) as socket:

    def hear():
        return socket.recv(timeout=WITHIN)

    def expect(text):
        heard = hear()
        assert heard == text, f"{heard!r} instead of {text!r}"

    assert hear().startswith("Welcome! ")
    socket.send(f"NICK {nick}")
    expect(f"You are {nick}")
    # A ping of the protocol, and a message in fragments.
    assert socket.ping().wait(WITHIN), "no pong"
    socket.send(["JO", "IN brow", "sers\n"])
    expect("Joined browsers")

    socket.send("WHO")
    heard = []
    while len(heard) < len(everybody):
        message = hear()
        if message.startswith("["):
            heard.append(message)
        elif message == f"Members of browsers: {json.dumps(everybody)}":
            socket.send("grüß dich 🦀")
        else:
            assert message.startswith("Members of "), message
            socket.send("WHO")
    print(*heard, sep="\n")

    socket.send("QUIT")
    expect("Bye")
    try:
        raise AssertionError(f"{hear()!r} after Bye")
    except ConnectionClosedOK as closed:
        assert (closed.rcvd.code, closed.rcvd.reason) == (1000, "quit"), closed
