"""One connection, made in the way named: each fetches PATH of HOST in clear text and prints who it was that connected,
whom it takes itself to be talking to, and what it was answered. Names are resolved by the system unless said otherwise."""

import array
import ctypes
import errno
import http.client
import json
import mmap
import os
import select
import socket
import struct
import sys
import threading

kind, host, path, second_host = sys.argv[1:5]
PORT = 80
libc = ctypes.CDLL(None, use_errno=True)
CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
MSG_FASTOPEN, TCP_FASTOPEN_CONNECT, IPPROTO_MPTCP = 0x20000000, 30, 262
IP_BIND_ADDRESS_NO_PORT, SO_BINDTODEVICE = 24, 25
REQUEST = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept: */*\r\n\r\n".encode()


def address(family=socket.AF_INET, name=host):
    return socket.getaddrinfo(name, PORT, family, socket.SOCK_STREAM)[0][4]


def tcp(family=socket.AF_INET, protocol=0):
    made = socket.socket(family, socket.SOCK_STREAM, protocol)
    made.settimeout(20)
    return made


def fetch(connection, send=True):
    """The answer on a connection, and how it looks from here."""
    if send:
        connection.sendall(REQUEST)
    reply = http.client.HTTPResponse(connection, method="GET")
    reply.begin()
    reply.read()
    peer = connection.getpeername()
    return {"status": reply.status, "activity": reply.getheader("X-Portcullis-Activity"), "peer": list(peer[:2])}


def say(answer, connector=None):
    print(json.dumps({"connector": connector or os.getpid(), **answer}), flush=True)


def missing(error):
    print(json.dumps({"missing": errno.errorcode.get(error.errno, str(error))}), flush=True)
    sys.exit(0)


def checked(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def plain(connection=None, to=None):
    connection = connection or tcp()
    connection.connect(to or address())
    say(fetch(connection))


def in_child(work):
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def thread():
    other = threading.Thread(target=plain)
    other.start()
    other.join()


def forked():
    sys.exit(in_child(plain))


def inherited():
    """Connected here, used by a child."""
    connection, connector = tcp(), os.getpid()
    connection.connect(address())
    sys.exit(in_child(lambda: say(fetch(connection), connector)))


def passed():
    """Connected by a child, used here."""
    ours, theirs = socket.socketpair()
    connector = os.fork()
    if connector == 0:
        connection = tcp()
        connection.connect(address())
        theirs.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [connection.fileno()]))])
        theirs.recv(1)
        os._exit(0)
    _, ancillary, _, _ = ours.recvmsg(1, socket.CMSG_SPACE(4))
    connection = socket.socket(fileno=array.array("i", ancillary[0][2])[0])
    connection.settimeout(20)
    say(fetch(connection), connector)
    ours.send(b"x")
    os.waitpid(connector, 0)


def epoll():
    connection = tcp()
    connection.setblocking(False)
    assert connection.connect_ex(address()) == errno.EINPROGRESS
    poll = select.epoll()
    poll.register(connection, select.EPOLLOUT)
    assert poll.poll(20)[0][1] & select.EPOLLOUT
    assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
    # A second connect() asks whether the first has come through.
    assert connection.connect_ex(address()) in (0, errno.EISCONN)
    connection.settimeout(20)
    say(fetch(connection))


def bound(source, family=socket.AF_INET, option=None):
    connection = tcp(family)
    if option:
        connection.setsockopt(*option)
    connection.bind(source)
    plain(connection, address(family))


def device():
    connection = tcp()
    connection.setsockopt(socket.SOL_SOCKET, SO_BINDTODEVICE, b"pc0\0")
    plain(connection)


def again():
    """To another site first, then disconnected, then to the one asked for."""
    connection = tcp()
    connection.connect(address(name=second_host))
    unspecified = struct.pack("=H14x", socket.AF_UNSPEC)
    checked(libc.connect(connection.fileno(), unspecified, len(unspecified)))
    plain(connection)


def away_again():
    """To the site asked for first, then disconnected, then to another, which is what it must talk to then."""
    connection = tcp()
    connection.connect(address())
    unspecified = struct.pack("=H14x", socket.AF_UNSPEC)
    checked(libc.connect(connection.fileno(), unspecified, len(unspecified)))
    connection.connect(address(name=second_host))
    connection.sendall(REQUEST.replace(host.encode(), second_host.encode()))
    say(fetch(connection, send=False))


def mapped():
    to = address()
    plain(tcp(socket.AF_INET6), ("::ffff:" + to[0], to[1]))


def reuse():
    """Two sockets with one source port: what is natural towards two addresses is none towards one listener."""
    connections = []
    for name in (host, second_host):
        connection = tcp()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        connection.bind(connections[0].getsockname() if connections else ("198.18.0.2", 0))
        connections.append(connection)
        try:
            connection.connect(address(name=name))
        except OSError as error:
            say({"second": errno.errorcode[error.errno], **fetch(connections[0])})
            return
    say({"second": "connected", **fetch(connections[0])})


def mptcp():
    try:
        connection = tcp(protocol=IPPROTO_MPTCP)
    except OSError as error:
        missing(error)
    plain(connection)


def fast_open():
    connection = tcp()
    # A time limit would make the socket non-blocking, and that the first time a mere request for a cookie.
    connection.settimeout(None)
    connection.sendto(REQUEST, MSG_FASTOPEN, address())
    connection.settimeout(20)
    say(fetch(connection, send=False))


def fast_open_connect():
    connection = tcp()
    connection.setsockopt(socket.IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1)
    plain(connection)


def io_uring():
    """IORING_OP_CONNECT by hand (linux/io_uring.h): one entry submitted, one completion waited for."""
    SETUP, ENTER, OP_CONNECT, GETEVENTS = 425, 426, 16, 1
    parameters = ctypes.create_string_buffer(120)
    try:
        ring = checked(libc.syscall(SETUP, 4, parameters))
    except OSError as error:
        missing(error)
    sq_entries, cq_entries = struct.unpack_from("=II", parameters)
    sq = struct.unpack_from("=8I", parameters, 40)
    cq = struct.unpack_from("=8I", parameters, 80)
    queue = mmap.mmap(ring, sq[6] + sq_entries * 4, offset=0)
    completions = mmap.mmap(ring, cq[5] + cq_entries * 16, offset=0x8000000)
    entries = mmap.mmap(ring, sq_entries * 64, offset=0x10000000)
    connection = tcp()
    connection.setblocking(True)
    to = address()
    name = struct.pack("=H", socket.AF_INET) + struct.pack("!H", to[1]) + socket.inet_aton(to[0]) + bytes(8)
    kept = ctypes.create_string_buffer(name, len(name))
    # opcode flags ioprio fd off(address length) addr len op_flags user_data
    struct.pack_into("=BBHiQQIIQ", entries, 0, OP_CONNECT, 0, 0, connection.fileno(), len(name),
                     ctypes.addressof(kept), 0, 0, 7)
    struct.pack_into("=I", queue, sq[6], 0)
    struct.pack_into("=I", queue, sq[1], struct.unpack_from("=I", queue, sq[1])[0] + 1)
    checked(libc.syscall(ENTER, ring, 1, 1, GETEVENTS, None, 0))
    user_data, result = struct.unpack_from("=Qi", completions, cq[5])
    assert (user_data, result) == (7, 0), (user_data, result)
    connection.settimeout(20)
    say(fetch(connection))


def unshared(flags):
    ctypes.set_errno(0)
    try:
        checked(libc.unshare(flags))
    except OSError as error:
        missing(error)


def user_namespace():
    unshared(CLONE_NEWUSER)
    plain()


def kept_socket():
    """A socket that its maker takes along into a network namespace of its own: it still connects from the old one."""
    connection, to = tcp(), address()
    unshared(CLONE_NEWUSER | CLONE_NEWNET)
    plain(connection, to)


def question(name):
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return struct.pack("!HHHHHH", 0x1234, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!HH", 1, 1)


def first_address(answer):
    """The first A record, wherever it stands: names are skipped, not read."""
    at = 12
    def skip(at):
        while answer[at] and answer[at] < 0xC0:
            at += answer[at] + 1
        return at + (2 if answer[at] else 1)
    at = skip(at) + 4
    for _ in range(struct.unpack_from("!H", answer, 6)[0]):
        at = skip(at)
        record, _, _, length = struct.unpack_from("!HHIH", answer, at)
        at += 10
        if record == 1:
            return socket.inet_ntoa(answer[at:at + length])
        at += length
    raise ValueError("no address")


def own_resolver(connected):
    """As a static program with its own resolver: no libc, no configuration, one datagram."""
    resolver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    resolver.settimeout(20)
    if connected:
        resolver.connect(("198.18.0.1", 53))
        resolver.send(question(host))
    else:
        resolver.sendto(question(host), ("198.18.0.1", 53))
    plain(to=(first_address(resolver.recv(4096)), PORT))


def dns_over_tcp():
    resolver = tcp()
    resolver.connect(("198.18.0.1", 53))
    asked = question(host)
    resolver.sendall(struct.pack("!H", len(asked)) + asked)
    stream = resolver.makefile("rb")
    length, = struct.unpack("!H", stream.read(2))
    plain(to=(first_address(stream.read(length)), PORT))


KINDS = {
    "plain": plain,
    "thread": thread,
    "forked": forked,
    "inherited": inherited,
    "passed": passed,
    "epoll": epoll,
    "bound-address": lambda: bound(("198.18.0.2", 0)),
    "bound-address-v6": lambda: bound(("fd18::2", 0), socket.AF_INET6),
    # Below the range the system hands out, another for each process: the last one may still wait for its end.
    "bound-port": lambda: bound(("0.0.0.0", 20000 + os.getpid() % 10000)),
    "bound-without-port": lambda: bound(("198.18.0.2", 0), option=(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)),
    "device": device,
    "again": again,
    "away-again": away_again,
    "mapped": mapped,
    "reuse": reuse,
    "mptcp": mptcp,
    "fast-open": fast_open,
    "fast-open-connect": fast_open_connect,
    "io-uring": io_uring,
    "user-namespace": user_namespace,
    "kept-socket": kept_socket,
    "own-resolver": lambda: own_resolver(False),
    "own-resolver-connected": lambda: own_resolver(True),
    "dns-over-tcp": dns_over_tcp,
}
KINDS[kind]()
