//! Checks of the agent's own things: configuration, directories, certificate authority, daemon.

use jiff::SignedDuration;

use super::{Answer, Check, Daemon, Directory, Facts, OwnStore};

/// Least space for the activity log to grow in, in bytes.
const SPACE: u64 = 256 << 20;
/// An authority that ends this soon should be renewed.
const RENEW: SignedDuration = SignedDuration::from_hours(30 * 24);

pub(super) fn checks(facts: &Facts) -> Vec<Check> {
    let mut checks = vec![
        configuration(&facts.configuration),
        directory("state-directory", &facts.state, 0o077, facts),
        directory("run-directory", &facts.run, 0o022, facts),
        space(&facts.state),
        authority(facts),
        trust(facts),
    ];
    checks.extend(own_stores(facts));
    checks.push(daemon(facts));
    checks
}

/// With faults the agent does not start, and one that runs keeps what it has; the other checks are of what is right in it.
fn configuration(faults: &[String]) -> Check {
    let remedy = "`portcullis check` shows the places";
    match faults {
        [] => Check::ok("configuration", "settings, apps and policies have no fault"),
        [fault] => Check::failed("configuration", fault, remedy),
        [fault, rest @ ..] => {
            Check::failed("configuration", format!("{fault}, and {} more", rest.len()), remedy)
        }
    }
}

/// One line for each program that would refuse, whatever the system trusts; none before there is an authority to refuse.
fn own_stores(facts: &Facts) -> Vec<Check> {
    if !matches!(facts.authority, Answer::Found(Some(_))) {
        return Vec::new();
    }
    let check = |store: &OwnStore| Check::failed("own-trust-store", &store.what, &store.remedy);
    facts.own_stores.iter().map(check).collect()
}

/// `forbidden` are the permission bits that nobody but the owner may have.
fn directory(name: &str, directory: &Directory, forbidden: u32, facts: &Facts) -> Check {
    let path = directory.path.display();
    let Some(entry) = directory.entry else {
        return Check::ok(name, format!("{path} is made at the first start"));
    };
    if !entry.is_directory {
        return Check::failed(name, format!("{path} is no directory"), "remove it, or set [paths]");
    }
    // An ordinary user looks at root's; root finds its own, or the service's.
    if entry.owner != 0 && Some(entry.owner) != facts.service_uid && facts.is_root {
        return Check::failed(
            name,
            format!("{path} belongs to uid {}", entry.owner),
            format!("chown {} {path}", if facts.service_uid.is_some() { "portcullis" } else { "root" }),
        );
    }
    if entry.mode & forbidden != 0 {
        return Check::failed(
            name,
            format!("{path} has mode {:04o}", entry.mode),
            format!("chmod {:04o} {path}", entry.mode & !forbidden),
        );
    }
    Check::ok(name, format!("{path}, mode {:04o}", entry.mode))
}

fn space(state: &Directory) -> Check {
    Check::of("disk-space", &state.free, |&free| {
        let found = format!("{} MiB free for {}", free >> 20, state.path.display());
        if free < SPACE {
            let remedy = "make room, set a shorter [activity] retention, or set [paths] state";
            Check::failed("disk-space", found, remedy)
        } else {
            Check::ok("disk-space", found)
        }
    })
}

fn authority(facts: &Facts) -> Check {
    let name = "certificate-authority";
    let remedy = "restore the directory from a backup, or portcullis ca init --force, then trust the new one";
    Check::with_remedy(name, &facts.authority, remedy, |authority| {
        let Some(authority) = authority else {
            return Check::ok(name, "made at the first start, or by `portcullis ca init`");
        };
        let end = authority.not_after.strftime("%Y-%m-%d");
        let found = format!("{}, until {end}", authority.subject);
        if authority.not_after <= facts.now {
            Check::failed(
                name,
                format!("{found}: expired"),
                "portcullis ca init --force, then trust the new one",
            )
        } else if authority.not_after <= facts.now.saturating_add(RENEW).unwrap_or(facts.now) {
            Check::failed(
                name,
                format!("{found}: soon"),
                "portcullis ca rotate makes one to follow it, and has both trusted meanwhile",
            )
        } else {
            Check::ok(name, found)
        }
    })
}

fn trust(facts: &Facts) -> Check {
    let name = "system-trust";
    let remedy = "portcullis ca trust; portcullis ca status asks the programs";
    if let Answer::Broken(_) = facts.authority {
        return Check::skipped(name, "not checked: the certificate authority cannot be read");
    }
    Check::of(name, &facts.authority, |authority| match authority {
        None => Check::skipped(name, "not checked: there is no certificate authority yet"),
        Some(authority) => Check::of(name, &authority.trusted, |&trusted| {
            if trusted {
                Check::ok(name, "the system's store holds the certificate authority")
            } else {
                let found =
                    "the system's store does not hold the certificate authority: clients will refuse it";
                Check::failed(name, found, remedy)
            }
        }),
    })
}

fn daemon(facts: &Facts) -> Check {
    let name = "daemon";
    Check::of(name, &facts.daemon, |daemon| match daemon {
        Daemon::NotRunning => Check {
            remedy: Some("systemctl start portcullis, or portcullis run".to_owned()),
            ..Check::skipped(name, "not running")
        },
        Daemon::Running { pid, unwell } if unwell.is_empty() => {
            Check::ok(name, format!("running, pid {pid}"))
        }
        Daemon::Running { pid, unwell } => Check::failed(
            name,
            format!("running, pid {pid}, not well: {}", unwell.join("; ")),
            "portcullis status, journalctl --unit portcullis",
        ),
    })
}
