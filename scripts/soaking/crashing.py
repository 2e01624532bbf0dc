"""A server that is killed and stopped while clients are there, in every round of a soak."""

import time

from .probing import Lines, address
from .servers import Broken

CLIENTS = 100
ROOM = "crash"
LAST_WORDS = "the last words"
LAST_LINE = "ERR closed shutdown"
READ_SECONDS = 60


def crash_and_stop(server):
    """Kills a server with its clients, starts it on the same ports, and stops it with others. Returns the milliseconds from the
    kill until clients are accepted again."""
    crowd = join_all(server)
    server.kill()
    killed = time.monotonic()
    server.start()
    returned = (time.monotonic() - killed) * 1e3
    close_all(crowd)
    stop_with_a_crowd(server)
    return returned


def stop_with_a_crowd(server):
    """Stops a server: each of its clients must get what was said before, and the last line."""
    crowd, speaker = join_all(server), join(server)
    speaker.send(LAST_WORDS)
    # What the server has not read yet, it does not promise to publish.
    read_until(speaker, "[")
    server.stop()
    untold = [client for client in crowd if not has_last_words(client)]
    close_all([*crowd, speaker])
    if untold:
        raise Broken(f"{len(untold)} of {CLIENTS} clients of {server.name} did not get all that was said before its stop")


def join_all(server):
    return [join(server) for _ in range(CLIENTS)]


def join(server):
    client = Lines(address(server.lines))
    client.socket.settimeout(READ_SECONDS)
    client.send(f"JOIN {ROOM}")
    read_until(client, f"Joined {ROOM}")
    return client


def close_all(crowd):
    for client in crowd:
        client.socket.close()


def read_until(client, last):
    """The lines of all reads up to the one with a line that begins with `last`."""
    read = []
    while not any(line.startswith(last) for line in read):
        read += client.messages()
    return read


def has_last_words(client):
    """Whether the client has got the message and the last line behind it."""
    try:
        return any(line.endswith(LAST_WORDS) for line in read_until(client, LAST_LINE))
    except OSError:
        return False
