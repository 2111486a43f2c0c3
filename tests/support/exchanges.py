"""Random exchanges, the same for the same number: an origin that answers them, and a client that says what came of each.

    exchanges.py serve ADDRESS CERTIFICATE KEY
    exchanges.py ask HOST TRUST http/1.1|h2 FIRST COUNT

Client and origin make up exchange N from N alone, so one client that is relayed and one that is not must print the same
lines. The origin tells in `x-seen` what it received: a change on the way there shows as well.
"""

import gzip
import hashlib
import json
import random
import re
import socket
import ssl
import sys
import threading

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions

TYPES = ["text/html; charset=utf-8", "application/json", "application/octet-stream", "image/png", "text/csv", "application/pdf"]
SIZES = [0, 1, 2, 100, 1500, 16383, 16384, 16385, 40000, 65536, 70001, 200000]
HOP = {"connection", "keep-alive", "transfer-encoding", "trailer", "te", "date", "host", "content-length", "upgrade"}
BATCH = 8


def octets_of(dice, size):
    # Half of them compress well, half not at all; both without the cost of a number per octet.
    return (dice.randbytes(64) * (size // 64 + 1))[:size] if dice.random() < 0.5 else dice.randbytes(size)


def words(dice):
    return "".join(dice.choices("abcdefghijklmnopqrstuvwxyz0123456789-_.~", k=dice.randint(1, 40)))


class Exchange:
    """What both sides of exchange `number` do."""

    def __init__(self, number, protocol):
        dice = random.Random(f"{protocol} {number}")
        self.number, self.dice, http2 = number, dice, protocol == "h2"
        self.method = dice.choice(["GET"] * 6 + ["HEAD", "POST", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "REPORT"])
        self.path = f"/{words(dice)}/{number}" + dice.choice(["", "?" + words(dice), "?a=%2F&b=;c", "?"])
        self.request_fields = [(f"x-{dice.randint(0, 5)}-{words(dice).strip('.~')}", self.value(dice)) for _ in range(dice.randint(0, 6))]
        self.request_fields += dice.choice([[], [("cookie", "a=1"), ("cookie", "b=2; c=3")] if http2 else [("cookie", "a=1; b=2")]])
        self.range = dice.random() < 0.15 and self.method == "GET"
        if self.range:
            self.request_fields.append(("range", "bytes=0-99"))
        self.request_body = octets_of(dice, dice.choice(SIZES)) if self.method in ("POST", "PUT", "PATCH", "REPORT") else b""
        self.request_chunked = dice.random() < 0.4
        self.expects = bool(self.request_body) and not http2 and dice.random() < 0.1
        self.status = 206 if self.range else dice.choice([200] * 10 + [201, 204, 301, 302, 304, 400, 403, 404, 416, 500, 503, 299])
        self.fields = [("x-a", self.value(dice)) for _ in range(dice.randint(0, 3))]
        self.fields += [("set-cookie", f"{words(dice)}={words(dice)}; Path=/") for _ in range(dice.randint(0, 3))]
        self.body = octets_of(dice, dice.choice(SIZES))
        if dice.random() < 0.25:
            self.fields.append(("content-encoding", "gzip"))
            self.body = gzip.compress(self.body, 1, mtime=0)
        if dice.random() < 0.9:
            self.fields.append(("content-type", dice.choice(TYPES)))
        if dice.random() < 0.3:
            self.fields.append(("content-disposition", dice.choice(["inline", f'attachment; filename="{words(dice)}.docx"', "attachment"])))
        if self.range:
            self.fields.append(("content-range", f"bytes 0-{max(len(self.body) - 1, 0)}/{len(self.body) + 5}"))
        self.interims = dice.choice([0] * 8 + [1, 3])
        self.bodiless = self.method == "HEAD" or self.status in (204, 304)
        framings = ["length"] * 3 + ["chunked"] * 4 + ["close"]
        self.framing = dice.choice(framings)
        self.close = self.framing == "close" or dice.random() < 0.05
        self.trailers = [("x-sum", words(dice)), ("server-timing", "a;dur=1")] if dice.random() < 0.3 else []
        # Behind what the agent keeps back to see what the file is: an origin that ends before that is answered for with 502.
        self.cut = not self.bodiless and len(self.body) > 40000 and self.framing != "close" and dice.random() < 0.1

    @staticmethod
    def value(dice):
        return dice.choice([words(dice), "a, b,c", 'q="x; y"', "\u00fc\u00ff".encode("latin-1").decode("latin-1"), "", "x" * 2000, "1  2\t3"])

    def pieces(self, octets):
        dice = random.Random(self.number)
        while octets:
            size = dice.choice([1, 7, 100, 4096, 16384, 30000, 100000])
            yield octets[:size]
            octets = octets[size:]


def seen_by_origin(method, path, fields, body, trailers):
    kept = sorted((name, value) for name, value in fields if name not in HOP and not name.startswith(":") and name not in ("cookie", "expect"))
    cookies = "; ".join(value for name, value in fields if name == "cookie")
    text = json.dumps([method, path, kept, cookies, hashlib.sha256(body).hexdigest(), sorted(trailers)])
    return hashlib.sha256(text.encode()).hexdigest()[:16] + f"-{len(kept)}-{len(body)}"


def line(exchange, interims, status, fields, body, trailers, end):
    kept = sorted((name, value) for name, value in fields if name not in HOP and not name.startswith(":"))
    length = [value for name, value in fields if name == "content-length"] if exchange.bodiless else []
    print(json.dumps([exchange.number, exchange.method, interims, status, kept, length, len(body), hashlib.sha256(body).hexdigest()[:16], sorted(trailers), end]))


class Reader:
    """Octets of an HTTP/1.1 connection."""

    def __init__(self, stream):
        self.stream, self.unread = stream, b""

    def fill(self):
        octets = self.stream.recv(65536)
        self.unread += octets
        return bool(octets)

    def until(self, mark):
        while mark not in self.unread:
            if not self.fill():
                raise EOFError
        found, self.unread = self.unread.split(mark, 1)
        return found

    def up_to(self, size):
        while len(self.unread) < size and self.fill():
            pass
        taken, self.unread = self.unread[:size], self.unread[size:]
        return taken

    def head(self):
        first, *lines = self.until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        fields = [(name.lower(), value.strip(" \t")) for name, value in (text.split(":", 1) for text in lines)]
        return first, fields

    def chunks(self, body):
        """Appends to `body` what comes, whole or not, and returns the trailers."""
        while size := int(self.until(b"\r\n").split(b";")[0], 16):
            piece = self.up_to(size)
            body += piece
            if len(piece) < size or self.up_to(2) != b"\r\n":
                raise EOFError
        trailers = []
        while text := self.until(b"\r\n").decode("latin-1"):
            name, value = text.split(":", 1)
            trailers.append((name.lower(), value.strip()))
        return trailers


def chunked(exchange, octets, trailers):
    dice = random.Random(exchange.number + 1)
    for piece in exchange.pieces(octets):
        yield b"%x%s\r\n%s\r\n" % (len(piece), dice.choice([b"", b"", b";a=b", b';c="d e"']), piece)
    yield b"0\r\n" + "".join(f"{name}: {value}\r\n" for name, value in trailers).encode() + b"\r\n"


def serve_http1(stream):
    reader = Reader(stream)
    while True:
        first, fields = reader.head()
        method, path, _ = first.split(" ")
        exchange = Exchange(int(re.search(r"/(\d+)(\?|$)", path)[1]), "http/1.1")
        given = dict(fields)
        body, trailers = bytearray(), []
        if "100-continue" in given.get("expect", ""):
            stream.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        if "transfer-encoding" in given:
            trailers = reader.chunks(body)
        else:
            body += reader.up_to(int(given.get("content-length", 0)))
        seen = seen_by_origin(method, path, fields, bytes(body), trailers)
        answer = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * exchange.interims
        head = [f"HTTP/1.1 {exchange.status} Some Words", f"X-Seen: {seen}"] + [f"{name.title()}: {value}" for name, value in exchange.fields]
        whole = exchange.body
        if exchange.close:
            head.append("Connection: close")
        if exchange.framing == "length" and exchange.status != 204:
            head.append(f"Content-Length: {len(whole)}")
        elif exchange.framing == "chunked" and exchange.status not in (204, 304):
            head.append("Transfer-Encoding: chunked")
        elif exchange.bodiless and exchange.status != 204:
            head.append("Content-Length: 5")
        answer += ("\r\n".join(head) + "\r\n\r\n").encode("latin-1")
        parts = [] if exchange.bodiless else list(exchange.pieces(whole))
        if exchange.framing == "chunked" and not exchange.bodiless:
            parts = list(chunked(exchange, whole, exchange.trailers))
        if exchange.cut:
            octets = b"".join(parts)
            parts = [octets[: len(octets) // 2]]
        stream.sendall(answer)
        for part in parts:
            stream.sendall(part)
        if exchange.close or exchange.cut:
            stream.unwrap()
            return


def ask_http1(connect, numbers):
    stream = None
    for number in numbers:
        exchange = Exchange(number, "http/1.1")
        if stream is None:
            stream = connect()
            reader = Reader(stream)
        head = [f"{exchange.method} {exchange.path} HTTP/1.1", f"Host: {host}"] + [f"{name.title()}: {value}" for name, value in exchange.request_fields]
        body = [exchange.request_body]
        if exchange.request_body and exchange.request_chunked:
            head.append("Transfer-Encoding: chunked")
            body = chunked(exchange, exchange.request_body, exchange.trailers)
        elif exchange.request_body or exchange.method in ("POST", "PUT"):
            head.append(f"Content-Length: {len(exchange.request_body)}")
        if exchange.expects:
            head.append("Expect: 100-continue")
        stream.sendall(("\r\n".join(head) + "\r\n\r\n").encode("latin-1"))
        interims = []
        if exchange.expects:
            interims.append(reader.head()[0].split(" ")[1])
        for piece in body:
            stream.sendall(piece)
        first, fields = reader.head()
        while first.split(" ")[1].startswith("1"):
            interims.append([first.split(" ")[1], sorted(fields)])
            first, fields = reader.head()
        given, answer, trailers, end = dict(fields), bytearray(), [], "whole"
        try:
            if exchange.bodiless:
                pass
            elif "transfer-encoding" in given:
                trailers = reader.chunks(answer)
            elif "content-length" in given:
                answer += reader.up_to(int(given["content-length"]))
                if len(answer) < int(given["content-length"]):
                    raise EOFError
            else:
                while reader.fill():
                    pass
                answer += reader.unread
        except (EOFError, ssl.SSLError, ConnectionError):
            end = "cut"
        line(exchange, interims, first.split(" ", 1)[1], fields, bytes(answer), trailers, end)
        if end == "cut" or "close" in given.get("connection", "") or not ("content-length" in given or "transfer-encoding" in given or exchange.bodiless):
            stream.close()
            stream = None


def serve_http2(stream):
    connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="latin-1"))
    connection.initiate_connection()
    asked, waiting = {}, {}

    def go_on():
        for number in list(waiting):
            exchange, rest = waiting[number]
            while rest and (room := min(connection.local_flow_control_window(number), connection.max_outbound_frame_size)) > 0:
                size = min(room, exchange.dice.choice([1, 1000, 16384]))
                connection.send_data(number, rest[:size])
                rest = rest[size:]
            waiting[number] = exchange, rest
            if not rest:
                del waiting[number]
                if exchange.cut:
                    connection.reset_stream(number, h2.errors.ErrorCodes.INTERNAL_ERROR)
                elif exchange.trailers:
                    connection.send_headers(number, exchange.trailers, end_stream=True)
                else:
                    connection.end_stream(number)

    while True:
        stream.sendall(connection.data_to_send())
        octets = stream.recv(65536)
        if not octets:
            return
        for event in connection.receive_data(octets):
            if isinstance(event, h2.events.RequestReceived):
                asked[event.stream_id] = [event.headers, bytearray(), []]
            elif isinstance(event, h2.events.DataReceived):
                asked[event.stream_id][1] += event.data
                connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, h2.events.TrailersReceived):
                asked[event.stream_id][2] = event.headers
            elif isinstance(event, h2.events.StreamReset):
                waiting.pop(event.stream_id, None)
            elif isinstance(event, h2.events.StreamEnded):
                fields, body, trailers = asked.pop(event.stream_id)
                given = dict(fields)
                exchange = Exchange(int(re.search(r"/(\d+)(\?|$)", given[":path"])[1]), "h2")
                for _ in range(exchange.interims):
                    connection.send_headers(event.stream_id, [(":status", "103"), ("link", "</a>")])
                seen = seen_by_origin(given[":method"], given[":path"], fields, bytes(body), trailers)
                head = [(":status", str(exchange.status)), ("x-seen", seen)] + exchange.fields
                if exchange.framing == "length" and not exchange.cut and exchange.status != 204:
                    head.append(("content-length", str(len(exchange.body))))
                connection.send_headers(event.stream_id, head, end_stream=exchange.bodiless)
                if not exchange.bodiless:
                    waiting[event.stream_id] = exchange, exchange.body
        go_on()


def ask_http2(connect, numbers):
    stream = connect()
    connection = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="latin-1"))
    connection.initiate_connection()
    numbers = list(numbers)
    for batch in (numbers[at : at + BATCH] for at in range(0, len(numbers), BATCH)):
        open_streams, sending = {}, {}
        for number in batch:
            exchange, id = Exchange(number, "h2"), connection.get_next_available_stream_id()
            fields = [(":method", exchange.method), (":scheme", "https"), (":authority", host), (":path", exchange.path)] + exchange.request_fields
            if exchange.request_body and not exchange.request_chunked:
                fields.append(("content-length", str(len(exchange.request_body))))
            connection.send_headers(id, fields, end_stream=not exchange.request_body)
            open_streams[id] = [exchange, [], None, [], bytearray(), []]
            if exchange.request_body:
                sending[id] = exchange.request_body
        while open_streams:
            for id, rest in list(sending.items()):
                while rest and (room := min(connection.local_flow_control_window(id), connection.max_outbound_frame_size)) > 0:
                    connection.send_data(id, rest[:room])
                    rest = rest[room:]
                sending[id] = rest
                if not rest:
                    exchange = open_streams[id][0]
                    del sending[id]
                    if exchange.trailers:
                        connection.send_headers(id, exchange.trailers, end_stream=True)
                    else:
                        connection.end_stream(id)
            stream.sendall(connection.data_to_send())
            octets = stream.recv(65536)
            if not octets:
                raise SystemExit("the connection ended early")
            for event in connection.receive_data(octets):
                about = open_streams.get(getattr(event, "stream_id", None))
                if isinstance(event, h2.events.InformationalResponseReceived):
                    about[1].append(sorted(event.headers))
                elif isinstance(event, h2.events.ResponseReceived):
                    about[2], about[3] = dict(event.headers)[":status"], event.headers
                elif isinstance(event, h2.events.DataReceived):
                    about[4] += event.data
                    connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                elif isinstance(event, h2.events.TrailersReceived):
                    about[5] = event.headers
                elif isinstance(event, h2.events.StreamEnded):
                    del open_streams[event.stream_id]
                    line(about[0], about[1], about[2], about[3], bytes(about[4]), about[5], "whole")
                elif isinstance(event, h2.events.StreamReset):
                    # What was under way before a reset may be dropped on any hop: the head and that it ended so count.
                    del open_streams[event.stream_id]
                    sending.pop(event.stream_id, None)
                    line(about[0], about[1], about[2], [], b"", [], f"reset {int(event.error_code)}")
                elif isinstance(event, h2.events.ConnectionTerminated):
                    raise SystemExit(f"{event}")


if sys.argv[1] == "serve":
    address, certificate, key = sys.argv[2:]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.set_alpn_protocols(["h2", "http/1.1"])
    listener = socket.create_server((address, 443), backlog=64)

    def serve(stream):
        try:
            stream = context.wrap_socket(stream, server_side=True)
            stream.settimeout(60)
            (serve_http2 if stream.selected_alpn_protocol() == "h2" else serve_http1)(stream)
        except (OSError, EOFError):
            pass

    while True:
        threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

host, trust, protocol, first, count = sys.argv[2:]


def connect():
    context = ssl.create_default_context(cafile=trust)
    context.set_alpn_protocols([protocol])
    address = socket.getaddrinfo(host, 443, socket.AF_INET, socket.SOCK_STREAM)[0][4]
    stream = context.wrap_socket(socket.create_connection(address, timeout=60), server_hostname=host)
    assert stream.selected_alpn_protocol() == protocol, stream.selected_alpn_protocol()
    return stream


(ask_http2 if protocol == "h2" else ask_http1)(connect, range(int(first), int(first) + int(count)))
