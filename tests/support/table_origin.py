"""An origin that answers from a table, octet for octet: a row for each path, over HTTP/2, HTTP/1.1 or HTTP/1.0.

A row is `{"status", "headers": [[name, value]], "body", "base64" or "hex", "codings", "framing", "version", "ranges"}`; each
character of a header is one octet. `codings` (gzip, deflate) are applied without compressing, so that what is inside can be
found. `framing` (length, chunked, close) and `version` count for HTTP/1 only. With `ranges` the row answers Range requests. With
`cut` (a file, HTTP/1 only) half of the body is sent when the whole is asked for, and the connection ends once the file exists.
Whatever is sent to a path is read and forgotten. A path that is no row is answered 404.
"""

import base64
import json
import os
import re
import socket
import ssl
import sys
import threading
import time
import zlib

import h2.config
import h2.connection
import h2.events
import h2.exceptions

address, certificate, key, table, protocols = sys.argv[1:]
ROWS = json.load(open(table, encoding="utf-8"))
ABSENT = {"status": 404, "headers": [["content-type", "text/plain"]], "body": "no such row\n"}
# Window bits for zlib.
CODINGS = {"gzip": 31, "x-gzip": 31, "deflate": 15}


def answer(method, path, wanted):
    """Status, headers and body to a request; `wanted` is its Range."""
    row = ROWS.get(path) or ROWS.get(path.partition("?")[0]) or ABSENT
    body = bytes.fromhex(row["hex"]) if "hex" in row else row.get("body", "").encode()
    body = base64.b64decode(row["base64"]) if "base64" in row else body
    for coding in row.get("codings", []):
        coder = zlib.compressobj(0, zlib.DEFLATED, CODINGS[coding])
        body = coder.compress(body) + coder.flush()
    status, headers = row["status"], [(name.encode("latin-1"), value.encode("latin-1")) for name, value in row["headers"]]
    if row.get("ranges"):
        headers.append((b"accept-ranges", b"bytes"))
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", wanted or "")
        if asked and int(asked[1]) < len(body):
            first, last = int(asked[1]), min(int(asked[2] or len(body)), len(body) - 1)
            headers.append((b"content-range", b"bytes %d-%d/%d" % (first, last, len(body))))
            status, body = 206, body[first:last + 1]
    return row, status, headers, b"" if method == "HEAD" else body


def http1(stream):
    unread = b""
    while True:
        while b"\r\n\r\n" not in unread:
            octets = stream.recv(65536)
            if not octets:
                return
            unread += octets
        head, _, unread = unread.partition(b"\r\n\r\n")
        line, *lines = head.decode("latin-1").split("\r\n")
        method, path, _ = line.split(" ", 2)
        fields = {name.lower(): value.strip() for name, _, value in (text.partition(":") for text in lines)}
        sent = int(fields.get("content-length", 0))
        while len(unread) < sent:
            unread += stream.recv(65536)
        unread = unread[sent:]
        row, status, headers, body = answer(method, path, fields.get("range"))
        # With more room around values than anybody needs.
        headers = [(name, b" " + value + b"\t") for name, value in headers]
        framing = row.get("framing", "length")
        if framing == "length":
            headers.append((b"content-length", str(len(body)).encode()))
        elif framing == "chunked":
            headers.append((b"transfer-encoding", b"chunked"))
            pieces = [body[at:at + 1000] for at in range(0, len(body), 1000)] + [b""]
            body = b"".join(b"%x;a=b\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
        else:
            headers.append((b"connection", b"close"))
        cut = row.get("cut") if status == 200 else None
        if cut:
            body = body[:len(body) // 2]
        stream.sendall(
            b"HTTP/%s %d Odd\r\n" % (row.get("version", "1.1").encode(), status)
            + b"".join(b"%b: %b\r\n" % field for field in headers) + b"\r\n" + body
        )
        if cut:
            end = time.monotonic() + 60
            while not os.path.exists(cut) and time.monotonic() < end:
                time.sleep(0.02)
            return
        if framing == "close" or row.get("version") == "1.0":
            return


def http2(stream):
    config = h2.config.H2Configuration(
        client_side=False, header_encoding="latin-1", validate_outbound_headers=False, normalize_outbound_headers=False
    )
    session = h2.connection.H2Connection(config)
    session.initiate_connection()
    asked, waiting = {}, {}

    def send():
        for number in list(waiting):
            body = waiting[number]
            while body:
                room = min(session.local_flow_control_window(number), session.max_outbound_frame_size, len(body))
                if room <= 0:
                    break
                session.send_data(number, body[:room])
                body = body[room:]
            if body:
                waiting[number] = body
            else:
                session.end_stream(number)
                del waiting[number]
        stream.sendall(session.data_to_send())

    while True:
        send()
        octets = stream.recv(65536)
        if not octets:
            return
        for event in session.receive_data(octets):
            if isinstance(event, h2.events.RequestReceived):
                asked[event.stream_id] = dict(event.headers)
            elif isinstance(event, h2.events.DataReceived):
                session.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, h2.events.StreamEnded):
                fields = asked.pop(event.stream_id)
                _, status, headers, body = answer(fields[":method"], fields[":path"], fields.get("range"))
                session.send_headers(
                    event.stream_id,
                    [(b":status", str(status).encode())] + [(name.lower(), value) for name, value in headers],
                )
                waiting[event.stream_id] = body
            elif isinstance(event, h2.events.StreamReset):
                asked.pop(event.stream_id, None)
                waiting.pop(event.stream_id, None)
            elif isinstance(event, h2.events.ConnectionTerminated):
                return


def serve(plain):
    try:
        plain.settimeout(60)
        with context.wrap_socket(plain, server_side=True) as stream:
            (http2 if stream.selected_alpn_protocol() == "h2" else http1)(stream)
            # Says that this is the end: without it a body that ends with the connection may have been cut off.
            stream.settimeout(1)
            stream.unwrap()
    except (OSError, ValueError, h2.exceptions.ProtocolError) as error:
        print(type(error).__name__, error, flush=True)


context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
context.set_alpn_protocols(protocols.split(","))
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind((address, 443))
listener.listen(128)
while True:
    connection, _ = listener.accept()
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    threading.Thread(target=serve, args=(connection,), daemon=True).start()
