//! What is in the guest: the lab's packages as this machine has them, the agent, its tests, some modules of the kernel.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

use super::kernels::Kernel;
use crate::command::{line, read, run, say};
use crate::setup;

/// What the lab's own list leaves out because every system has it.
const SYSTEM: [&str; 6] = ["busybox-static", "coreutils", "dash", "kmod", "mount", "util-linux"];
/// Parts of those packages that no program of the lab reads.
const LEFT_OUT: [&str; 8] = [
    "/usr/share/doc/",
    "/usr/share/man/",
    "/usr/share/locale/",
    "/usr/share/info/",
    "/usr/share/perl",
    "/usr/share/zoneinfo/",
    "/usr/lib/x86_64-linux-gnu/gconv/",
    "/boot/",
];
/// Files that belong to no package, or that the lab mounts its own over.
const SYSTEM_FILES: [&str; 7] = [
    "/etc/passwd",
    "/etc/group",
    "/etc/nsswitch.conf",
    "/etc/protocols",
    "/etc/services",
    "/etc/ld.so.cache",
    "/etc/ssl/certs/ca-certificates.crt",
];
/// Directories of modules that the lab and the agent may ask for, below `kernel/`.
const MODULES: [&str; 7] =
    ["net", "drivers/net/veth", "drivers/net/dummy", "drivers/net/tun", "lib", "crypto", "arch/x86/crypto"];

/// What the guest is to do.
pub(super) struct Guest {
    pub(super) agent: PathBuf,
    pub(super) tests: Option<PathBuf>,
    pub(super) filters: Vec<String>,
    /// Factor on the lab's deadlines.
    pub(super) patience: u32,
}

impl Guest {
    /// The part of the initramfs that is the same for every kernel.
    pub(super) fn archive(&self, directory: &Path) -> Result<PathBuf> {
        let own = directory.join("guest");
        let _ = fs::remove_dir_all(&own);
        for point in ["proc", "sys", "dev", "tmp", "run", "root", "etc", "vm", "var/lib", "var/log/nginx"] {
            fs::create_dir_all(own.join(point))?;
        }
        fs::write(own.join("init"), include_str!("init.sh"))?;
        fs::set_permissions(own.join("init"), fs::Permissions::from_mode(0o755))?;
        fs::write(own.join("etc/resolv.conf"), "")?;
        fs::write(own.join("etc/hosts"), "127.0.0.1 localhost\n::1 localhost\n")?;
        fs::write(own.join("vm/portcullis.toml"), "")?;
        fs::write(own.join("vm/patience"), self.patience.to_string())?;
        fs::write(own.join("vm/filters"), self.filters.join("\n"))?;
        stripped(&self.agent, &own.join("vm/portcullis"))?;
        if let Some(tests) = &self.tests {
            stripped(tests, &own.join("vm/it"))?;
        }

        let archive = directory.join("guest.cpio");
        let file = File::create(&archive)?;
        pack(Path::new("/"), &system_files()?, &file)?;
        pack(&own, &tree(&own)?, &file)?;
        Ok(archive)
    }
}

/// `common` and the kernel's modules: archives that stand one behind the other are one initramfs.
pub(crate) fn with_modules(common: &Path, kernel: &Kernel, directory: &Path) -> Result<PathBuf> {
    let own = directory.join("modules");
    let _ = fs::remove_dir_all(&own);
    let (from, to) = (kernel.modules(), own.join("lib/modules").join(&kernel.release));
    fs::create_dir_all(to.join("kernel"))?;
    for entry in fs::read_dir(&from).with_context(|| format!("no modules in {}", from.display()))? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
    }
    for path in tree(&from.join("kernel"))? {
        if MODULES.iter().any(|part| path.starts_with(part) || path.to_string_lossy().starts_with(part)) {
            let (from, to) = (from.join("kernel").join(&path), to.join("kernel").join(&path));
            if from.is_file() {
                fs::create_dir_all(to.parent().unwrap_or(&own))?;
                fs::copy(&from, &to)?;
            }
        }
    }
    run(Command::new(program("depmod")?).arg("--basedir").arg(&own).arg(&kernel.release))?;
    // Under /usr, where /lib of this machine points to; the other way round on machines that have both apart.
    let merged = Path::new("/lib").is_symlink();
    if merged {
        fs::create_dir(own.join("usr"))?;
        fs::rename(own.join("lib"), own.join("usr/lib"))?;
    }
    let initramfs = directory.join("initramfs.cpio");
    fs::copy(common, &initramfs)?;
    let file = File::options().append(true).open(&initramfs)?;
    pack(&own, &tree(&own)?, &file)?;
    say(format_args!("initramfs: {} MiB", file.metadata()?.len() >> 20));
    Ok(initramfs)
}

/// Debug information would only cost memory there.
fn stripped(from: &Path, to: &Path) -> Result<()> {
    run(Command::new("strip").arg("-o").arg(to).arg(from))
}

fn program(name: &str) -> Result<PathBuf> {
    crate::workspace::find_program(name).with_context(|| format!("there is no {name}"))
}

