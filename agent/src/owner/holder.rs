//! Which process holds a socket, by the links below /proc/PID/fd.
//!
//! Other users' links take CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH: what may not be read is passed over.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::path::Path;

/// Links read in one search, so that it ends on a host with any number of them.
const MOST_LINKS: usize = 1 << 20;

/// The lowest process id that holds each of these sockets, by inode. What nobody holds, or nobody that may be looked
/// at, is absent. Reads at most [`MOST_LINKS`] links.
pub fn holders(inodes: &HashSet<u32>) -> HashMap<u32, u32> {
    let mut found = HashMap::new();
    if inodes.is_empty() {
        return found;
    }
    let mut pids: Vec<u32> =
        entries(Path::new("/proc")).filter_map(|name| name.to_str()?.parse().ok()).collect();
    pids.sort_unstable();
    let mut left = MOST_LINKS;
    for pid in pids {
        let directory = Path::new("/proc").join(pid.to_string()).join("fd");
        for inode in sockets_below(&directory, &mut left) {
            if inodes.contains(&inode) {
                found.entry(inode).or_insert(pid);
            }
        }
        if found.len() == inodes.len() || left == 0 {
            break;
        }
    }
    found
}

/// Inodes of the sockets this process holds. Fails where they cannot be told: nobody should take them for another's.
pub fn own_sockets() -> io::Result<HashSet<u32>> {
    let directory = Path::new("/proc/self/fd");
    fs::read_dir(directory)?;
    let mut left = MOST_LINKS;
    Ok(sockets_below(directory, &mut left).collect())
}

fn sockets_below<'a>(directory: &'a Path, left: &'a mut usize) -> impl Iterator<Item = u32> + 'a {
    entries(directory)
        .map_while(move |name| {
            *left = left.checked_sub(1)?;
            Some(fs::read_link(directory.join(name)).ok().and_then(|link| inode_of(link.to_str()?)))
        })
        .flatten()
}

fn entries(directory: &Path) -> impl Iterator<Item = std::ffi::OsString> + use<> {
    fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.file_name())
}

/// `socket:[4711]`
fn inode_of(link: &str) -> Option<u32> {
    link.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn own_sockets_are_found_by_their_inode() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let link = fs::read_link(format!("/proc/self/fd/{}", listener.as_raw_fd())).unwrap();
        let inode = inode_of(link.to_str().unwrap()).unwrap();
        assert!(own_sockets().unwrap().contains(&inode));
        let found = holders(&HashSet::from([inode, 0]));
        assert_eq!(found, HashMap::from([(inode, std::process::id())]));
    }

    #[test]
    fn only_links_to_sockets_have_an_inode() {
        assert_eq!(inode_of("socket:[4711]"), Some(4711));
        for other in ["pipe:[4711]", "socket:[]", "socket:[4711", "socket:[99999999999]", "/dev/null"] {
            assert_eq!(inode_of(other), None, "{other}");
        }
    }
}
