//! Checks of the host around the kernel: rights, cgroups, limits, ports, clock.

use jiff::SignedDuration;

use super::{Answer, CAPABILITIES, Check, Daemon, Facts, Port, PortState, Release};

/// Memory of programs and maps counts for the cgroup since this release, before it for RLIMIT_MEMLOCK.
const COUNTED_BY_CGROUP: Release = Release { major: 5, minor: 11 };
/// What maps and programs take, in bytes, where the limit counts.
const LOCKED_MEMORY: u64 = 64 << 20;
/// A clock may be behind the file system that the agent was copied from.
const CLOCK_SLACK: SignedDuration = SignedDuration::from_hours(24);

pub(super) fn checks(facts: &Facts) -> Vec<Check> {
    let mut checks =
        vec![capabilities(facts), cgroup(facts), locked_memory(facts), ipv6(facts), clock(facts)];
    checks.extend(facts.ports.iter().map(|port| of_port(port, &facts.daemon)));
    checks
}

fn capabilities(facts: &Facts) -> Check {
    let name = "capabilities";
    let missing = facts.capabilities.missing();
    if missing.is_empty() {
        return Check::ok(name, CAPABILITIES.map(|(name, ..)| name).join(" "));
    }
    if missing.len() == CAPABILITIES.len() && !facts.is_root {
        return Check::skipped(name, "not checked: needs root");
    }
    let uses: Vec<String> = CAPABILITIES
        .iter()
        .filter(|(name, ..)| missing.contains(name))
        .map(|(name, _, purpose)| format!("{name} ({purpose})"))
        .collect();
    Check::failed(
        name,
        format!("missing: {}", uses.join(", ")),
        "give them in the unit's CapabilityBoundingSet, or to the container",
    )
}

fn cgroup(facts: &Facts) -> Check {
    match &facts.cgroup {
        Ok(path) => Check::ok("cgroup", format!("version 2 at {}", path.display())),
        Err(why) => Check::failed(
            "cgroup",
            why,
            "mount -t cgroup2 none /sys/fs/cgroup/unified, boot with systemd.unified_cgroup_hierarchy=1, or name one \
             in [steering] cgroup",
        ),
    }
}

fn locked_memory(facts: &Facts) -> Check {
    let name = "locked-memory";
    if Release::parse(&facts.release).is_some_and(|release| release >= COUNTED_BY_CGROUP) {
        return Check::ok(name, "maps count for the cgroup's memory, not for RLIMIT_MEMLOCK");
    }
    match facts.locked_memory {
        Some(limit) if limit < LOCKED_MEMORY => Check::failed(
            name,
            format!("RLIMIT_MEMLOCK is {} KiB", limit >> 10),
            "set LimitMEMLOCK=infinity in the unit",
        ),
        Some(limit) => Check::ok(name, format!("RLIMIT_MEMLOCK is {} MiB", limit >> 20)),
        None => Check::ok(name, "no limit"),
    }
}

fn ipv6(facts: &Facts) -> Check {
    Check::ok(
        "ipv6",
        if facts.ipv6 { "::1 can be listened on" } else { "none: connections over IPv4 alone are steered" },
    )
}

fn clock(facts: &Facts) -> Check {
    let remedy = "set the clock: certificates are judged and made by it";
    let shown = facts.now.strftime("%Y-%m-%dT%H:%M:%SZ");
    if let Some(built) = facts.built
        && facts.now.duration_until(built) > CLOCK_SLACK
    {
        return Check::failed("clock", format!("{shown} is before the agent's program was written"), remedy);
    }
    if let Answer::Found(Some(authority)) = &facts.authority
        && facts.now < authority.not_before
    {
        return Check::failed(
            "clock",
            format!("{shown} is before the certificate authority was made"),
            remedy,
        );
    }
    Check::ok("clock", shown.to_string())
}

fn of_port(port: &Port, daemon: &Answer<Daemon>) -> Check {
    let name = format!("port {}", port.setting);
    Check::of(&name, &port.state, |state| match state {
        PortState::Free if port.address.port() == 0 => Check::ok(&name, "any free port"),
        PortState::Free => Check::ok(&name, format!("{} is free", port.address)),
        PortState::InUse if matches!(daemon, Answer::Found(Daemon::Running { .. })) => {
            Check::ok(&name, format!("{} is in use, the daemon is running", port.address))
        }
        // Most likely the daemon's own; an ordinary user is not told whether it runs.
        PortState::InUse if matches!(daemon, Answer::NeedsRoot) => {
            Check::skipped(&name, format!("{} is in use; by whom is not checked: needs root", port.address))
        }
        PortState::InUse => Check::failed(
            &name,
            format!("{} is in use", port.address),
            format!("set [{}] to another port, or end who has it (`ss -ltnp`)", port.setting),
        ),
        PortState::Impossible(why) => Check::failed(
            &name,
            format!("{}: {why}", port.address),
            format!("set [{}] to an address of this host", port.setting),
        ),
    })
}
