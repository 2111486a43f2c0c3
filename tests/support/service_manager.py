# A service manager as far as descriptors go: sd_notify(3) with FDSTORE=1, sd_listen_fds(3). What it does with the agent is
# another file behind this one.
import json, os, select, signal, socket, sys, time

binary, config, directory = sys.argv[1:4]
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
