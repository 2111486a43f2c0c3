# The service manager starts the agent and restarts it, as `systemctl restart` does with RestartKillSignal=SIGUSR1, again and
# again until SIGTERM; then it stops it and says how that went.
PAUSE_S = 2
stopping = []
signal.signal(signal.SIGTERM, lambda *_: stopping.append(True))
agent = start()
told("READY=1")
print("service manager: ready", flush=True)
restarts, failed = 0, []
while not stopping:
    time.sleep(PAUSE_S)
    os.kill(agent, signal.SIGUSR1)
    _, status = os.waitpid(agent, 0)
    if status != 0:
        failed.append(status)
    agent = start()
    told("READY=1", 60)
    restarts += 1
os.kill(agent, signal.SIGTERM)
_, ended = os.waitpid(agent, 0)
print(json.dumps({"restarts": restarts, "failed": failed, "ended": ended}), flush=True)
