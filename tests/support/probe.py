"""One connection made by hand: which address it dials, whom it takes itself to be talking to, what it is answered."""

import base64
import http.client
import json
import socket
import ssl
import sys

order = json.loads(sys.argv[1])
host, family, port = order["host"], order["family"], order.get("port", 443)
inet = socket.AF_INET6 if family == "v6" else socket.AF_INET
resolved = [entry[4][0] for entry in socket.getaddrinfo(host, port, inet, socket.SOCK_STREAM)]
address = resolved[0]
if family == "mapped":
    address = "::ffff:" + address

connection = socket.socket(socket.AF_INET if family == "v4" else socket.AF_INET6, socket.SOCK_STREAM)
connection.settimeout(20)
connection.connect((address, port))
answer = {"dialled": address, "peer": connection.getpeername()[:2], "issuer": None, "replies": []}
if port == 443:
    context = ssl.create_default_context(cafile=order["trust"])
    connection = context.wrap_socket(connection, server_hostname=host)
    issuer = dict(part[0] for part in connection.getpeercert()["issuer"])
    answer["issuer"] = issuer.get("commonName")

# Every path over the same connection: a block must not end it.
for path in order["paths"]:
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept: */*\r\nUser-Agent: lab-probe\r\n\r\n".encode())
    reply = http.client.HTTPResponse(connection, method="GET")
    reply.begin()
    body = reply.read()
    answer["replies"].append(
        {"status": reply.status, "headers": reply.getheaders(), "body": base64.b64encode(body).decode()}
    )
print(json.dumps(answer))
