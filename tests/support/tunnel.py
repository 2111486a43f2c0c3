"""A tunnel without a link layer between this network namespace and another: packets of IP, as a VPN hands them on.

    tunnel.py NAMESPACE NEAR FAR ADDRESS...

NEAR is the interface here, to which the addresses of the other end are routed; FAR the one there, by which everything goes.
"""

import ctypes
import fcntl
import os
import select
import stat
import struct
import subprocess
import sys

namespace, near, far, *addresses = sys.argv[1:]
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000


# Made at boot everywhere but in some containers.
DEVICE = "/dev/net/tun"
if not os.path.exists(DEVICE):
    os.makedirs(os.path.dirname(DEVICE), exist_ok=True)
    os.mknod(DEVICE, 0o666 | stat.S_IFCHR, os.makedev(10, 200))


def end(name, routes):
    tunnel = os.open(DEVICE, os.O_RDWR)
    fcntl.ioctl(tunnel, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
    subprocess.run(["ip", "link", "set", name, "up"], check=True)
    for route in routes:
        subprocess.run(["ip", *route, "dev", name], check=True)
    return tunnel


ends = [end(near, [["route", "replace", address] for address in addresses])]
with open(namespace) as other:
    if ctypes.CDLL(None, use_errno=True).setns(other.fileno(), 0):
        sys.exit(os.strerror(ctypes.get_errno()))
families = {address: "-6" if ":" in address else "-4" for address in addresses}
ends.append(end(far, [[families[address], "route", "replace", "default", "src", address] for address in addresses]))
print("open", flush=True)
while True:
    for ready in select.select(ends, [], [])[0]:
        os.write(ends[1 - ends.index(ready)], os.read(ready, 65536))
