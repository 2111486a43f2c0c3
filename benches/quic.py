#!/usr/bin/env python3
"""How long a browser that believes in HTTP/3 takes to fall back to TCP when its QUIC is refused: root, iproute2, openssl, chromium,
certutil, and aioquic from PyPI for the interpreter that runs this.

    sudo env/bin/python benches/quic.py target/release/portcullis [rounds]

The origin speaks HTTP/3 and HTTP/1.1 at one address and says so in Alt-Svc. Chromium is shown that it does (its page comes over
HTTP/3 without the agent), so that its profile believes it. Then the agent monitors the site, and the same page is fetched
with that profile, with QUIC on and with QUIC off in turn: from the request to the response's head, by Chromium's own log of its
network, which also shows the refusal. The difference is what falling back takes. Everything is in namespaces of its own.
"""

import asyncio
import ctypes
import http.server
import json
import os
import shutil
import signal
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import traceback

from aioquic.asyncio import QuicConnectionProtocol, serve
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ProtocolNegotiated

AGENT = os.path.abspath(sys.argv[1])
ROUNDS = int(sys.argv[2]) if len(sys.argv) > 2 else 10
NAME, SERVER = "files.corp.test", "198.18.0.1"
# net_error of EPERM and EACCES.
ACCESS_DENIED = -10
CLIENT, ORIGIN = (f"pcquic{part}{os.getpid()}" for part in "co")
CGROUP = next(line.split()[1] for line in open("/proc/mounts") if line.split()[2] == "cgroup2") + f"/{CLIENT}"


def run(*arguments, **options):
    return subprocess.run(arguments, check=True, capture_output=True, text=True, **options).stdout


def inside(namespace, work, cgroup=None):
    """Runs work in a child that has entered the namespace; gives its process id."""
    child = os.fork()
    if child == 0:
        try:
            enter(namespace, cgroup)
            work()
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(0)
    return child


def enter(namespace, cgroup=None):
    if cgroup:
        with open(f"{cgroup}/cgroup.procs", "w") as procs:
            procs.write(str(os.getpid()))
    with open(f"/run/netns/{namespace}") as entered:
        if ctypes.CDLL(None, use_errno=True).setns(entered.fileno(), 0):
            raise OSError(ctypes.get_errno(), "setns")


class Page(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = b"<p>over TCP</p>"
        self.send_response(200)
        for field in (("Content-Type", "text/html"), ("Content-Length", str(len(body))), ("Alt-Svc", 'h3=":443"; ma=86400')):
            self.send_header(*field)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Page3(QuicConnectionProtocol):
    http = None

    def quic_event_received(self, event):
        if isinstance(event, ProtocolNegotiated):
            self.http = H3Connection(self._quic)
        for told in self.http.handle_event(event) if self.http else []:
            if isinstance(told, HeadersReceived):
                self.http.send_headers(told.stream_id, [(b":status", b"200"), (b"content-type", b"text/html")])
                self.http.send_data(told.stream_id, b"<p>over HTTP/3</p>", end_stream=True)
        self.transmit()


def origin(directory):
    certificate = (f"{directory}/site.pem", f"{directory}/site.key")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    server = http.server.ThreadingHTTPServer((SERVER, 443), Page)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    threading.Thread(target=answer_names, daemon=True).start()

    async def quic():
        configuration = QuicConfiguration(alpn_protocols=H3_ALPN, is_client=False)
        configuration.load_cert_chain(*certificate)
        await serve(SERVER, 443, configuration=configuration, create_protocol=Page3)
        await asyncio.Event().wait()

    asyncio.run(quic())


def answer_names():
    """A name server that knows one address, for whatever it is asked."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind((SERVER, 53))
    while True:
        question, client = server.recvfrom(512)
        head = question[:2] + b"\x81\x80\0\1\0\1\0\0\0\0"
        record = b"\xc0\x0c\0\1\0\1\0\0\1\0\0\4" + socket.inet_aton(SERVER)
        server.sendto(head + question[12:] + record, client)


def ask():
    """A look-up by a program of the host, so that the kernel learns the address."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in NAME.split("."))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(5)
        client.connect((SERVER, 53))
        client.send(b"\x12\x34\1\0\0\1\0\0\0\0\0\0" + labels + b"\0\0\1\0\1")
        client.recv(512)


def make(directory):
    run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30", "-subj", "/CN=lab",
        "-addext", "basicConstraints=critical,CA:TRUE", "-keyout", f"{directory}/ca.key", "-out", f"{directory}/ca.pem")
    run("openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={NAME}",
        "-keyout", f"{directory}/site.key", "-out", f"{directory}/site.csr")
    with open(f"{directory}/site.ext", "w") as file:
        file.write(f"subjectAltName=DNS:{NAME}\nextendedKeyUsage=serverAuth\n")
    run("openssl", "x509", "-req", "-in", f"{directory}/site.csr", "-CA", f"{directory}/ca.pem", "-CAkey", f"{directory}/ca.key",
        "-days", "30", "-extfile", f"{directory}/site.ext", "-out", f"{directory}/site.pem")
    for namespace in (CLIENT, ORIGIN):
        run("ip", "netns", "add", namespace)
        run("ip", "-n", namespace, "link", "set", "lo", "up")
    run("ip", "-n", CLIENT, "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", ORIGIN)
    for namespace, address in ((CLIENT, "198.18.0.2/24"), (ORIGIN, f"{SERVER}/24")):
        run("ip", "-n", namespace, "address", "add", address, "dev", "eth0")
        run("ip", "-n", namespace, "link", "set", "eth0", "up")
    os.mkdir(CGROUP)
    trust(directory, f"{directory}/ca.pem")


