//! Security updates that the package manager knows of and that are not installed. Nothing is fetched for it.

use std::fs;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;

use super::Verdict;
use super::program;

/// Package lists older than this say nothing about today.
const FRESH: Duration = Duration::from_secs(7 * 86_400);
/// What each package manager touches when it fetches its lists.
const APT_STAMPS: [&str; 3] =
    ["var/lib/apt/periodic/update-success-stamp", "var/cache/apt/pkgcache.bin", "var/lib/apt/lists/partial"];
const DNF_STAMPS: [&str; 3] = ["var/cache/libdnf5", "var/cache/dnf", "var/cache/dnf/last_makecache"];

pub(super) async fn judge(root: &Path, now: Timestamp) -> Verdict {
    if let Some(apt) = program::find(root, "apt-get") {
        let arguments = ["--simulate", "-q=2", "-o", "Debug::NoLocking=1", "dist-upgrade"];
        return match program::output(&apt, &arguments).await {
            Ok(plan) => verdict(
                waiting_of_apt(&plan),
                age(root, &APT_STAMPS, now),
                "apt-get update && apt-get upgrade",
            ),
            Err(why) => Verdict::unknown(why),
        };
    }
    if let Some(dnf) = program::find(root, "dnf") {
        let arguments = ["-q", "--cacheonly", "updateinfo", "list", "--security"];
        return match program::output(&dnf, &arguments).await {
            Ok(list) => verdict(waiting_of_dnf(&list), age(root, &DNF_STAMPS, now), "dnf upgrade --security"),
            Err(why) => Verdict::unknown(why),
        };
    }
    Verdict::unknown("neither apt nor dnf is here to ask for security updates")
}

fn verdict(waiting: Vec<&str>, age: Option<Duration>, remedy: &str) -> Verdict {
    match (&*waiting, age) {
        (_, None) => Verdict::unknown(format!("package lists were never fetched: `{remedy}`")),
        (_, Some(age)) if age > FRESH => {
            Verdict::unknown(format!("package lists are {} days old: `{remedy}`", age.as_secs() / 86_400))
        }
        ([], _) => Verdict::passed("no security update is waiting"),
        ([first], _) => Verdict::failed(format!("a security update of {first} is waiting: `{remedy}`")),
        ([first, rest @ ..], _) => Verdict::failed(format!(
            "security updates of {first} and {} more are waiting: `{remedy}`",
            rest.len()
        )),
    }
}

/// Packages that would come from an archive of security updates:
/// `Inst NAME [OLD] (NEW Debian-Security:12/stable-security [amd64])`.
fn waiting_of_apt(plan: &str) -> Vec<&str> {
    let security = |line: &&str| {
        let source = line.rsplit_once('(').map_or("", |(_, source)| source);
        source.to_ascii_lowercase().contains("security")
    };
    let installs = plan.lines().filter(|line| line.starts_with("Inst ")).filter(security);
    installs.filter_map(|line| line.split(' ').nth(1)).collect()
}

/// Lines of `ADVISORY SEVERITY/Sec. PACKAGE`.
fn waiting_of_dnf(list: &str) -> Vec<&str> {
    let advisories =
        list.lines().filter(|line| line.contains("Sec.") || line.to_ascii_lowercase().contains("security"));
    advisories.filter_map(|line| line.split_whitespace().nth(2)).collect()
}

/// Since the package lists were fetched last. `None`: never, as far as can be told.
fn age(root: &Path, stamps: &[&str], now: Timestamp) -> Option<Duration> {
    let times = stamps.iter().filter_map(|path| fs::metadata(root.join(path)).ok()?.modified().ok());
    let latest = Timestamp::try_from(times.max()?).ok()?;
    // A clock that was set back makes them young, not old.
    Some(Duration::try_from(now.duration_since(latest)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::super::Outcome;
    use super::*;

    const PLAN: &str = "Inst libssl3 [3.0.11-1] (3.0.14-1 Debian-Security:12/stable-security [amd64])\n\
        Inst tzdata [2024a] (2024b Debian:12.8/stable [all])\n\
        Inst base-files [12] (12.1 Ubuntu:24.04/noble-updates, Ubuntu:24.04/noble-security [amd64])\n\
        Conf libssl3 (3.0.14-1 Debian-Security:12/stable-security [amd64])\n";

    #[test]
    fn updates_from_a_security_archive_count_once_each() {
        assert_eq!(waiting_of_apt(PLAN), ["libssl3", "base-files"]);
        assert!(waiting_of_apt("").is_empty());
        assert!(waiting_of_apt("Inst security-tool [1] (2 Debian:12/stable [all])\n").is_empty());
        assert_eq!(
            waiting_of_dnf(
                "FEDORA-2024-1 Important/Sec. openssl-3.1.x86_64\nFEDORA-2024-2 bugfix vim-9.x86_64\n"
            ),
            ["openssl-3.1.x86_64"]
        );
    }

    #[test]
    fn old_lists_say_nothing() {
        let day = Duration::from_secs(86_400);
        assert_eq!(verdict(vec![], Some(day), "x").outcome, Outcome::Passed);
        assert_eq!(verdict(vec![], Some(8 * day), "x").outcome, Outcome::Unknown);
        assert_eq!(verdict(vec![], None, "x").outcome, Outcome::Unknown);
        let told = verdict(waiting_of_apt(PLAN), Some(day), "apt-get upgrade");
        assert_eq!(told.outcome, Outcome::Failed);
        assert_eq!(told.reason, "security updates of libssl3 and 1 more are waiting: `apt-get upgrade`");
    }

    #[test]
    fn the_newest_stamp_counts_and_a_clock_that_was_set_back_does_no_harm() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(age(root.path(), &APT_STAMPS, Timestamp::now()), None);
        fs::create_dir_all(root.path().join(APT_STAMPS[2])).unwrap();
        let later = Timestamp::now() + Duration::from_secs(3600);
        let known = age(root.path(), &APT_STAMPS, later).unwrap();
        assert!((3500..3700).contains(&known.as_secs()), "{known:?}");
        assert_eq!(age(root.path(), &APT_STAMPS, Timestamp::UNIX_EPOCH), Some(Duration::ZERO));
    }
}
