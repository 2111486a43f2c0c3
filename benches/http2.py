"""CPU time of the agent for a download, HTTP/2 against HTTP/1.1, and memory of idle connections.

    python3 benches/http2.py target/release/portcullis [MIB] [ROUNDS]

nginx serves MIB of zeros by TLS, the agent stands in between as an explicit proxy and inspects, curl throws the octets
away; rounds are interleaved. Everything on loopback; takes root, nginx, curl, openssl and python3-h2. Prints medians.
"""

import os
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time

import h2.connection
import h2.events

agent = os.path.abspath(sys.argv[1])
mib = int(sys.argv[2]) if len(sys.argv) > 2 else 512
rounds = int(sys.argv[3]) if len(sys.argv) > 3 else 7
NAME, ORIGIN, PROXY, IDLE = "files.corp.test", 20443, 20128, 500
work = tempfile.mkdtemp(prefix="portcullis-bench-")
os.chmod(work, 0o755)
TICK = os.sysconf("SC_CLK_TCK")


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


subprocess.run(
    ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    + ["-subj", f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{NAME}", "-addext", "basicConstraints=critical,CA:FALSE"]
    + ["-keyout", f"{work}/key.pem", "-out", f"{work}/cert.pem"],
    check=True,
    capture_output=True,
)
with open(f"{work}/big", "wb") as big:
    big.truncate(mib << 20)
write(
    "nginx.conf",
    f"daemon off; worker_processes 1; pid {work}/pid; error_log stderr; events {{ worker_connections 2048; }}\n"
    f"http {{ access_log off; sendfile on; keepalive_timeout 600s; server {{ listen 127.0.0.1:{ORIGIN} ssl http2;\n"
    f"ssl_certificate {work}/cert.pem; ssl_certificate_key {work}/key.pem; root {work}; }} }}\n",
)
write("hosts", f"127.0.0.1 localhost {NAME}\n")
write(
    "portcullis.toml",
    f'[steering]\nmode = "explicit"\nlisten = "127.0.0.1:{PROXY}"\n[tls]\nupstream_roots = "{work}/cert.pem"\n'
    f'[metrics]\nlisten = "127.0.0.1:0"\n[paths]\nstate = "{work}/state"\nrun = "{work}/run"\n',
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


def cpu():
    fields = open(f"/proc/{proxy.pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def resident():
    line = next(line for line in open(f"/proc/{proxy.pid}/status") if line.startswith("VmRSS"))
    return int(line.split()[1])


def download(protocol):
    before, begun = cpu(), time.monotonic()
    command = ["curl", "--silent", "--fail", "--insecure", f"--{protocol}", "--proxy", f"http://127.0.0.1:{PROXY}"]
    command += ["--output", "/dev/null", "--write-out", "%{http_version} %{size_download}", f"https://{NAME}:{ORIGIN}/big"]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert said == f"{protocol.removeprefix('http').removesuffix('.0')} {mib << 20}", said
    return (cpu() - before) * 1024 / mib, mib / (time.monotonic() - begun)


def idle():
    """KiB of the agent for each HTTP/2 connection that has served a request and waits."""
    context = ssl._create_unverified_context()
    context.set_alpn_protocols(["h2"])
    fields = [(":method", "GET"), (":scheme", "https"), (":authority", f"{NAME}:{ORIGIN}"), (":path", "/none")]
    held, before = [], resident()
    for _ in range(IDLE):
        plain = socket.create_connection(("127.0.0.1", PROXY))
        plain.sendall(f"CONNECT {NAME}:{ORIGIN} HTTP/1.1\r\nHost: {NAME}:{ORIGIN}\r\n\r\n".encode())
        assert b" 200 " in plain.recv(4096)
        stream = context.wrap_socket(plain, server_hostname=NAME)
        connection = h2.connection.H2Connection()
        connection.initiate_connection()
        connection.send_headers(1, fields, end_stream=True)
        stream.sendall(connection.data_to_send())
        ended = False
        while not ended:
            events = connection.receive_data(stream.recv(65536))
            ended = any(isinstance(event, h2.events.StreamEnded) for event in events)
            stream.sendall(connection.data_to_send())
        held.append(stream)
    time.sleep(1)
    return (resident() - before) / len(held)


try:
    wait_for(ORIGIN)
    wait_for(PROXY)
    seen = {"http1.1": [], "http2": []}
    for turn in range(rounds + 1):
        for protocol, results in seen.items():
            result = download(protocol)
            if turn > 0:  # the first warms up
                results.append(result)
    medians = {}
    for protocol, results in seen.items():
        medians[protocol] = statistics.median(result[0] for result in results)
        spread = sorted(result[0] for result in results)
        rate = statistics.median(result[1] for result in results)
        print(f"{protocol}: {medians[protocol]:.3f} CPU-s per GiB ({spread[0]:.3f} to {spread[-1]:.3f}), {rate:.0f} MiB/s")
    print(f"HTTP/2 to HTTP/1.1: {medians['http2'] / medians['http1.1']:.2f}")
    print(f"{idle():.1f} KiB for each of {IDLE} idle HTTP/2 connections")
finally:
    proxy.terminate()
    nginx.terminate()
    proxy.wait()
    nginx.wait()
    subprocess.run(["rm", "-rf", work], check=False)
