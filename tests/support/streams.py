"""One HTTP/2 connection, every path on a stream of its own, all of them at once: what each was answered."""

import base64
import json
import socket
import ssl
import sys

import h2.config
import h2.connection
import h2.events

order = json.loads(sys.argv[1])
host = order["host"]
context = ssl.create_default_context(cafile=order["trust"])
context.set_alpn_protocols(["h2"])
address = socket.getaddrinfo(host, 443, socket.AF_INET, socket.SOCK_STREAM)[0][4]
stream = context.wrap_socket(socket.create_connection(address, timeout=20), server_hostname=host)
assert stream.selected_alpn_protocol() == "h2", stream.selected_alpn_protocol()
connection = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
connection.initiate_connection()
replies = []
for number, path in enumerate(order["paths"]):
    fields = [(":method", "GET"), (":scheme", "https"), (":authority", host), (":path", path), ("accept", "*/*")]
    connection.send_headers(2 * number + 1, fields, end_stream=True)
    replies.append({"status": 0, "headers": [], "body": b""})
open_streams = len(replies)
while open_streams:
    stream.sendall(connection.data_to_send())
    octets = stream.recv(65536)
    assert octets, "the connection ended early"
    for event in connection.receive_data(octets):
        if isinstance(event, h2.events.ResponseReceived):
            reply = replies[event.stream_id // 2]
            reply["status"] = int(dict(event.headers)[":status"])
            reply["headers"] = [pair for pair in event.headers if not pair[0].startswith(":")]
        elif isinstance(event, h2.events.DataReceived):
            replies[event.stream_id // 2]["body"] += event.data
            connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded):
            open_streams -= 1
        elif isinstance(event, (h2.events.StreamReset, h2.events.ConnectionTerminated)):
            raise SystemExit(f"{event}")
for reply in replies:
    reply["body"] = base64.b64encode(reply["body"]).decode()
print(json.dumps(replies))
