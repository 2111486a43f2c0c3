//! Removes what killed runs left behind: namespaces, cgroups and directories that carry the id of a dead process.

use std::fs;
use std::path::Path;

use crate::{cgroup, netns, pins};

/// First parts of the names the lab gives; the id of the making process follows.
pub(crate) const PREFIXES: [&str; 3] = ["pcHOST", "pcORIG", "pcSIDE"];
/// Where a lab's files are: readable for every user, unlike many a TMPDIR.
pub(crate) const FILES: &str = "/tmp";

/// Everything of dead owners. Best effort: the next run tries again.
pub(crate) fn sweep() {
    if let Ok(root) = cgroup::root() {
        for name in abandoned(&root) {
            cgroup::remove(&root.join(name));
        }
    }
    for name in abandoned(Path::new("/run/netns")) {
        let _ = netns::ip(&["netns", "delete", &name]);
    }
    for name in abandoned(Path::new(FILES)) {
        pins::sweep(&Path::new(FILES).join(&name));
        let _ = fs::remove_dir_all(Path::new(FILES).join(name));
    }
}

fn abandoned(directory: &Path) -> Vec<String> {
    fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| owner(name).is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists()))
        .collect()
}

/// The process that gave this name: `pcHOST123-2` is the third of process 123.
fn owner(name: &str) -> Option<u32> {
    let id = PREFIXES.iter().find_map(|prefix| name.strip_prefix(prefix))?;
    let (pid, rest) = id.split_once('-').unwrap_or((id, "0"));
    rest.parse::<u32>().ok()?;
    pid.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::owner;

    #[test]
    fn only_names_of_the_lab_have_an_owner() {
        for (name, expected) in [
            ("pcHOST123", Some(123)),
            ("pcORIG123-2", Some(123)),
            ("pcSIDE1-0", Some(1)),
            ("pcHOST", None),
            ("pcHOSTx", None),
            ("pcHOST12-x", None),
            ("pcOTHER12", None),
            ("host12", None),
        ] {
            assert_eq!(owner(name), expected, "{name}");
        }
    }
}
