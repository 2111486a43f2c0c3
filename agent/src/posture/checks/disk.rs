//! Disk encryption: every file system that lies on a fixed disk, and the swap, must lie on dm-crypt.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::Verdict;

/// How many layers (partition, RAID, volume, crypt) a device may stand on.
const MAX_LAYERS: usize = 16;
/// Mounts and swaps that are looked at.
const MAX_MOUNTS: usize = 4096;
/// Where removable media are mounted, and what the firmware and the boot loader have to read.
const LEFT_OUT: [&str; 6] = ["/media", "/run/media", "/boot", "/efi", "/snap", "/var/lib/snapd/snap"];
/// dm targets whose uuid begins like an encrypted one's and that do not encrypt.
const NOT_ENCRYPTING: [&str; 2] = ["CRYPT-VERITY-", "CRYPT-INTEGRITY-"];

pub(super) fn judge(root: &Path) -> Verdict {
    let Ok(mounts) = fs::read_to_string(root.join("proc/self/mountinfo")) else {
        return Verdict::unknown("/proc/self/mountinfo cannot be read");
    };
    let mut seen = BTreeSet::new();
    let (mut plain, mut unclear, mut encrypted) = (BTreeSet::new(), BTreeSet::new(), 0_usize);
    let mut note = |place: &str, found: Ground| match found {
        Ground::Encrypted => encrypted += 1,
        Ground::Plain => drop(plain.insert(place.to_owned())),
        Ground::Unclear(why) => drop(unclear.insert(format!("{place} ({why})"))),
        Ground::NoDisk => {}
    };
    for mount in mounts.lines().take(MAX_MOUNTS).filter_map(Mount::parse) {
        if !mount.left_out() && seen.insert((mount.device, mount.source)) {
            note(mount.point, mount.ground(root));
        }
    }
    let swaps = fs::read_to_string(root.join("proc/swaps")).unwrap_or_default();
    for line in swaps.lines().skip(1).take(MAX_MOUNTS) {
        // A swap file lies on a file system that was looked at.
        if let [device, "partition", ..] = line.split_whitespace().collect::<Vec<_>>()[..]
            && !device.starts_with("/dev/zram")
        {
            note("swap", of_node(root, device));
        }
    }
    let listed = |places: &BTreeSet<String>| places.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    match (plain.is_empty(), unclear.is_empty(), encrypted) {
        (false, _, _) => Verdict::failed(format!("not encrypted: {}", listed(&plain))),
        (true, false, _) => Verdict::unknown(format!("cannot be told for {}", listed(&unclear))),
        (true, true, 0) => Verdict::unknown("no file system on a disk was found"),
        (true, true, _) => Verdict::passed("every file system on a disk is encrypted"),
    }
}

/// What a file system stands on.
#[derive(Debug, PartialEq, Eq)]
enum Ground {
    Encrypted,
    Plain,
    /// In memory, on another host, or on a file that lies in a file system of this host.
    NoDisk,
    Unclear(&'static str),
}

/// A line of /proc/self/mountinfo (proc_pid_mountinfo(5)).
struct Mount<'a> {
    device: &'a str,
    point: &'a str,
    kind: &'a str,
    source: &'a str,
    read_only: bool,
}

impl<'a> Mount<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (before, after) = line.split_once(" - ")?;
        let mut fields = before.split(' ').skip(2);
        let device = fields.next()?;
        let point = fields.nth(1)?;
        let mut fields = after.split(' ');
        let (kind, source) = (fields.next()?, fields.next()?);
        let read_only = fields.next().is_some_and(|options| options.split(',').any(|option| option == "ro"));
        Some(Self { device, point, kind, source, read_only })
    }

    fn left_out(&self) -> bool {
        let below = |directory: &str| {
            self.point.strip_prefix(directory).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        // Images, such as those of installed programs, cannot be written to.
        (self.read_only && self.point != "/") || LEFT_OUT.iter().any(|directory| below(directory))
    }

    fn ground(&self, root: &Path) -> Ground {
        match (self.device.split_once(':'), self.kind) {
            (_, "btrfs") => of_btrfs(root, self.source),
            (Some((major, _)), _) if major != "0" => of_device(&device_directory(root, self.device), 0),
            (_, "zfs" | "bcachefs") => Ground::Unclear("this kind of file system does not say"),
            (_, "overlay" | "rootfs") if self.point == "/" => Ground::Unclear("what is below it is not seen"),
            _ => Ground::NoDisk,
        }
    }
}

fn device_directory(root: &Path, numbers: &str) -> PathBuf {
    root.join("sys/dev/block").join(numbers)
}

