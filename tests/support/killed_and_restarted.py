# The service manager starts the agent, kills it, connects to the monitored name while no agent is there, starts it again with
# what it left, and restarts it under load.
import ssl, threading

name, path, pins = sys.argv[4:7]


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
