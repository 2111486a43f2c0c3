#!/usr/bin/python3
"""What the gateway's programs cost traffic that nobody monitors: root, iproute2, an agent built with its kernel programs.

    sudo benches/gateway.py target/release/portcullis [milliseconds] [rounds]

Three times the same: a client behind a bridge sends to a server beyond a gateway, to port 443, over one TCP connection. An
agent runs on one of the gateways: on the first for a third of the rounds, then, with everything made anew, on the second and
on the third, since three places that are alike still differ. In a round each client sends for so many milliseconds, in an
order by chance. Prints throughputs, the ratio of the agent's gateway to the others, and that of the others to each other:
what a ratio is worth here. Everything is in namespaces of its own.
"""

import ctypes
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import traceback

AGENT = os.path.abspath(sys.argv[1])
SECONDS = float(sys.argv[2]) / 1000 if len(sys.argv) > 2 else 0.2
ROUNDS = int(sys.argv[3]) if len(sys.argv) > 3 else 150
PLACES = [[f"pcbench{part}{number}{os.getpid()}" for part in "igo"] for number in range(3)]
SERVER = "198.18.0.1"
CHUNK = bytes(1 << 20)


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
    while True:
        connection, _ = listener.accept()
        if os.fork() == 0:
            room = bytearray(1 << 20)
            while connection.recv_into(room):
                pass
            os._exit(0)
        connection.close()


class Sender:
    """A client that sends when it is told to."""

    def __init__(self, namespace):
        asked, self.ask = os.pipe()
        self.answer, answers = os.pipe()

        def send():
            # Else its speed is forgotten while the others have their turn.
            with open("/proc/sys/net/ipv4/tcp_slow_start_after_idle", "w") as setting:
                setting.write("0")
            os.close(self.ask)
            connection = socket.create_connection((SERVER, 443), timeout=20)
            while os.read(asked, 1):
                begun, sent = time.monotonic(), 0
                while time.monotonic() - begun < SECONDS:
                    connection.sendall(CHUNK)
                    sent += len(CHUNK)
                os.write(answers, b"%20.6f" % (sent * 8 / (time.monotonic() - begun) / 1e9))

        self.process = inside(namespace, send)
        os.close(asked)
        os.close(answers)

    def measure(self):
        """Gigabits a second."""
        os.write(self.ask, b"s")
        return float(os.read(self.answer, 20))


def make(client, gateway, server):
    for namespace in (client, gateway, server):
        ip("netns", "add", namespace)
        ip("-n", namespace, "link", "set", "lo", "up")
    for near, other in (("port0", client), ("out0", server)):
        ip("-n", gateway, "link", "add", near, "type", "veth", "peer", "name", "eth0", "netns", other)
        ip("-n", gateway, "link", "set", near, "up")
        ip("-n", other, "link", "set", "eth0", "up")
    ip("-n", gateway, "link", "add", "br0", "type", "bridge")
    ip("-n", gateway, "link", "set", "br0", "up")
    ip("-n", gateway, "link", "set", "port0", "master", "br0")
    for namespace, device, address in (
        (gateway, "br0", "10.77.0.1/24"), (gateway, "out0", "198.18.0.2/24"),
        (client, "eth0", "10.77.0.2/24"), (server, "eth0", f"{SERVER}/24"),
    ):
        ip("-n", namespace, "address", "add", address, "dev", device)
    ip("-n", client, "route", "add", "default", "via", "10.77.0.1")
    ip("-n", server, "route", "add", "default", "via", "198.18.0.2")
    os.waitpid(inside(gateway, lambda: open("/proc/sys/net/ipv4/ip_forward", "w").write("1")), 0)


def agent(directory, gateway):
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
        ["nsenter", f"--net=/run/netns/{gateway}", AGENT, "run", "--config", f"{directory}/portcullis.toml"],
        stdout=log, stderr=log,
    )
    while "ready" not in open(f"{directory}/log").read():
        if process.poll() is not None:
            sys.exit(open(f"{directory}/log").read())
        time.sleep(0.05)
    return process


def third(served):
    """Rounds with the agent on one of the gateways: throughputs of its client, and of the two others."""
    processes = []
    results = [[] for _ in PLACES]
    try:
        for place in PLACES:
            make(*place)
            processes.append(inside(place[2], sink))
        with tempfile.TemporaryDirectory() as directory:
            running = agent(directory, PLACES[served][1])
            # A start disturbs the machine for a while.
            time.sleep(2)
            senders = [Sender(client) for client, _, _ in PLACES]
            processes += [sender.process for sender in senders]
            for sender in senders * 2:
                sender.measure()
            for _ in range(max(2, -(-ROUNDS // len(PLACES)))):
                for turn in random.sample(range(len(senders)), len(senders)):
                    results[turn].append(senders[turn].measure())
            running.terminate()
            running.wait()
    finally:
        for process in processes:
            os.kill(process, signal.SIGKILL)
        for namespace in sum(PLACES, []):
            subprocess.run(["ip", "netns", "delete", namespace])
    return [results[served], *(results[turn] for turn in range(len(PLACES)) if turn != served)]


def main():
    thirds = [third(served) for served in range(len(PLACES))]
    results = [sum(parts, []) for parts in zip(*thirds)]
    for name, values in zip(("agent", "other", "another"), results):
        low, middle, high = statistics.quantiles(values, n=4)
        print(f"{name:>8}: median {middle:6.2f} Gbit/s, quartiles {low:6.2f} and {high:6.2f}, of {len(values)}")
    for served, (with_it, other, another) in enumerate(thirds):
        noise = statistics.median(b / c for b, c in zip(other, another))
        print(f"gateway {served}: {ratio(with_it, other, another):.3f}, of the others to each other {noise:.3f}")
    print(f"   ratio: {ratio(*results):.3f}")


def ratio(with_it, other, another):
    return statistics.median(2 * a / (b + c) for a, b, c in zip(with_it, other, another))


main()
