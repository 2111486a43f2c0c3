# A service manager as far as descriptors go: sd_notify(3) with FDSTORE=1, sd_listen_fds(3). It starts the agent, kills it,
# connects to the monitored name while no agent is there, starts it again with what it left, and restarts it under load.
import json, os, select, signal, socket, ssl, sys, threading, time

binary, config, name, path, directory, pins = sys.argv[1:7]
notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
notify.bind(directory + "/notify")
stored = []


def start():
    pid = os.fork()
    if pid == 0:
        # Out of the way of the numbers they get.
        high = [os.dup2(fd, 100 + number) for number, fd in enumerate(stored)]
        for number, fd in enumerate(high):
            os.dup2(fd, 3 + number, inheritable=True)
        os.closerange(3 + len(high), 200)
        environment = dict(os.environ, NOTIFY_SOCKET=directory + "/notify")
        if stored:
            environment.update(
                LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(stored)),
                LISTEN_FDNAMES=":".join(["listener"] * len(stored)),
            )
        os.execve(binary, [binary, "run", "--config", config], environment)
    return pid


def keep(descriptors):
    # What is in the store already is not stored twice.
    for fd in descriptors:
        if os.fstat(fd).st_ino in [os.fstat(known).st_ino for known in stored]:
            os.close(fd)
        else:
            stored.append(fd)


def told(wanted, deadline=20):
    """Takes messages until one holds `wanted`; what comes with FDSTORE=1 is stored."""
    end = time.monotonic() + deadline
    while time.monotonic() < end:
        if not select.select([notify], [], [], 0.1)[0]:
            continue
        message, descriptors, _, _ = socket.recv_fds(notify, 4096, 16)
        lines = message.decode().split()
        if "FDSTORE=1" in lines:
            assert "FDNAME=listener" in lines, lines
            keep(descriptors)
        if wanted in lines:
            return lines
    raise SystemExit("waited in vain for " + wanted)


def request(answer):
    context = ssl._create_unverified_context()
    begun = time.monotonic()
    try:
        with socket.create_connection((address, 443), timeout=20) as plain:
            with context.wrap_socket(plain, server_hostname=name) as tls:
                tls.sendall(f"GET {path} HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode())
                answer["status"] = int(tls.recv(4096).split()[1])
    except OSError as error:
        answer["error"] = repr(error)
    answer["seconds"] = time.monotonic() - begun


agent = start()
told("READY=1")
address = socket.getaddrinfo(name, 443, socket.AF_INET)[0][4][0]
os.kill(agent, signal.SIGKILL)
os.waitpid(agent, 0)
answer = {}
client = threading.Thread(target=request, args=[answer])
client.start()
time.sleep(0.3)
waited = client.is_alive()
first = len(stored)
agent = start()
told("READY=1")
client.join()


def ask_until(ended, answers):
    while not ended.is_set():
        answers.append({})
        request(answers[-1])
        time.sleep(0.02)


# As `systemctl restart` does with RestartKillSignal=SIGUSR1: one who asks all the time never notices.
ended, answers = threading.Event(), []
asking = threading.Thread(target=ask_until, args=[ended, answers])
asking.start()
time.sleep(0.5)
before = len(answers)
os.kill(agent, signal.SIGUSR1)
_, handed_over = os.waitpid(agent, 0)
left = sorted(os.listdir(pins)) if os.path.isdir(pins) else []
agent = start()
told("READY=1")
time.sleep(0.5)
ended.set()
asking.join()
statuses = sorted({str(one.get("status", one.get("error"))) for one in answers})
restart = {
    "before": before, "asked": len(answers), "statuses": statuses, "ended": handed_over, "left": left,
    "slowest": max(one["seconds"] for one in answers),
}
os.kill(agent, signal.SIGTERM)
removed = "FDNAME=listener" in told("FDSTOREREMOVE=1")
_, ended = os.waitpid(agent, 0)
print(json.dumps({
    "stored": first, "waited": waited, "answer": answer, "restart": restart, "removed": removed, "ended": ended,
}))
