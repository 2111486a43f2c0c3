#!/usr/bin/python3
"""What the gateway's programs cost traffic that nobody monitors: root, iproute2, an agent built with its kernel programs.

    sudo benches/gateway.py target/release/portcullis [seconds] [rounds]

A client behind a bridge sends to a server beyond the gateway, to port 443, over one TCP connection: without the agent and
with it, in turn. Prints the throughput of every round and the median of the rounds' ratios. Everything is in namespaces of its own.
"""

import ctypes
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import traceback

AGENT = os.path.abspath(sys.argv[1])
SECONDS = float(sys.argv[2]) if len(sys.argv) > 2 else 3
ROUNDS = int(sys.argv[3]) if len(sys.argv) > 3 else 9
INSIDE, GATEWAY, OUTSIDE = (f"pcbench{part}{os.getpid()}" for part in "igo")
SERVER = "198.18.0.1"
CHUNK = bytes(1 << 20)
SETTLE = 2


def ip(*arguments):
    subprocess.run(["ip", *arguments], check=True)


def inside(namespace, work):
    """Runs work in a child that has entered the namespace; gives its process id."""
    child = os.fork()
    if child == 0:
        try:
            with open(f"/run/netns/{namespace}") as entered:
                if ctypes.CDLL(None, use_errno=True).setns(entered.fileno(), 0):
                    raise OSError(ctypes.get_errno(), "setns")
            work()
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(0)
    return child


def sink():
    listener = socket.create_server(("0.0.0.0", 443))
    room = bytearray(1 << 20)
    while True:
        connection, _ = listener.accept()
        with connection:
            while connection.recv_into(room):
                pass


def measure():
    """Gigabits a second."""
    reading, writing = os.pipe()

    def send():
        connection = socket.create_connection((SERVER, 443), timeout=20)
        begun, sent = time.monotonic(), 0
        while time.monotonic() - begun < SECONDS:
            connection.sendall(CHUNK)
            sent += len(CHUNK)
        os.write(writing, str(sent * 8 / (time.monotonic() - begun) / 1e9).encode())

    child = inside(INSIDE, send)
    os.close(writing)
    os.waitpid(child, 0)
    with os.fdopen(reading) as answer:
        return float(answer.read())


def make():
    for namespace in (INSIDE, GATEWAY, OUTSIDE):
        ip("netns", "add", namespace)
        ip("-n", namespace, "link", "set", "lo", "up")
    for near, other, far in (("port0", INSIDE, "eth0"), ("out0", OUTSIDE, "eth0")):
        ip("-n", GATEWAY, "link", "add", near, "type", "veth", "peer", "name", far, "netns", other)
        ip("-n", GATEWAY, "link", "set", near, "up")
        ip("-n", other, "link", "set", far, "up")
    ip("-n", GATEWAY, "link", "add", "br0", "type", "bridge")
    ip("-n", GATEWAY, "link", "set", "br0", "up")
    ip("-n", GATEWAY, "link", "set", "port0", "master", "br0")
    for namespace, device, address in (
        (GATEWAY, "br0", "10.77.0.1/24"), (GATEWAY, "out0", "198.18.0.2/24"),
        (INSIDE, "eth0", "10.77.0.2/24"), (OUTSIDE, "eth0", f"{SERVER}/24"),
    ):
        ip("-n", namespace, "address", "add", address, "dev", device)
    ip("-n", INSIDE, "route", "add", "default", "via", "10.77.0.1")
    ip("-n", OUTSIDE, "route", "add", "default", "via", "198.18.0.2")
    os.waitpid(inside(GATEWAY, lambda: open("/proc/sys/net/ipv4/ip_forward", "w").write("1")), 0)


def agent(directory):
    """A running agent that learned of no address, so that nothing is steered."""
    os.makedirs(f"{directory}/policies.d", exist_ok=True)
    with open(f"{directory}/portcullis.toml", "w") as file:
        file.write(
            f'[steering]\nmode = "gateway"\ninterfaces = ["br0"]\nguard = "off"\nfail = "open"\n'
            f'[paths]\nstate = "{directory}/state"\nrun = "{directory}/run"\n'
        )
    with open(f"{directory}/policies.d/all.toml", "w") as file:
        file.write(
            '[[policy]]\nname = "all"\nstate = "enabled"\n[policy.users]\ninclude = ["all"]\n'
            '[policy.apps]\ninclude = ["office365"]\n[policy.session]\ncontrol = "block-downloads"\n'
        )
    log = open(f"{directory}/log", "w+")
    process = subprocess.Popen(
        ["nsenter", f"--net=/run/netns/{GATEWAY}", AGENT, "run", "--config", f"{directory}/portcullis.toml"],
        stdout=log, stderr=log,
    )
    while "ready" not in open(f"{directory}/log").read():
        if process.poll() is not None:
            sys.exit(open(f"{directory}/log").read())
        time.sleep(0.05)
    return process


def main():
    make()
    server = inside(OUTSIDE, sink)
    results = {"without": [], "with": []}
    try:
        with tempfile.TemporaryDirectory() as directory:
            time.sleep(1)
            measure()
            for _ in range(ROUNDS):
                # Without, with, with, without: what the machine does beside it falls on both.
                before = measure()
                running = agent(directory)
                # A start, and an end, disturb the machine for a while.
                time.sleep(SETTLE)
                results["with"].append((measure() + measure()) / 2)
                running.terminate()
                running.wait()
                time.sleep(SETTLE)
                results["without"].append((before + measure()) / 2)
    finally:
        os.kill(server, signal.SIGKILL)
        for namespace in (INSIDE, GATEWAY, OUTSIDE):
            subprocess.run(["ip", "netns", "delete", namespace])
    for name, values in results.items():
        print(f"{name:>8}: median {statistics.median(values):6.2f} Gbit/s of", " ".join(f"{v:.2f}" for v in values))
    ratios = [a / b for a, b in zip(results["with"], results["without"])]
    print(f"   ratio: median {statistics.median(ratios):.3f}, from {min(ratios):.3f} to {max(ratios):.3f}")


main()
