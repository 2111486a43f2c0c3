//! Where a process belongs, from the path of its cgroup: the systemd unit and the container. Pure.
//!
//! Names below `user@UID.service` are chosen by that user, who may make any directory there; they are for the reader of
//! a record, nothing is decided by them.

use std::sync::Arc;

/// Longest unit or container kept, in bytes: a unit name has at most 255 (systemd.unit(5)), a user's has its manager's
/// name before it.
const MAX: usize = 512;
/// Digits of a container's id (OCI runtimes).
const ID: usize = 64;

/// Unit and container, each absent when there is none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    /// `cron.service`, `session-2.scope`, and `user@1000.service/app-firefox.scope` for one of a user's own manager.
    /// Escapes of systemd stay, as `systemctl` and the journal show them.
    pub unit: Option<Arc<str>>,
    /// `runtime://id`, as Kubernetes writes it: `docker://…`, `podman://…`, `containerd://…`, `cri-o://…`,
    /// `lxc://NAME`, `systemd-nspawn://NAME`; `oci://…` where the path does not name the runtime.
    pub container: Option<Arc<str>>,
}

impl Place {
    /// From the path below the cgroup root, as /proc/PID/cgroup has it.
    pub fn of(cgroup: &str) -> Self {
        let cgroup = cgroup.strip_suffix(" (deleted)").unwrap_or(cgroup);
        let components = || cgroup.split('/').filter(|part| !part.is_empty() && *part != "..");
        let mut container = None;
        let mut outside = 0;
        let mut above = "";
        for part in components() {
            outside += 1;
            // The innermost: containers run in containers.
            if let Some(found) = container_of(above, part) {
                container = Some((found, outside));
            }
            above = part;
        }
        // What is below a container is named by whoever is inside.
        let outside = container.as_ref().map_or(outside, |(_, depth)| *depth);
        let mut units = components().take(outside).filter(|part| is_unit(part));
        let unit = units.next().map(|first| match units.next() {
            Some(own) if first.starts_with("user@") => format!("{first}/{own}"),
            _ => first.to_owned(),
        });
        let kept = |text: String| (text.len() <= MAX).then(|| Arc::from(text));
        Self { unit: unit.and_then(kept), container: container.and_then(|(name, _)| kept(name)) }
    }
}

/// Whether processes can stand in a unit of this name.
fn is_unit(part: &str) -> bool {
    let stem = |kind| part.strip_suffix(kind).is_some_and(|stem: &str| !stem.is_empty());
    [".service", ".scope", ".socket", ".mount", ".swap"].into_iter().any(stem)
}

/// The container that a directory of this name, in one called `above`, belongs to.
fn container_of(above: &str, part: &str) -> Option<String> {
    let scope = part.strip_suffix(".scope").unwrap_or(part);
    for (prefix, runtime) in [
        ("docker-", "docker"),
        ("libpod-", "podman"),
        ("crio-", "cri-o"),
        ("cri-containerd-", "containerd"),
        ("nerdctl-", "containerd"),
        ("buildah-", "buildah"),
    ] {
        // Podman's `libpod-conmon-ID` is the monitor outside the container.
        if let Some(id) = scope.strip_prefix(prefix).filter(|id| is_id(id)) {
            return Some(format!("{runtime}://{id}"));
        }
    }
    // containerd where its driver and the kubelet's differ: `kubepods-….slice:cri-containerd:ID`.
    if let Some((front, id)) = part.rsplit_once(':')
        && is_id(id)
    {
        let runtime = if front.ends_with(":crio") { "cri-o" } else { "containerd" };
        return Some(format!("{runtime}://{id}"));
    }
    if is_id(part) {
        let runtime = if above == "docker" { "docker" } else { "oci" };
        return Some(format!("{runtime}://{part}"));
    }
    if let Some(name) = part.strip_prefix("lxc.payload.").or((above == "lxc").then_some(part)) {
        return Some(format!("lxc://{name}"));
    }
    let machine = part.strip_prefix("systemd-nspawn@").and_then(|rest| rest.strip_suffix(".service"));
    let machine = machine.or_else(|| part.strip_prefix("machine-")?.strip_suffix(".scope")).map(unescaped)?;
    // Virtual machines are registered alike; their processes are the hypervisor's, on this host.
    let hypervisor = ["qemu-", "kvm-", "lxc-"].into_iter().find(|kind| machine.starts_with(kind));
    match hypervisor {
        None => Some(format!("systemd-nspawn://{machine}")),
        Some("lxc-") => Some(format!("lxc://{}", machine.trim_start_matches("lxc-"))),
        Some(_) => None,
    }
}

