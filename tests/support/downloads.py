# Clients that download one file so often a second, all of them together, whatever becomes of their connections, until
# SIGTERM. Prints how many requests they made and how many files arrived whole.
import hashlib, http.client, json, signal, ssl, sys, threading, time

host, path, digest, bundle, rate = sys.argv[1:6]
CLIENTS = 8
REQUESTS_OF_A_CONNECTION = 5
lock = threading.Lock()
made, whole, stopping = 0, 0, threading.Event()
context = ssl.create_default_context(cafile=bundle)


def download(connection):
    connection.request("GET", path)
    answer = connection.getresponse()
    body = answer.read()
    return answer.status == 200 and hashlib.sha256(body).hexdigest() == digest


def client(offset):
    global made, whole
    connection, used = None, 0
    begun, number = time.monotonic() + offset / float(rate), 0
    while not stopping.wait(max(0, begun + number * CLIENTS / float(rate) - time.monotonic())):
        number += 1
        with lock:
            made += 1
        try:
            if connection is None:
                connection, used = http.client.HTTPSConnection(host, context=context, timeout=10), 0
            if download(connection):
                with lock:
                    whole += 1
            used += 1
            if used == REQUESTS_OF_A_CONNECTION:
                connection.close()
                connection = None
        except (OSError, http.client.HTTPException):
            connection = None


signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
started = time.monotonic()
threads = [threading.Thread(target=client, args=[number]) for number in range(CLIENTS)]
for thread in threads:
    thread.start()
signal.sigwait({signal.SIGTERM})
stopping.set()
for thread in threads:
    thread.join()
print(json.dumps({"made": made, "whole": whole, "seconds": round(time.monotonic() - started, 1)}), flush=True)