def trust(directory, authority):
    store = f"{directory}/home/.pki/nssdb"
    if not os.path.isdir(store):
        os.makedirs(store)
        run("certutil", "-d", f"sql:{store}", "-N", "--empty-password")
    run("certutil", "-d", f"sql:{store}", "-A", "-t", "C,,", "-n", authority, "-i", authority)


def agent(directory):
    for name in ("policies.d", "apps.d"):
        os.makedirs(f"{directory}/{name}")
    with open(f"{directory}/portcullis.toml", "w") as file:
        file.write(
            f'[steering]\ncgroup = "{CGROUP}"\nfail = "open"\n[tls]\nupstream_roots = "{directory}/ca.pem"\n'
            f'[paths]\nstate = "{directory}/state"\nrun = "{directory}/run"\npins = "{directory}/pins"\n'
        )
    with open(f"{directory}/apps.d/corp.toml", "w") as file:
        file.write(f'[[app]]\nid = "corp"\nname = "Corp"\ndomains = ["{NAME}"]\n')
    with open(f"{directory}/policies.d/watch.toml", "w") as file:
        file.write('[[policy]]\nname = "watch"\nstate = "enabled"\nusers.include = ["all"]\napps.include = ["corp"]\n'
                   'session.control = "monitor-only"\n')
    log = open(f"{directory}/agent.log", "w")
    process = subprocess.Popen([AGENT, "run", "--config", f"{directory}/portcullis.toml"], stdout=log, stderr=log,
                               preexec_fn=lambda: enter(CLIENT, CGROUP))
    while "ready" not in open(f"{directory}/agent.log").read():
        if process.poll() is not None:
            sys.exit(open(f"{directory}/agent.log").read())
        time.sleep(0.05)
    return process


def visit(directory, profile, *more):
    """The page's words, the milliseconds until its head, and whether QUIC was tried and refused."""
    log = f"{directory}/net.json"
    environment = dict(os.environ, HOME=f"{directory}/home", TMPDIR=directory)
    # A host of the list may have any authority over QUIC, where its certificate must be a public one's else; at port 1 nothing
    # is forced.
    seen = subprocess.run(
        ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--dump-dom",
         "--enable-quic", f"--origin-to-force-quic-on={NAME}:1", f"--host-resolver-rules=MAP {NAME} {SERVER}",
         f"--user-data-dir={profile}", f"--log-net-log={log}", *more, f"https://{NAME}/"],
        env=environment, capture_output=True, text=True, preexec_fn=lambda: enter(CLIENT, CGROUP), timeout=90,
    ).stdout
    text = open(log).read().rstrip().rstrip(",")
    if not text.endswith("}"):
        text += "]}"
    told = json.loads(text)
    types = {number: name for name, number in told["constants"]["logEventTypes"].items()}
    requests, refused = {}, False
    for event in told["events"]:
        kind, source, when = types[event["type"]], event["source"]["id"], int(event["time"])
        parameters = event.get("params", {})
        if kind == "URL_REQUEST_START_JOB" and parameters.get("url") == f"https://{NAME}/":
            requests.setdefault(source, [when, None])
        elif kind == "HTTP_TRANSACTION_READ_HEADERS" and event["phase"] == 2 and source in requests and not requests[source][1]:
            requests[source][1] = when
        refused |= kind == "UDP_CONNECT" and parameters.get("net_error") == ACCESS_DENIED
    took = [end - begun for begun, end in requests.values() if end]
    return seen, took[0] if took else None, refused


def main():
    with tempfile.TemporaryDirectory() as directory:
        server = running = None
        try:
            make(directory)
            server = inside(ORIGIN, lambda: origin(directory))
            time.sleep(2)
            believer = f"{directory}/believer"
            visit(directory, believer)
            time.sleep(1)
            for _ in range(5):
                seen, _, _ = visit(directory, believer)
                if "over HTTP/3" in seen:
                    break
            else:
                sys.exit(f"Chromium never fetched the page over HTTP/3: {seen}")
            running = agent(directory)
            trust(directory, f"{directory}/state/ca/ca.pem")
            os.waitpid(inside(CLIENT, ask, CGROUP), 0)
            figures = {"QUIC on": [], "QUIC off": []}
            for number in range(ROUNDS):
                for name, values in figures.items():
                    profile = f"{directory}/profile{number}"
                    shutil.rmtree(profile, ignore_errors=True)
                    shutil.copytree(believer, profile, symlinks=True, ignore=shutil.ignore_patterns("Singleton*"))
                    on = name == "QUIC on"
                    seen, took, refused = visit(directory, profile, *([] if on else ["--disable-quic"]))
                    if "over TCP" not in seen or took is None or refused != on:
                        print(f"  left out: {name}: {took} ms, refused: {refused}, {seen!r}")
                        continue
                    values.append(took)
        finally:
            if running:
                running.send_signal(signal.SIGTERM)
                running.wait()
            if server:
                os.kill(server, signal.SIGKILL)
            for namespace in (CLIENT, ORIGIN):
                subprocess.run(["ip", "netns", "delete", namespace])
            os.rmdir(CGROUP)
    for name, values in figures.items():
        print(f"{name:>9}: median {statistics.median(values):.0f} ms, from {min(values)} to {max(values)}, of {len(values)}")
    on, off = (statistics.median(values) for values in figures.values())
    print(f"falling back takes {on - off:.0f} ms")


main()