/// Of the block device that `directory` of sysfs describes.
fn of_device(directory: &Path, layer: usize) -> Ground {
    let Ok(directory) = directory.canonicalize() else {
        return Ground::Unclear("its device is not in sysfs");
    };
    if layer > MAX_LAYERS {
        return Ground::Unclear("its device stands on too many layers");
    }
    if directory.join("loop/backing_file").exists() || directory.file_name().is_some_and(in_memory) {
        return Ground::NoDisk;
    }
    let uuid = fs::read_to_string(directory.join("dm/uuid")).unwrap_or_default();
    if uuid.starts_with("CRYPT-") && !NOT_ENCRYPTING.iter().any(|other| uuid.starts_with(other)) {
        return Ground::Encrypted;
    }
    let below: Vec<PathBuf> = fs::read_dir(directory.join("slaves"))
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect();
    if !below.is_empty() {
        return all(below.iter().map(|device| of_device(device, layer + 1)));
    }
    match directory.parent() {
        Some(whole) if directory.join("partition").exists() => of_device(whole, layer + 1),
        _ => Ground::Plain,
    }
}

fn in_memory(name: &std::ffi::OsStr) -> bool {
    name.to_str().is_some_and(|name| name.starts_with("zram") || name.starts_with("ram"))
}

/// A file system of several devices is as good as the worst of them.
fn all(grounds: impl Iterator<Item = Ground>) -> Ground {
    let mut worst = Ground::NoDisk;
    for ground in grounds {
        worst = match (worst, ground) {
            (Ground::Plain, _) | (_, Ground::Plain) => Ground::Plain,
            (Ground::Unclear(why), _) | (_, Ground::Unclear(why)) => Ground::Unclear(why),
            (Ground::Encrypted, _) | (_, Ground::Encrypted) => Ground::Encrypted,
            (Ground::NoDisk, Ground::NoDisk) => Ground::NoDisk,
        };
    }
    worst
}

/// Of a device by its node: `/dev/sda2`, `/dev/mapper/swap`.
fn of_node(root: &Path, node: &str) -> Ground {
    match kernel_name(root, node) {
        Some(name) => of_device(&root.join("sys/class/block").join(name), 0),
        None => Ground::Unclear("its device is not in sysfs"),
    }
}

fn kernel_name(root: &Path, node: &str) -> Option<String> {
    let name = node.strip_prefix("/dev/")?;
    let Some(mapped) = name.strip_prefix("mapper/") else { return Some(name.replace('/', "!")) };
    fs::read_dir(root.join("sys/class/block")).ok()?.flatten().find_map(|entry| {
        let named = fs::read_to_string(entry.path().join("dm/name")).ok()?;
        (named.trim_end() == mapped).then(|| entry.file_name().to_string_lossy().into_owned())
    })
}

