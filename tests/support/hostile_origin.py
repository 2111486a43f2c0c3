"""An HTTP/2 origin that misbehaves in one way towards whoever asks it. Frames are made by hand."""

import socket
import ssl
import struct
import sys

import hpack

DATA, HEADERS, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 5, 6, 7, 8, 9
END_STREAM, END_HEADERS = 1, 4

kind, address, certificate, key = sys.argv[1:]


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def block(*fields):
    return hpack.Encoder().encode(fields, huffman=False)


def head(stream, *fields, flags=END_HEADERS):
    return frame(HEADERS, flags, stream, block((":status", "200"), *fields))


def repeated(count, *parts):
    return b"".join(parts) * count


FILE = ("content-disposition", 'attachment; filename="report.docx"')
SECRET = b"SECRET" * 100
# What the origin does once it is asked on stream 1; `SECRET` is the file's content.
WAYS = {
    "push": frame(PUSH_PROMISE, END_HEADERS, 1, struct.pack(">I", 2) + block((":method", "GET"), (":path", "/x"))),
    "settings-flood": repeated(1000, frame(SETTINGS, 0, 0)),
    "ping-flood": repeated(1000, frame(PING, 0, 0, bytes(8))),
    "interim-flood": repeated(100, frame(HEADERS, END_HEADERS, 1, block((":status", "103"), ("link", "</a>")))),
    "huge-head": head(1, flags=0) + repeated(40, frame(CONTINUATION, 0, 1, b"\x00\x01a\x7f\x80\x7d" + b"x" * 16000)),
    "many-fields": head(1, *[(f"x-{number}", "1") for number in range(500)]),
    "data-before-head": frame(DATA, 0, 1, SECRET),
    "data-of-nobody": frame(DATA, 0, 7, SECRET),
    "too-long": head(1, ("content-length", "3")) + frame(DATA, END_STREAM, 1, SECRET),
    "two-lengths": head(1, ("content-length", "3"), ("content-length", "4")) + frame(DATA, END_STREAM, 1, SECRET),
    "head-in-capitals": head(1, ("Content-Disposition", "inline")) + frame(DATA, END_STREAM, 1, SECRET),
    "split-value": head(1, ("x-a", "b\r\nx-c: d")) + frame(DATA, END_STREAM, 1, SECRET),
    "disposition-in-trailers": (
        head(1, FILE) + frame(DATA, 0, 1, SECRET) + frame(HEADERS, END_STREAM | END_HEADERS, 1, block(("content-disposition", "inline")))
    ),
    "second-head": head(1, FILE) + head(1, ("content-type", "text/html")) + frame(DATA, END_STREAM, 1, SECRET),
    "window-overflow": repeated(3, frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 0x7FFFFFFF))),
    "goaways": repeated(300, frame(GOAWAY, 0, 0, struct.pack(">II", 0, 0))),
    "oversize": struct.pack(">I", 1 << 20)[1:] + struct.pack(">BBI", DATA, 0, 1) + SECRET,
    "noise": SECRET,
    "silence": b"",
}

context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
context.set_alpn_protocols(["h2"])
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind((address, 443))
listener.listen()
while True:
    try:
        stream = context.wrap_socket(listener.accept()[0], server_side=True)
        stream.settimeout(10)
        stream.sendall(frame(SETTINGS, 0, 0))
        unread = b""
        asked = False
        while not asked:
            octets = stream.recv(65536)
            if not octets:
                break
            unread += octets
            unread = unread.removeprefix(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            while len(unread) >= 9 and len(unread) >= 9 + int.from_bytes(unread[:3], "big"):
                if unread[3] == SETTINGS and not unread[4] & 1:
                    stream.sendall(frame(SETTINGS, 1, 0))
                asked = asked or unread[3] == HEADERS
                unread = unread[9 + int.from_bytes(unread[:3], "big"):]
        stream.sendall(WAYS[kind])
        if kind == "silence":
            stream.close()
            continue
        while stream.recv(65536):
            pass
    except OSError:
        pass
