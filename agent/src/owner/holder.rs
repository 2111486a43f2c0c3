//! Which process holds a socket, by the links below /proc/PID/fd.
//!
//! Other users' links take CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH: what may not be read is passed over.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;

use super::Directory;

/// Links read in one search, so that it ends on a host with any number of them.
const MOST_LINKS: usize = 1 << 20;

/// The lowest process id that holds each of these sockets, by inode. What nobody holds, or nobody that may be looked
/// at, is absent. Reads at most [`MOST_LINKS`] links.
pub fn holders(inodes: &HashSet<u32>) -> HashMap<u32, u32> {
    let mut found = HashMap::new();
    if inodes.is_empty() {
        return found;
    }
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut pids: Vec<u32> = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    pids.sort_unstable();
    let mut left = MOST_LINKS;
    for pid in pids {
        let sockets = Directory::open(pid).and_then(|process| sockets_of(&process, &mut left));
        for inode in sockets.into_iter().flatten().filter(|inode| inodes.contains(inode)) {
            found.entry(inode).or_insert(pid);
        }
        if found.len() == inodes.len() || left == 0 {
            break;
        }
    }
    found
}

/// Inodes of the sockets this process holds. Fails where they cannot be told: nobody should take them for another's.
pub fn own_sockets() -> io::Result<HashSet<u32>> {
    let mut left = MOST_LINKS;
    Ok(sockets_of(&Directory::own()?, &mut left)?.into_iter().collect())
}

fn sockets_of(process: &Directory, left: &mut usize) -> io::Result<Vec<u32>> {
    let descriptors = process.listed(*left)?;
    *left -= descriptors.len();
    Ok(descriptors.into_iter().filter_map(|descriptor| process.socket(descriptor)).collect())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn own_sockets_are_found_by_their_inode() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let descriptor = u32::try_from(listener.as_raw_fd()).unwrap();
        let inode = Directory::own().unwrap().socket(descriptor).unwrap();
        assert!(own_sockets().unwrap().contains(&inode));
        let found = holders(&HashSet::from([inode, 0]));
        assert_eq!(found, HashMap::from([(inode, std::process::id())]));
    }
}