fn is_id(text: &str) -> bool {
    text.len() == ID && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// Undoes systemd's `\xNN` (systemd.unit(5)); what is no such escape stays.
fn unescaped(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\\x") {
        bytes.extend_from_slice(before.as_bytes());
        match after.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                bytes.extend_from_slice(b"\\x");
                rest = after;
            }
        }
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const A: &str = "3f0b6a8d5c4e1f2a9b8c7d6e5f4a3b2c1d0e9f8a7b6c5d4e3f2a1b0c9d8e7f6a";

    #[track_caller]
    fn check(cgroup: &str, unit: Option<&str>, container: Option<&str>) {
        // `@` stands for an id.
        let with_id = |text: &str| text.replace('#', A);
        let place = Place::of(&with_id(cgroup));
        assert_eq!(place.unit.as_deref(), unit.map(with_id).as_deref(), "{cgroup}");
        assert_eq!(place.container.as_deref(), container.map(with_id).as_deref(), "{cgroup}");
    }

    #[test]
    fn units_of_the_system_and_of_users() {
        check("/", None, None);
        check("", None, None);
        check("/init.scope", Some("init.scope"), None);
        check("/system.slice/cron.service", Some("cron.service"), None);
        check("/system.slice/cron.service (deleted)", Some("cron.service"), None);
        check("/system.slice/system-getty.slice/getty@tty1.service", Some("getty@tty1.service"), None);
        check("/user.slice/user-1000.slice/session-2.scope", Some("session-2.scope"), None);
        let user = "/user.slice/user-1000.slice/user@1000.service";
        check(user, Some("user@1000.service"), None);
        for own in [
            "app-gnome-firefox-4711.scope",
            "app-flatpak-org.mozilla.firefox-4711.scope",
            "snap.firefox.firefox-1f1e9a3b-0000.scope",
            r"dbus-:1.2-org.gnome.Nautilus@0.service",
        ] {
            check(&format!("{user}/app.slice/{own}"), Some(&format!("user@1000.service/{own}")), None);
        }
        check("/system.slice/snap.cups.cupsd.service", Some("snap.cups.cupsd.service"), None);
        check("/../../system.slice/cron.service", Some("cron.service"), None);
        check("/pcHOST1/clients", None, None);
        check("/system.slice/.service", None, None);
        // A service's own sub-groups are no units, whatever they are called.
        check("/system.slice/web.service/forged.service", Some("web.service"), None);
    }

    #[test]
    fn containers_of_every_runtime() {
        check("/system.slice/docker-#.scope", Some("docker-#.scope"), Some("docker://#"));
        check("/docker/#", None, Some("docker://#"));
        check("/docker/#/system.slice/inner.service", None, Some("docker://#"));
        check("/machine.slice/libpod-#.scope/container", Some("libpod-#.scope"), Some("podman://#"));
        check("/machine.slice/libpod-conmon-#.scope", Some("libpod-conmon-#.scope"), None);
        check("/libpod_parent/libpod-#", None, Some("podman://#"));
        check(
            "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-#.scope/container",
            Some("user@1000.service/libpod-#.scope"),
            Some("podman://#"),
        );
        check(
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1_2.slice/cri-containerd-#.scope",
            Some("cri-containerd-#.scope"),
            Some("containerd://#"),
        );
        check("/kubepods.slice/kubepods-pod1.slice/crio-#.scope", Some("crio-#.scope"), Some("cri-o://#"));
        check("/kubepods/besteffort/pod1-2/#", None, Some("oci://#"));
        check(
            "/system.slice/containerd.service/kubepods-burstable-pod1.slice:cri-containerd:#",
            Some("containerd.service"),
            Some("containerd://#"),
        );
        check("/lxc.payload.web/init.scope", None, Some("lxc://web"));
        check("/lxc.monitor.web", None, None);
        check("/lxc/web", None, Some("lxc://web"));
        check(
            r"/machine.slice/machine-my\x2dbox.scope/payload/system.slice/x.service",
            Some(r"machine-my\x2dbox.scope"),
            Some("systemd-nspawn://my-box"),
        );
        check(
            "/machine.slice/systemd-nspawn@box.service/payload",
            Some("systemd-nspawn@box.service"),
            Some("systemd-nspawn://box"),
        );
        let machine = r"machine-qemu\x2d1\x2ddebian.scope";
        check(&format!("/machine.slice/{machine}/libvirt/emulator"), Some(machine), None);
        // The innermost of containers in containers.
        check("/docker/#/libpod-#", None, Some("podman://#"));
        check("/system.slice/docker-0123.scope", Some("docker-0123.scope"), None);
        check(&format!("/docker/{}", A.to_uppercase()), None, None);
    }

    proptest! {
        #[test]
        fn any_path_has_a_bounded_answer(path in "(/|[a-z@.:\\\\x]|docker-|\\.scope|user@|é|\\x{0}){0,200}") {
            let place = Place::of(&path);
            for name in [place.unit, place.container].into_iter().flatten() {
                prop_assert!(name.len() <= MAX);
            }
        }
    }
}
