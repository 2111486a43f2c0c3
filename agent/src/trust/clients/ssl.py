import socket
import ssl
import sys

name, port = sys.argv[1], int(sys.argv[2])
raw = socket.create_connection(("127.0.0.1", port), 20)
with ssl.create_default_context().wrap_socket(raw, server_hostname=name) as stream:
    stream.sendall(b"GET / HTTP/1.0\r\n\r\n")
    stream.recv(4096)
