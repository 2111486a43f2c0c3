#!/bin/bash
# Runs in the guest, under its systemd: installs the package, uses it, upgrades it, purges it. Every line that begins with
# "trial:" is read by trial.rs.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive
cd /trial || exit 1

check() {
    local what=$1
    shift
    if "$@" >out 2>&1; then
        echo "trial: PASS $what"
    else
        echo "trial: FAIL $what"
        tail -n 25 out | sed 's/^/    /'
        journalctl --no-pager --unit portcullis --unit portcullis-signer --output cat --lines 15 | sed 's/^/    journal: /'
    fi
}
# Everything a package could leave: files, users, kernel objects, rules, what the system trusts.
inventory() {
    {
        find / -xdev \( -path /trial -o -path /var/lib/dpkg -o -path /var/log -o -path /var/cache -o -path /var/tmp \
            -o -path /var/lib/systemd -o -path /var/lib/private -o -path /root \) -prune -o \
            ! -name '*-' ! -name .pwd.lock ! -name .updated -printf '%p %y %m %u %g %l\n'
        find /etc -xdev -type f ! -name '*-' ! -name .pwd.lock ! -name .updated -exec sha256sum {} +
        getent passwd
        getent group
        bpftool --json prog show | grep -o '"name":"pc_[^"]*"'
        ls -A /sys/fs/bpf
        ip rule
        ip route show table all | grep 20547
    } 2>/dev/null | sort
}
until_ok() {
    for _ in $(seq 120); do
        "$@" && return 0
        sleep 0.5
    done
    return 1
}
installs() { dpkg --install "$1"; }
runs() { until_ok systemctl --quiet is-active portcullis && portcullis status; }
download() { curl --silent --show-error --max-time 60 --output "$1" --write-out '%{http_code}' "https://files.corp.test/$2"; }
blocks() {
    local status
    status=$(download blocked report.docx)
    cat blocked
    [ "$status" = 403 ] && grep -q 'Download blocked. Downloading report.docx is blocked' blocked && ! grep -q SECRET blocked
}
passes() {
    local status
    status=$(download page index.html)
    cat page
    [ "$status" = 200 ] && grep -q 'a page' page
}
adds_the_app() {
    cp app.toml /etc/portcullis/apps.d/corp.toml
    cp policy.toml /etc/portcullis/policies.d/10-corp.toml
    # An authority vouches for the catalog it was made for.
    portcullis ca init --force && portcullis ca trust && systemctl restart portcullis
}
is_healthy() { portcullis doctor && portcullis status; }
is_not_root() {
    local pid
    pid=$(systemctl show --property MainPID --value portcullis)
    grep -E '^(Uid|Cap|NoNewPrivs|Seccomp):' "/proc/$pid/status"
    cat "/proc/$pid/status"
    [ "$(stat -c %U "/proc/$pid")" = portcullis ] && [ "$(sed -n 's/^CapEff:\t//p' "/proc/$pid/status")" = 000000c000081000 ]
}
key_is_out_of_reach() {
    local key=/var/lib/portcullis/ca/issuing.key
    ls -la /var/lib/portcullis/ca
    [ "$(stat -c '%U %a' $key)" = 'root 600' ] || return 1
    runuser -u portcullis -- cat /var/lib/portcullis/ca/ca.pem >/dev/null || return 1
    ! runuser -u portcullis -- cat $key
}
signer_is_alone() {
    local pid
    pid=$(systemctl show --property MainPID --value portcullis-signer)
    grep -E '^(Uid|CapEff|NoNewPrivs|Seccomp):' "/proc/$pid/status"
    [ "$(sed -n 's/^CapEff:\t//p' "/proc/$pid/status")" = 0000000000000000 ] || return 1
    [ "$(stat -c %U "/proc/$pid")" != portcullis ] && [ "$(stat -c %u "/proc/$pid")" != 0 ] || return 1
    [ "$(readlink "/proc/$pid/ns/net")" != "$(readlink /proc/1/ns/net)" ] || return 1
    systemd-analyze --no-pager security --threshold=5 portcullis-signer.service
}
signer_comes_back() {
    kill -KILL "$(systemctl show --property MainPID --value portcullis-signer)"
    # The next agent has no certificate yet: its first question is answered by the next signer.
    systemctl restart portcullis && blocks
}
comes_back() {
    local pid
    pid=$(systemctl show --property MainPID --value portcullis)
    kill -KILL "$pid"
    until_ok sh -c "[ \"\$(systemctl show --property MainPID --value portcullis)\" != $pid ] && systemctl --quiet is-active portcullis" && blocks
}
restarts_without_a_gap() {
    local asking
    while [ ! -e answered ]; do
        download again report.docx
        echo
    done >statuses 2>/dev/null &
    asking=$!
    sleep 1
    systemctl restart portcullis && runs && blocks
    touch answered
    wait "$asking"
    sort statuses | uniq -c
    journalctl --no-pager --unit portcullis --output cat --lines 40 | grep -E 'wait for the next agent|restarts: programs and pins stay' | sort -u
    # What the next agent took too long for may be refused (000), nothing may pass.
    [ "$(journalctl --no-pager --unit portcullis --output cat | grep -c 'restarts: programs and pins stay')" -ge 1 ] &&
        grep -q '^403$' statuses && ! grep -qvE '^(403|000)$' statuses
}
reloads() { systemctl reload portcullis; }
nothing_in_kernel() {
    bpftool --json prog show | grep -o '"name":"pc_[^"]*"'
    ls -lA /sys/fs/bpf
    [ -z "$(bpftool --json prog show | grep -o '"name":"pc_[^"]*"')" ] && [ ! -e /sys/fs/bpf/portcullis ]
}
stops() { systemctl stop portcullis && until_ok nothing_in_kernel; }
starts() { systemctl start portcullis; }
records() { portcullis activity --json | grep -q '"report.docx"'; }
upgrades() { dpkg --install "$1" && [ -e /etc/portcullis/policies.d/10-corp.toml ] && runs; }
removes() { dpkg --remove portcullis && ! grep -rq Portcullis /usr/local/share/ca-certificates && [ -e /var/lib/portcullis/activity.db ]; }
purges() { dpkg --purge portcullis; }
leaves_nothing() {
    inventory >after
    diff before after
}
is_exposed_little() { systemd-analyze --no-pager security --threshold=20 portcullis.service; }
says_no_error() { ! journalctl --no-pager --unit portcullis --priority err --output cat | grep .; }

echo "trial: $(uname -r), systemd $(systemctl --version | sed -n '1s/systemd \([0-9]*\).*/\1/p'), up for $(cut -d' ' -f1 /proc/uptime) s"
# The origin: a name server and a web server on addresses of this machine, its authority trusted by the system.
ip link set lo up
ip address add 198.18.0.1/32 dev lo
ip address add 198.18.0.10/32 dev lo
echo 'nameserver 198.18.0.1' >/etc/resolv.conf
cp origin-ca.pem /usr/local/share/ca-certificates/origin.crt
update-ca-certificates >/dev/null 2>&1
dnsmasq --conf-file=/dev/null --no-resolv --no-hosts --listen-address=198.18.0.1 --bind-interfaces --user=root --pid-file= \
    --host-record=files.corp.test,198.18.0.10 || echo "trial: FAIL dnsmasq does not start"
mkdir -p origin && echo 'a page' >origin/index.html && echo 'SECRET' >origin/report.docx
nginx -c /trial/nginx.conf || echo "trial: FAIL nginx does not start"

inventory >before
check 'the package installs' installs portcullis_1.deb
check 'the service runs' runs
check 'it is not root, and has four capabilities' is_not_root
check 'systemd finds it little exposed' is_exposed_little
check 'an app of the administrator is taken up, with an authority for it' adds_the_app
check 'the service runs again' runs
check 'a download is blocked' blocks
check 'a page passes' passes
check 'the activity log has the download' records
check 'the agent cannot read the issuing key' key_is_out_of_reach
check 'the signer has no network, no rights, and a user of its own' signer_is_alone
check 'a signer that was killed is started by the next question' signer_comes_back
check 'doctor and status find nothing wrong' is_healthy
check 'a reload is answered' reloads
check 'a restart lets nothing pass' restarts_without_a_gap
check 'killed, it is started again and goes on blocking' comes_back
check 'an orderly stop leaves nothing in the kernel' stops
check 'it starts again' starts
check 'an upgrade keeps configuration and service' upgrades portcullis_2.deb
check 'after the upgrade a download is blocked' blocks
check 'nothing was logged as an error' says_no_error
check 'removal takes the authority out of the trust stores and keeps the log' removes
check 'the package purges' purges
check 'nothing is left: files, users, kernel, trust' leaves_nothing
echo "trial: up for $(cut -d' ' -f1 /proc/uptime) s"
echo "vm-test: end"
systemctl poweroff --force
