"""What a good client notices of others that misbehave: its time to an answer with and without each kind of flood.

    python3 benches/floods.py target/release/portcullis [SECONDS] [KIND ...]

nginx answers, the agent stands in between as an explicit proxy and inspects. A good client asks every few milliseconds on
one connection; four offenders flood, and connect again as soon as they are cut. Slots take turns: nobody else, as many
processes that only compute, and the offenders. Offenders and those that compute have the lowest priority and the good
client a high one; what busy processors alone do to it, which is the kernel's business, the second kind of slot says.
Root, nginx, openssl and python3-hpack.

For each kind: p50 and p99 in milliseconds alone, beside what computes and beside offenders, the ratio of the last two p99,
the longest time to a cut, and what the agent's resident memory grew by.
"""

import multiprocessing
import os
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../tests/support"))
sys.dont_write_bytecode = True
import flood  # noqa: E402

NAME, ORIGIN, PROXY, OFFENDERS, PAUSE, SLOTS = "files.corp.test", 20444, 20129, 4, 0.004, 3
agent = os.path.abspath(sys.argv[1])
seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 3.0
wanted = sys.argv[3:]
work = tempfile.mkdtemp(prefix="portcullis-floods-")
os.chmod(work, 0o755)


def write(name, text):
    path = os.path.join(work, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as file:
        file.write(text)
    return path


def start(*command):
    return subprocess.Popen(command, stdout=open(f"{work}/log", "ab"), stderr=subprocess.STDOUT)


def wait_for(port):
    for _ in range(200):
        try:
            return socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
    raise SystemExit(f"nothing listens on {port}: {open(f'{work}/log').read()}")


def tunnel():
    plain = socket.create_connection(("127.0.0.1", PROXY), 20)
    plain.sendall(f"CONNECT {NAME}:{ORIGIN} HTTP/1.1\r\nHost: {NAME}:{ORIGIN}\r\n\r\n".encode())
    assert b" 200 " in plain.recv(4096)
    return plain


def speak(plain):
    context = ssl.create_default_context(cafile=f"{work}/state/ca/ca.pem")
    return context.wrap_socket(plain, server_hostname=NAME)


REQUEST = f"GET /page HTTP/1.1\r\nHost: {NAME}:{ORIGIN}\r\n\r\n".encode()


def good(until, pipe):
    """Milliseconds to each answer."""
    os.nice(-10)
    stream, times = speak(tunnel()), []
    while time.monotonic() < until:
        begun = time.perf_counter()
        stream.sendall(REQUEST)
        answer = b""
        while not answer.endswith(b"</html>"):
            octets = stream.recv(65536)
            assert octets, "the good client was cut"
            answer += octets
        times.append((time.perf_counter() - begun) * 1000)
        time.sleep(PAUSE)
    pipe.send(times)


def hello_only():
    plain = tunnel()
    offer = ssl.MemoryBIO(), ssl.MemoryBIO()
    talk = ssl.create_default_context().wrap_bio(*offer, server_hostname=NAME)
    try:
        talk.do_handshake()
    except ssl.SSLWantReadError:
        plain.sendall(offer[1].read())
    plain.close()


def large_head():
    stream = speak(tunnel())
    try:
        stream.sendall(b"GET / HTTP/1.1\r\n" + b"X-Large: " + b"a" * (1 << 20) + b"\r\n")
        stream.recv(65536)
    except OSError:
        pass
    stream.close()


# Beside those of HTTP/2: each call is one connection.
OTHERS = {
    "connections": lambda: socket.create_connection(("127.0.0.1", PROXY), 20).close(),
    "hellos": hello_only,
    "handshakes": lambda: speak(tunnel()).close(),
    "large-heads": large_head,
}


def offend(kind, until, pipe):
    """The longest time to a cut."""
    os.nice(19)
    longest, connections = 0.0, 0
    order = {
        "host": NAME, "path": "/page", "kind": kind, "trust": f"{work}/state/ca/ca.pem",
        "proxy": ["127.0.0.1", PROXY], "tunnel": f"{NAME}:{ORIGIN}",
    }
    while time.monotonic() < until:
        begun = time.monotonic()
        try:
            if kind in OTHERS:
                OTHERS[kind]()
            else:
                said = flood.flood(order)
                assert said["cut"], f"{kind} was not cut: {said}"
        except OSError:
            pass
        longest, connections = max(longest, time.monotonic() - begun), connections + 1
    pipe.send((longest, connections))


def compute(until, pipe):
    """Keeps a processor busy."""
    os.nice(19)
    while time.monotonic() < until:
        sum(range(1000))
    pipe.send(0)


def together(jobs):
    """Runs each job in a process of its own; gives what they sent."""
    running = []
    for job, *arguments in jobs:
        here, there = multiprocessing.Pipe(False)
        process = multiprocessing.Process(target=job, args=(*arguments, there))
        process.start()
        running.append((process, here))
    sent = []
    for process, here in running:
        sent.append(here.recv() if here.poll(60) else None)
        process.join(10)
    assert None not in sent, "a client failed"
    return sent


def resident():
    line = next(line for line in open(f"/proc/{proxy.pid}/status") if line.startswith("VmRSS"))
    return int(line.split()[1])


def p(times, part):
    return statistics.quantiles(times, n=100)[part - 1]


subprocess.run(
    ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    + ["-subj", f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{NAME}", "-addext", "basicConstraints=critical,CA:FALSE"]
    + ["-keyout", f"{work}/key.pem", "-out", f"{work}/cert.pem"],
    check=True,
    capture_output=True,
)
write("www/page", "<html>" + "a" * 1000 + "</html>")
write(
    "nginx.conf",
    f"daemon off; worker_processes 1; pid {work}/pid; error_log stderr; events {{ worker_connections 4096; }}\n"
    f"http {{ access_log off; keepalive_timeout 600s; keepalive_requests 1000000; default_type text/html;\n"
    f"server {{ listen 127.0.0.1:{ORIGIN} ssl http2;\n"
    f"ssl_certificate {work}/cert.pem; ssl_certificate_key {work}/key.pem; root {work}/www; }} }}\n",
)
write("hosts", f"127.0.0.1 localhost {NAME}\n")
write(
    "portcullis.toml",
    f'[steering]\nmode = "explicit"\nlisten = "127.0.0.1:{PROXY}"\n[tls]\nupstream_roots = "{work}/cert.pem"\n'
    f'[metrics]\nlisten = "127.0.0.1:0"\n[console]\nlisten = "off"\n[device]\nposture = "file"\nfile = "{work}/none"\n'
    f'[paths]\nstate = "{work}/state"\nrun = "{work}/run"\n',
)
write("apps.d/bench.toml", f'[[app]]\nid = "bench"\nname = "Bench"\ncategory = "x"\ndomains = ["{NAME}"]\n')
write(
    "policies.d/bench.toml",
    '[[policy]]\nname = "watch"\nstate = "enabled"\n[policy.users]\ninclude = ["all"]\n[policy.apps]\ninclude = ["bench"]\n'
    '[policy.session]\ncontrol = "monitor-only"\n',
)
nginx = start("nginx", "-e", "stderr", "-c", f"{work}/nginx.conf")
mount = f"mount --bind {work}/hosts /etc/hosts && exec {agent} run --config {work}/portcullis.toml"
proxy = start("unshare", "--mount", "sh", "-c", mount)
try:
    wait_for(ORIGIN)
    wait_for(PROXY)
    print("| flood | p50 ms: alone, busy, flood | p99 ms: alone, busy, flood | flood to busy | longest to a cut, s | connections | memory +MiB |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for kind in [*flood.FLOODS, *OTHERS]:
        if wanted and kind not in wanted:
            continue
        alone, busy, during, cuts, connections, before = [], [], [], [], 0, resident()
        for _ in range(SLOTS):
            alone += together([(good, time.monotonic() + seconds)])[0]
            until = time.monotonic() + seconds
            busy += together([(good, until)] + [(compute, until)] * OFFENDERS)[0]
            until = time.monotonic() + seconds
            times, *offenders = together([(good, until)] + [(offend, kind, until)] * OFFENDERS)
            during += times
            cuts += [longest for longest, _ in offenders]
            connections += sum(count for _, count in offenders)
        shown = "-" if kind in OTHERS else f"{max(cuts):.2f}"
        print(
            f"| `{kind}` | {', '.join(f'{p(times, 50):.2f}' for times in (alone, busy, during))} "
            f"| {', '.join(f'{p(times, 99):.2f}' for times in (alone, busy, during))} "
            f"| {p(during, 99) / p(busy, 99):.2f} | {shown} | {connections} | {(resident() - before) / 1024:.1f} |",
            flush=True,
        )
finally:
    for process in (proxy, nginx):
        process.terminate()
        process.wait(30)
