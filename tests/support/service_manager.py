# A service manager as far as descriptors go: sd_notify(3) with FDSTORE=1, sd_listen_fds(3). It starts the agent, kills it,
# connects to the monitored name while no agent is there, and starts it again with what it left.
import json, os, select, signal, socket, ssl, sys, threading, time

binary, config, name, path, directory = sys.argv[1:6]
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
            stored.extend(descriptors)
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
os.kill(agent, signal.SIGTERM)
removed = "FDNAME=listener" in told("FDSTOREREMOVE=1")
_, ended = os.waitpid(agent, 0)
print(json.dumps({"stored": first, "waited": waited, "answer": answer, "removed": removed, "ended": ended}))