/// A btrfs has no device number of its own; /sys/fs/btrfs lists the devices of each.
fn of_btrfs(root: &Path, source: &str) -> Ground {
    let Some(name) = kernel_name(root, source) else { return Ground::Unclear("its device is not in sysfs") };
    let systems = fs::read_dir(root.join("sys/fs/btrfs")).into_iter().flatten().flatten();
    let members = systems
        .map(|system| system.path().join("devices"))
        .find(|devices| devices.join(&name).exists())
        .and_then(|devices| fs::read_dir(devices).ok());
    match members {
        Some(members) => all(members
            .flatten()
            .map(|member| of_device(&root.join("sys/class/block").join(member.file_name()), 0))),
        None => Ground::Unclear("its devices are not in sysfs"),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::super::Outcome;
    use super::*;

    /// A host with one disk `sda` of two partitions, and what stands on the second.
    struct Host(tempfile::TempDir);

    impl Host {
        fn new() -> Self {
            let host = Self(tempfile::tempdir().unwrap());
            host.device("sda", "8:0", &[]);
            for (partition, numbers) in [("sda1", "8:1"), ("sda2", "8:2")] {
                host.link(&format!("sda/{partition}"), partition, numbers);
                host.file(&format!("sys/devices/sda/{partition}/partition"), "1\n");
            }
            host
        }

        fn path(&self, path: &str) -> PathBuf {
            self.0.path().join(path)
        }

        fn file(&self, path: &str, text: &str) {
            fs::create_dir_all(self.path(path).parent().unwrap()).unwrap();
            fs::write(self.path(path), text).unwrap();
        }

        fn link(&self, at: &str, name: &str, numbers: &str) {
            fs::create_dir_all(self.path(&format!("sys/devices/{at}"))).unwrap();
            for (directory, entry) in [("sys/dev/block", numbers), ("sys/class/block", name)] {
                fs::create_dir_all(self.path(directory)).unwrap();
                symlink(format!("../../../sys/devices/{at}"), self.path(&format!("{directory}/{entry}")))
                    .unwrap();
            }
        }

        fn device(&self, name: &str, numbers: &str, on: &[&str]) {
            self.link(name, name, numbers);
            for below in on {
                fs::create_dir_all(self.path(&format!("sys/devices/{name}/slaves"))).unwrap();
                let to = self.path(&format!("sys/class/block/{below}")).canonicalize().unwrap();
                symlink(to, self.path(&format!("sys/devices/{name}/slaves/{below}"))).unwrap();
            }
        }

        fn mapped(&self, name: &str, numbers: &str, uuid: &str, on: &[&str]) {
            self.device(name, numbers, on);
            self.file(&format!("sys/devices/{name}/dm/uuid"), uuid);
            self.file(&format!("sys/devices/{name}/dm/name"), &format!("of-{name}\n"));
        }

        #[track_caller]
        fn check(&self, mounts: &str, swaps: &str, expected: Outcome, words: &str) {
            self.file("proc/self/mountinfo", mounts);
            self.file("proc/swaps", &format!("Filename Type Size Used Priority\n{swaps}"));
            let verdict = judge(self.0.path());
            assert_eq!(verdict.outcome, expected, "{verdict:?}");
            assert!(verdict.reason.contains(words), "{verdict:?}");
        }
    }

    #[test]
    fn a_volume_on_a_crypt_device_is_encrypted_and_a_partition_is_not() {
        let host = Host::new();
        host.mapped("dm-0", "254:0", "CRYPT-LUKS2-0123-crypt", &["sda2"]);
        host.mapped("dm-1", "254:1", "LVM-abc", &["dm-0"]);
        let volume = "25 1 254:1 / / rw - ext4 /dev/mapper/of-dm-1 rw\n";
        let proc = "26 25 0:5 / /proc rw - proc proc rw\n";
        let boot = "27 25 8:1 / /boot/efi rw - vfat /dev/sda1 rw\n";
        host.check(&format!("{volume}{proc}{boot}"), "", Outcome::Passed, "encrypted");
        let home = "28 25 8:2 / /home rw - ext4 /dev/sda2 rw\n";
        host.check(&format!("{volume}{home}"), "", Outcome::Failed, "not encrypted: /home");
        let stick = "28 25 8:2 / /media/stick rw - ext4 /dev/sda2 rw\n";
        host.check(&format!("{volume}{stick}"), "", Outcome::Passed, "encrypted");
        let image = "28 25 8:2 / /opt/image rw - squashfs /dev/sda2 ro\n";
        host.check(&format!("{volume}{image}"), "", Outcome::Passed, "encrypted");
    }

    #[test]
    fn swap_counts_unless_it_is_memory_or_a_file() {
        let host = Host::new();
        host.mapped("dm-0", "254:0", "CRYPT-LUKS2-0123-crypt", &["sda2"]);
        let volume = "25 1 254:0 / / rw - ext4 /dev/mapper/of-dm-0 rw\n";
        host.check(volume, "/dev/sda1 partition 1 0 -2\n", Outcome::Failed, "swap");
        host.check(volume, "/dev/mapper/of-dm-0 partition 1 0 -2\n", Outcome::Passed, "encrypted");
        host.check(volume, "/dev/zram0 partition 1 0 -2\n/swapfile file 1 0 -3\n", Outcome::Passed, "");
    }

    #[test]
    fn verity_does_not_encrypt_and_every_device_of_a_file_system_counts() {
        let host = Host::new();
        host.mapped("dm-0", "254:0", "CRYPT-VERITY-0123", &["sda2"]);
        host.check("25 1 254:0 / / ro - erofs /dev/dm-0 ro\n", "", Outcome::Failed, "/");
        host.mapped("dm-1", "254:1", "CRYPT-PLAIN-x", &["sda1"]);
        for member in ["dm-1", "sda2"] {
            host.file(&format!("sys/fs/btrfs/uuid/devices/{member}/size"), "1");
        }
        let btrfs = "25 1 0:30 /@ / rw - btrfs /dev/mapper/of-dm-1 rw\n";
        host.check(btrfs, "", Outcome::Failed, "/");
        fs::remove_dir_all(host.path("sys/fs/btrfs/uuid/devices/sda2")).unwrap();
        host.check(btrfs, "", Outcome::Passed, "");
    }

    #[test]
    fn what_cannot_be_told_is_unknown() {
        let host = Host::new();
        host.check("25 1 0:30 / / rw - zfs pool/root rw\n", "", Outcome::Unknown, "/ (this kind");
        host.check("25 1 0:30 / / rw - overlay overlay rw\n", "", Outcome::Unknown, "/ (what is below");
        host.check("25 1 9:9 / / rw - ext4 /dev/gone rw\n", "", Outcome::Unknown, "not in sysfs");
        host.check("25 1 0:30 / / rw - tmpfs tmpfs rw\nodd line\n", "", Outcome::Unknown, "no file system");
        host.device("loop0", "7:0", &["loop0"][..0].as_ref());
        host.mapped("dm-7", "254:7", "LVM-a", &["sda2"]);
        symlink(host.path("sys/class/block/dm-7"), host.path("sys/devices/dm-7/slaves/dm-7")).unwrap();
        host.check("25 1 254:7 / / rw - ext4 /dev/dm-7 rw\n", "", Outcome::Failed, "/");
        fs::remove_file(host.path("sys/devices/dm-7/slaves/sda2")).unwrap();
        host.check("25 1 254:7 / / rw - ext4 /dev/dm-7 rw\n", "", Outcome::Unknown, "too many layers");
    }
}
