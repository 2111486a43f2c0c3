"""Asks one host for every path of a file, one after another; prints for each, as JSON, the status, the SHA-256 of the body
as it came over the wire (chunks joined), and whether the text `mark` stands in it."""

import hashlib
import http.client
import json
import ssl
import sys

host, paths, trust, mark = sys.argv[1:]
context = ssl.create_default_context(cafile=trust)
context.set_alpn_protocols(["http/1.1"])
connection = http.client.HTTPSConnection(host, context=context, timeout=20)
seen = {}
for path in json.load(open(paths, encoding="utf-8")):
    for attempt in range(2):
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            body = answer.read()
            seen[path] = [answer.status, hashlib.sha256(body).hexdigest(), mark.encode() in body]
            break
        except (OSError, http.client.HTTPException) as error:
            # The first time it may be the connection that was closed in between.
            seen[path] = [0, f"{type(error).__name__}: {error}", False]
            connection.close()
json.dump(seen, sys.stdout)
