#!/bin/busybox sh
# The guest's first and only script: mounts what a system has, loads the programs, runs the tests, says how it went.
# The lines that begin with "vm-test:" are read by verdict.rs.
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH HOME=/root LANG=C.UTF-8
b=/bin/busybox
$b mount -t proc proc /proc
$b mount -t sysfs sys /sys
$b mount -t devtmpfs dev /dev
$b mkdir -p /dev/shm /dev/pts
$b mount -t devpts devpts /dev/pts
$b mount -t tmpfs tmp /tmp
$b mount -t tmpfs run /run
$b chmod 1777 /tmp
$b mount -t cgroup2 cgroup2 /sys/fs/cgroup
$b mount -t bpf bpf /sys/fs/bpf
$b ln -sf /proc/self/fd /dev/fd
$b ip link set lo up
$b hostname guest
echo "vm-test: Linux $($b uname -r) is up after $($b cut -d' ' -f1 /proc/uptime) s"

echo "vm-test: doctor $(/vm/portcullis doctor --json --config /vm/portcullis.toml)"

if [ -x /vm/it ]; then
    PORTCULLIS_BIN=/vm/portcullis
    PORTCULLIS_LAB_PATIENCE=$($b cat /vm/patience)
    # Debian's kernels have it: a test that finds none would pass for the wrong reason.
    PORTCULLIS_TEST_KERNEL_TLS=required
    export PORTCULLIS_BIN PORTCULLIS_LAB_PATIENCE PORTCULLIS_TEST_KERNEL_TLS
    $b xargs /vm/it --test-threads=2 < /vm/filters
    echo "vm-test: tests ended with $?"
fi
$b dmesg | $b grep -iE 'Kernel panic|BUG:|WARNING:|Call Trace|oom-kill' | $b head -n 20
echo "vm-test: up for $($b cut -d' ' -f1 /proc/uptime) s"
echo "vm-test: end"
$b poweroff -f
