//! What the process uses, read from the kernel, and the bound on it: a setting, the cgroup's, or a part of the machine's.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::pressure::{self, Level};
use super::trim;

/// Of the machine's memory, where neither a setting nor a cgroup says how much the agent may have: 1 in so many.
const PART: u64 = 2;
/// The bound that is found is looked for again with every so many looks: a service's can be changed while it runs.
const FIND_EVERY: u32 = 60;
/// Free pages are given back with every so many looks while memory is short.
const TRIM_EVERY: u32 = 5;

/// Where a bound is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whence {
    Setting,
    Cgroup,
    Machine,
}

impl fmt::Display for Whence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Setting => "[limits] memory",
            Self::Cgroup => "the cgroup's",
            Self::Machine => "half of the machine's",
        })
    }
}

/// One look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// Octets.
    pub used: u64,
    pub bound: u64,
    pub whence: Whence,
    pub level: Level,
    /// The level of the look before.
    pub before: Level,
}

impl fmt::Display for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |octets: u64| octets >> 20;
        write!(f, "{} MiB of {} MiB in use ({})", mib(self.used), mib(self.bound), self.whence)
    }
}

/// Looks at the process's memory, time and again.
#[derive(Debug, Default)]
pub struct Gauge {
    found: Option<(u64, Whence)>,
    looks: u32,
    level: Level,
}

impl Gauge {
    /// Reads what is in use and publishes the level that follows. `set`: the bound of the settings, in octets.
    pub fn look(&mut self, set: Option<u64>) -> io::Result<Reading> {
        let mut used = in_use_now()?;
        if self.looks.is_multiple_of(FIND_EVERY) {
            self.found = None;
        }
        let (bound, whence) = match (set, self.found) {
            (Some(set), _) => (set, Whence::Setting),
            (None, Some(found)) => found,
            (None, None) => *self.found.insert(find()?),
        };
        let before = self.level;
        let rises = before.next(used, bound) > before;
        if rises || before > Level::Enough && self.looks.is_multiple_of(TRIM_EVERY) {
            // What the allocator keeps of a burst is no reason to do without anything.
            trim();
            used = in_use_now()?;
        }
        self.level = before.next(used, bound);
        pressure::publish(self.level);
        self.looks = self.looks.wrapping_add(1);
        Ok(Reading { used, bound, whence, level: self.level, before })
    }
}

fn in_use_now() -> io::Result<u64> {
    in_use(&fs::read_to_string("/proc/self/status")?).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// Octets of anonymous memory, whether it is in memory or swapped out (proc_pid_status(5)). Pages of files are left out:
/// the kernel takes those back by itself.
fn in_use(status: &str) -> Option<u64> {
    Some(kib(status, "RssAnon:")? + kib(status, "VmSwap:").unwrap_or(0))
}

/// A line of `name` and a number of KiB, in octets.
fn kib(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()?.checked_mul(1 << 10)
}

fn find() -> io::Result<(u64, Whence)> {
    let machine =
        kib(&fs::read_to_string("/proc/meminfo")?, "MemTotal:").ok_or(io::ErrorKind::InvalidData)?;
    let cgroup = crate::steering::cgroup2_root().ok().and_then(|root| {
        let own = fs::read_to_string("/proc/self/cgroup").ok()?;
        least(&root, &own)
    });
    Ok(match cgroup {
        Some(cgroup) if cgroup < machine => (cgroup, Whence::Cgroup),
        _ => (machine / PART, Whence::Machine),
    })
}

/// The least `memory.max` or `memory.high` of the cgroup v2 that /proc/self/cgroup names (cgroups(7)), and of those above
/// it up to `root`.
fn least(root: &Path, own: &str) -> Option<u64> {
    let own = Path::new(own.lines().find_map(|line| line.strip_prefix("0::/"))?);
    let places = own.ancestors().map(|place| root.join(place));
    let files = places.flat_map(|place: PathBuf| [place.join("memory.max"), place.join("memory.high")]);
    // "max" is none; the root has neither file. Nobody runs with a bound of nothing.
    files
        .filter_map(|file| fs::read_to_string(file).ok()?.trim().parse().ok())
        .filter(|bound| *bound > 0)
        .min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_use_is_anonymous_and_grows_with_what_is_taken() {
        let status = "VmSwap:\t      8 kB\nVmRSS:\t    9999 kB\nRssAnon:\t    1024 kB\nRssFile:\t 8975 kB\n";
        assert_eq!(in_use(status), Some(1032 << 10));
        assert_eq!(in_use("RssAnon:\t    1024 kB\n"), Some(1 << 20), "a kernel without swap");
        for broken in ["", "RssAnon:", "RssAnon: 12", "RssAnon: x kB", "RssAnon: 18446744073709551615 kB"] {
            assert_eq!(in_use(broken), None, "{broken}");
        }
        let now = || in_use(&fs::read_to_string("/proc/self/status").unwrap()).unwrap();
        let before = now();
        let taken = std::hint::black_box(vec![1_u8; 256 << 20]);
        // Other tests give back meanwhile.
        assert!(now() > before + (64 << 20));
        drop(taken);
    }

    #[test]
    fn the_least_bound_of_a_cgroup_and_those_above_it_counts() {
        let root = tempfile::tempdir().unwrap();
        let inner = root.path().join("system.slice/portcullis.service");
        fs::create_dir_all(&inner).unwrap();
        let own = "1:name=systemd:/else\n0::/system.slice/portcullis.service\n";
        let write = |place: &Path, name: &str, text: &str| fs::write(place.join(name), text).unwrap();
        assert_eq!(least(root.path(), own), None);
        write(&inner, "memory.max", "max\n");
        assert_eq!(least(root.path(), own), None);
        write(&inner, "memory.max", "2000\n");
        assert_eq!(least(root.path(), own), Some(2000));
        write(inner.parent().unwrap(), "memory.max", "1000\n");
        assert_eq!(least(root.path(), own), Some(1000));
        write(&inner, "memory.high", "900\n");
        assert_eq!(least(root.path(), own), Some(900));
        // A container sees its own cgroup as the root.
        write(root.path(), "memory.max", "800\n");
        assert_eq!(least(root.path(), "0::/\n"), Some(800));
        assert_eq!(least(root.path(), "3:memory:/else\n"), None, "the first version of the hierarchy alone");
    }

    #[test]
    fn there_is_a_bound_without_any_setting() {
        let (bound, whence) = find().unwrap();
        assert!(bound > 0 && whence != Whence::Setting, "{bound} {whence}");
    }
}
