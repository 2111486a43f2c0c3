# Clients that ask one site for one path again and again, on connections that they keep and ever so often give up, until so
# many requests are done. A request on a kept connection that was closed without an answer is made once more on a new one,
# as every client does (RFC 9112 section 9.3.1). Prints what came of them.
import http.client, json, ssl, sys, threading

host, path, size, bundle, wanted = sys.argv[1:6]
size, wanted = int(size), int(wanted)
CLIENTS = 4
REQUESTS_OF_A_CONNECTION = 5
lock = threading.Lock()
left = wanted
failures, issuers, again = [], {}, 0


def connect():
    # Read anew: the authority may be a new one.
    context = ssl.create_default_context(cafile=bundle)
    connection = http.client.HTTPSConnection(host, context=context, timeout=30)
    connection.connect()
    issuer = dict(pair[0] for pair in connection.sock.getpeercert()["issuer"]).get("organizationName", "origin")
    with lock:
        issuers[issuer] = issuers.get(issuer, 0) + 1
    return connection


def ask(connection):
    connection.request("GET", path)
    answer = connection.getresponse()
    body = answer.read()
    if answer.status != 200 or len(body) != size:
        raise ValueError(f"status {answer.status}, {len(body)} octets")
    return not answer.will_close


def client():
    global left, again
    connection, used = None, 0
    while True:
        with lock:
            if left == 0:
                return
            left -= 1
        try:
            if connection is None:
                connection, used = connect(), 0
            try:
                keeps = ask(connection)
            except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError, ssl.SSLEOFError):
                if used == 0:
                    raise
                with lock:
                    again += 1
                connection, used = connect(), 0
                keeps = ask(connection)
            used += 1
            if not keeps or used == REQUESTS_OF_A_CONNECTION:
                connection.close()
                connection = None
        except Exception as error:
            connection = None
            with lock:
                failures.append(repr(error))


threads = [threading.Thread(target=client) for _ in range(CLIENTS)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(json.dumps({"failures": failures, "connections": issuers, "again": again}))
