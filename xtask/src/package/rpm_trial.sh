#!/bin/bash
# Runs with namespaces of its own for mounts and network: installs the .rpm into a root that rpm knows nothing of yet, upgrades
# it, erases it. Arguments: the tree of a system, a scratch directory, two releases. Every line that begins with "trial:" is read
# by rpm_trial.rs.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8
system=$1 scratch=$2 first=$3 second=$4
root=$scratch/root
cd "$scratch" || exit 1

check() {
    local what=$1
    shift
    if "$@" >out 2>&1; then
        echo "trial: PASS $what"
    else
        echo "trial: FAIL $what"
        tail -n 25 out | sed 's/^/    /'
    fi
}
# rpm ends with 0 although a script of a package failed, and says so.
package_manager() {
    rpm --root "$root" "$@" >said 2>&1 || { cat said; return 1; }
    cat said
    ! grep -Eiq 'warning|error|fail' said
}
inside() { chroot "$root" "$@"; }
inventory() {
    {
        find "$root" -xdev \( -path "$root/var/lib/rpm" -o -path "$root/var/log" -o -path "$root/var/cache" -o -path "$root/var/tmp" \
            -o -path "$root/root" -o -path "$root/proc" \) -prune -o \
            ! -name '*-' ! -name .pwd.lock ! -name .updated -printf '/%P %y %m %u %g %l\n'
        find "$root/etc" -xdev -type f ! -name '*-' ! -name .pwd.lock ! -name .updated -exec sha256sum {} +
    } 2>/dev/null | sort
}
# What the package requires is there, but dpkg installed it and rpm's database does not have it: --nodeps.
installs() { package_manager --install --nodeps "$first"; }
is_as_packaged() { package_manager --verify --nodeps portcullis; }
has_user_and_directories() {
    inside getent passwd portcullis
    inside stat -c '%U %a %n' /var/lib/portcullis /etc/portcullis/policies.d
    [ "$(inside stat -c '%U %a' /var/lib/portcullis)" = 'portcullis 700' ] &&
        [ "$(inside stat -c '%U %a' /etc/portcullis/policies.d)" = 'root 755' ]
}
runs() { inside portcullis --version && inside portcullis policy list; }
is_trusted() {
    inside portcullis ca init && inside portcullis ca trust || return 1
    grep -rl Portcullis "$root/usr/local/share/ca-certificates"
    ! cmp "$root/etc/ssl/certs/ca-certificates.crt" bundle
}
upgrades() {
    echo '# ours' >>"$root/etc/portcullis/portcullis.toml"
    echo '# ours' >"$root/etc/portcullis/policies.d/10-ours.toml"
    package_manager --upgrade --nodeps "$second" || return 1
    [ "$(rpm --root "$root" --query --queryformat '%{RELEASE}' portcullis)" = 2 ] || return 1
    grep -q '^# ours' "$root/etc/portcullis/portcullis.toml" && [ -e "$root/etc/portcullis/policies.d/10-ours.toml" ] &&
        ! cmp -s "$root/etc/ssl/certs/ca-certificates.crt" bundle && has_user_and_directories
}
erases() {
    # It says that it keeps the settings that were changed.
    rpm --root "$root" --erase portcullis >said 2>&1 || { cat said; return 1; }
    cat said
    ! grep -v 'saved as .*rpmsave$' said | grep -Eiq 'warning|error|fail' || return 1
    ls -R "$root/etc/portcullis" "$root/var/lib/portcullis"
    [ -e "$root/var/lib/portcullis/ca/ca.pem" ] && grep -q '^# ours' "$root/etc/portcullis/portcullis.toml.rpmsave" &&
        [ -e "$root/etc/portcullis/policies.d/10-ours.toml" ] && [ ! -e "$root/usr/bin/portcullis" ]
}
is_not_trusted() { ! grep -rl Portcullis "$root/usr/local/share/ca-certificates" && cmp "$root/etc/ssl/certs/ca-certificates.crt" bundle; }
leaves_nothing() {
    rm -r "$root/etc/portcullis" "$root/var/lib/portcullis"
    inside userdel portcullis
    inside getent group portcullis && inside groupdel portcullis
    inventory >after
    diff before after
}

mkdir -p root upper work &&
    mount -t overlay overlay -o "lowerdir=$system,upperdir=$scratch/upper,workdir=$scratch/work" root &&
    mount -t proc proc root/proc && rpm --root "$root" --initdb || exit 1
echo "trial: $(rpm --version), a root without packages"
inside update-ca-certificates >/dev/null 2>&1
cp "$root/etc/ssl/certs/ca-certificates.crt" bundle
inventory >before
check 'rpm installs the package, and its scripts run' installs
check 'every file is as the package says' is_as_packaged
check 'the user and the directories are there' has_user_and_directories
check 'the program runs' runs
check 'an authority is made and trusted' is_trusted
check 'an upgrade keeps settings, policies, authority and trust' upgrades
check 'rpm erases the package, and keeps what is the administrator'\''s' erases
check 'the authority is out of the trust store' is_not_trusted
check 'beyond that nothing is left' leaves_nothing
