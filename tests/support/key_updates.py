"""OpenSSL's s_server as an origin of HTTP/1.1 that asks for new keys before each answer.

`ADDRESS CERTIFICATE KEY`: answers every GET with its number, and prints what OpenSSL prints of the handshake messages
that come and go. OpenSSL takes the commands on its standard input, one a read: `K` updates its keys and asks the peer to
do the same.
"""

import subprocess
import sys
import time

address, certificate, key = sys.argv[1:]
command = ["openssl", "s_server", "-accept", f"{address}:443", "-cert", certificate, "-key", key, "-tls1_3", "-msg"]
server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def type_in(octets):
    server.stdin.write(octets)
    server.stdin.flush()
    # Two that are read together would be one.
    time.sleep(0.2)


answers = 0
for line in server.stdout:
    sys.stdout.write(line.decode("latin-1"))
    sys.stdout.flush()
    if line.startswith(b"GET "):
        answers += 1
        body = b"answer %d\n" % answers
        type_in(b"K\n")
        type_in(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
