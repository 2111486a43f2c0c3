//! Which kernels Debian packages for this machine, and their files, kept in the target directory.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;

use anyhow::{Context as _, Result, bail};

use crate::apt;
use crate::command::{read, run, say};

/// The oldest series that the product supports; `portcullis::doctor` knows the same number.
pub(super) const OLDEST: Series = Series(6, 1);
/// What the packages of kernels for virtual machines end in; they are the smallest.
const FLAVOUR: &str = "cloud-amd64";

/// The first two numbers of a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Series(u32, u32);

impl FromStr for Series {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut numbers = text.split('.');
        match (numbers.next().map(str::parse), numbers.next().map(str::parse), numbers.next()) {
            (Some(Ok(major)), Some(Ok(minor)), None) => Ok(Self(major, minor)),
            _ => bail!("a series of kernels is two numbers, such as 6.1"),
        }
    }
}

impl std::fmt::Display for Series {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

/// An unpacked kernel package.
pub(crate) struct Kernel {
    /// What `uname -r` says on it.
    pub(crate) release: String,
    pub(super) package: String,
    /// Holds `boot/` and `lib/modules/`.
    pub(super) directory: PathBuf,
}

impl Kernel {
    pub(super) fn image(&self) -> PathBuf {
        self.directory.join("boot").join(format!("vmlinuz-{}", self.release))
    }

    pub(super) fn modules(&self) -> PathBuf {
        let below = Path::new("lib/modules").join(&self.release);
        // Newer packages have no /lib of their own.
        let merged = self.directory.join("usr").join(&below);
        if merged.is_dir() { merged } else { self.directory.join(below) }
    }
}

/// The kernels of these series, oldest first: the oldest supported and the newest packaged when none is named.
pub(super) fn fetch(wanted: &[Series], cache: &Path) -> Result<Vec<Kernel>> {
    // Twice: exact versions vanish from the archive when a new one comes, and the lists of a new machine are empty.
    match fetch_listed(wanted, cache) {
        Ok(kernels) => Ok(kernels),
        Err(first) => {
            say(format_args!("{first:#}; once more with fresh package lists"));
            apt::refresh_lists()?;
            fetch_listed(wanted, cache)
        }
    }
}

fn fetch_listed(wanted: &[Series], cache: &Path) -> Result<Vec<Kernel>> {
    let packaged = packaged()?;
    let mut chosen = wanted.to_vec();
    if chosen.is_empty() {
        chosen.push(OLDEST);
        chosen.extend(packaged.iter().map(|(series, _)| *series).max());
    }
    chosen.sort_unstable();
    chosen.dedup();
    let mut kernels = Vec::new();
    for series in chosen {
        let Some((_, package)) = packaged.iter().find(|(own, _)| *own == series) else {
            let known: Vec<String> = packaged.iter().map(|(series, _)| series.to_string()).collect();
            bail!("no {FLAVOUR} kernel of the series {series} is packaged here (but {})", known.join(", "));
        };
        kernels.push(unpacked(package, cache)?);
    }
    Ok(kernels)
}

/// Every series with the package that its metapackage stands for today.
fn packaged() -> Result<Vec<(Series, String)>> {
    let names = read(Command::new("apt-cache").args(["pkgnames", "linux-image-"]))
        .context("the kernels are Debian's packages")?;
    let mut found = Vec::new();
    for name in names.lines().filter(|name| is_metapackage(name)) {
        let depends = read(Command::new("apt-cache").args(["depends", "--important", name]))?;
        found.extend(depends.lines().filter_map(concrete));
    }
    // The same series by two metapackages: the later package by name is the newer build.
    found.sort();
    found.reverse();
    found.dedup_by_key(|(series, _)| *series);
    found.reverse();
    Ok(found)
}

/// `linux-image-cloud-amd64`, `linux-image-6.12-cloud-amd64`; not a kernel itself.
fn is_metapackage(name: &str) -> bool {
    name.strip_prefix("linux-image-").and_then(|rest| rest.strip_suffix(FLAVOUR)).is_some_and(|middle| {
        middle.is_empty() || middle.strip_suffix('-').is_some_and(|series| series.parse::<Series>().is_ok())
    })
}

/// Series and package of a line of `apt-cache depends`.
fn concrete(line: &str) -> Option<(Series, String)> {
    let package = line.trim().strip_prefix("Depends: ")?;
    let version = package.strip_prefix("linux-image-")?.strip_suffix(FLAVOUR)?.strip_suffix('-')?;
    let end = version.match_indices('.').nth(1)?.0;
    Some((version[..end].parse().ok()?, package.to_owned()))
}

fn unpacked(package: &str, cache: &Path) -> Result<Kernel> {
    let release = package.strip_prefix("linux-image-").unwrap_or(package).to_owned();
    let policy = read(Command::new("apt-cache").args(["policy", package]))?;
    let version = policy
        .lines()
        .find_map(|line| line.trim().strip_prefix("Candidate: "))
        .with_context(|| format!("apt has no version of {package}"))?;
    let directory = cache.join(format!("{package}_{version}"));
    let kernel = Kernel { release, package: format!("{package} {version}"), directory };
    if kernel.image().is_file() {
        return Ok(kernel);
    }
    say(format_args!(
        "needed to test on it, will be downloaded into {}: {package} {version}",
        cache.display()
    ));
    let draft = cache.join(format!("draft-{}", std::process::id()));
    fs::create_dir_all(&draft)?;
    let result = (|| {
        run(Command::new("apt-get").args(["--quiet", "download", package]).current_dir(&draft))?;
        let archive = fs::read_dir(&draft)?.flatten().map(|entry| entry.path()).next();
        let archive = archive.with_context(|| format!("apt-get download left no {package}"))?;
        let tree = draft.join("tree");
        run(Command::new("dpkg-deb").arg("--extract").arg(&archive).arg(&tree))?;
        // In one step: what is there is complete.
        fs::rename(&tree, &kernel.directory).context("cannot keep the kernel")
    })();
    let _ = fs::remove_dir_all(&draft);
    result?;
    anyhow::ensure!(kernel.image().is_file(), "{package} holds no {}", kernel.image().display());
    Ok(kernel)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metapackages_are_told_from_kernels() {
        for name in ["linux-image-cloud-amd64", "linux-image-6.12-cloud-amd64"] {
            assert!(is_metapackage(name), "{name}");
        }
        for name in [
            "linux-image-6.1.0-56-cloud-amd64",
            "linux-image-cloud-amd64-dbg",
            "linux-image-amd64",
            "linux-image-6.12.117+deb12-cloud-amd64",
            "linux-image-rt-cloud-amd64",
        ] {
            assert!(!is_metapackage(name), "{name}");
        }
    }

    #[test]
    fn the_series_is_read_from_what_a_metapackage_depends_on() {
        let line = "  Depends: linux-image-6.12.117+deb12-cloud-amd64";
        assert_eq!(
            concrete(line),
            Some((Series(6, 12), "linux-image-6.12.117+deb12-cloud-amd64".to_owned()))
        );
        assert_eq!(
            concrete("  Depends: linux-image-6.1.0-56-cloud-amd64").map(|(series, _)| series),
            Some(OLDEST)
        );
        assert_eq!(concrete("linux-image-cloud-amd64"), None);
        assert!(Series(6, 12) > OLDEST);
        assert!("6".parse::<Series>().is_err() && "6.1.0".parse::<Series>().is_err());
    }
}