/// Every file of the lab's packages and of what they depend on, with the directories on the way.
fn system_files() -> Result<BTreeSet<PathBuf>> {
    let mut roots: Vec<&str> = SYSTEM.to_vec();
    roots.extend(setup::LAB);
    let packages = with_dependencies(&roots)?;
    let listing = read(Command::new("dpkg-query").arg("--listfiles").args(&packages))?;
    let mut files = BTreeSet::new();
    for path in listing.lines().filter(|path| path.starts_with('/')).chain(SYSTEM_FILES) {
        if LEFT_OUT.iter().any(|part| path.starts_with(part)) {
            continue;
        }
        add(Path::new(path), &mut files);
    }
    // Alternatives and the like point to files of other packages.
    let links: Vec<PathBuf> =
        files.iter().map(|path| Path::new("/").join(path)).filter(|path| path.is_symlink()).collect();
    for link in links {
        if let Ok(target) = link.canonicalize() {
            add(&target, &mut files);
        }
    }
    // A bare root still needs these to find its loader.
    for link in ["/bin", "/sbin", "/lib", "/lib64"] {
        if Path::new(link).is_symlink() {
            files.insert(PathBuf::from(&link[1..]));
        }
    }
    Ok(files)
}

/// A path and its parents, relative to the root, as they are really called.
fn add(path: &Path, files: &mut BTreeSet<PathBuf>) {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return };
    // What a package lists may be absent (diverted, or removed by the administrator of a small image).
    let Ok(parent) = parent.canonicalize() else { return };
    let real = parent.join(name);
    if real.symlink_metadata().is_err() {
        return;
    }
    for step in real.ancestors() {
        if let Ok(step) = step.strip_prefix("/")
            && !step.as_os_str().is_empty()
        {
            files.insert(step.to_owned());
        }
    }
}

/// The packages and, of what they depend on, everything that is installed.
fn with_dependencies(roots: &[&str]) -> Result<Vec<String>> {
    let text = read(Command::new("dpkg-query").args([
        "--show",
        "--showformat",
        "${db:Status-Status}\\t${Package}\\t${Pre-Depends},${Depends}\\n",
    ]))?;
    let mut depends: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for row in text.lines() {
        let mut fields = row.split('\t');
        if fields.next() == Some("installed")
            && let (Some(name), Some(list)) = (fields.next(), fields.next())
        {
            depends.insert(name, list.split([',', '|']).filter_map(bare_name).collect());
        }
    }
    for root in roots {
        ensure!(depends.contains_key(root), "the package {root} is not installed");
    }
    let mut found: BTreeSet<&str> = BTreeSet::new();
    let mut waiting: Vec<&str> = roots.to_vec();
    while let Some(name) = waiting.pop() {
        // Those that are not installed are other packages' or of an alternative.
        if let Some((name, needs)) = depends.get_key_value(name)
            && found.insert(name)
        {
            waiting.extend(needs);
        }
    }
    Ok(found.into_iter().map(str::to_owned).collect())
}

/// `libc6:any (>= 2.34)` without what stands around the name.
fn bare_name(dependency: &str) -> Option<&str> {
    dependency.trim().split([' ', ':', '(']).next().filter(|name| !name.is_empty())
}

/// Everything below a directory, relative to it, directories first.
pub(crate) fn tree(directory: &Path) -> Result<BTreeSet<PathBuf>> {
    let mut found = BTreeSet::new();
    let mut waiting = vec![directory.to_owned()];
    while let Some(path) = waiting.pop() {
        for entry in fs::read_dir(&path).with_context(|| format!("cannot read {}", path.display()))? {
            let entry = entry?;
            found.insert(entry.path().strip_prefix(directory)?.to_owned());
            if entry.file_type()?.is_dir() {
                waiting.push(entry.path());
            }
        }
    }
    Ok(found)
}

/// Appends an archive of these files, all of them root's. Not compressed: reading it is quicker than unpacking it on an
/// emulated processor.
pub(crate) fn pack(directory: &Path, files: &BTreeSet<PathBuf>, archive: &File) -> Result<()> {
    let mut command = Command::new("cpio");
    command
        .args(["--create", "--format=newc", "--owner=+0:+0", "--null", "--quiet"])
        .current_dir(directory)
        .stdin(Stdio::piped())
        .stdout(archive.try_clone()?);
    let mut cpio = command.spawn().context("cannot run cpio")?;
    let mut list = Vec::new();
    for path in files {
        list.extend_from_slice(path.as_os_str().as_bytes());
        list.push(0);
    }
    cpio.stdin.take().context("cpio has no input")?.write_all(&list)?;
    let status = cpio.wait()?;
    ensure!(status.success(), "`{}` in {}: {status}", line(&command), directory.display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::bare_name;

    #[test]
    fn a_dependency_is_reduced_to_its_name() {
        for (text, name) in [
            (" libc6 (>= 2.34)", Some("libc6")),
            ("python3:any", Some("python3")),
            ("nginx", Some("nginx")),
            ("", None),
            ("libssl3(>= 3)", Some("libssl3")),
        ] {
            assert_eq!(bare_name(text), name, "{text:?}");
        }
    }
}
