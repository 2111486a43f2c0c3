//! Whether the loaded programs read the same as the parsers of userspace, over what real sockets send and receive.
//!
//! The bytes go through the hooks as they are in service, headers, socket checks and maps included, so no program has to
//! be in the object for tests alone. A namespace and a cgroup of each test's own keep everything else out of it.
#![allow(unsafe_code, reason = "entering a namespace is beyond the standard library")]

mod dns;
mod first_words;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

use agent_common::abi::PatternKey;
use agent_common::limits::DNS_MESSAGE;
use agent_common::name::NameBuffer;

use super::cgroup2_root;

/// A cgroup with this process in it, one at a time; drop takes the process back to where it was.
pub(super) struct OwnCgroup {
    pub(super) path: PathBuf,
    before: PathBuf,
    _alone: MutexGuard<'static, ()>,
}

impl OwnCgroup {
    pub(super) fn enter() -> Self {
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let root = cgroup2_root().unwrap();
        let own = fs::read_to_string("/proc/self/cgroup").unwrap();
        let before = own.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
        let (path, before) = (root.join(format!("pcAGREE{}", std::process::id())), root.join(before));
        fs::create_dir(&path).unwrap();
        let cgroup = Self { path, before, _alone: alone };
        fs::write(cgroup.path.join("cgroup.procs"), "0").unwrap();
        cgroup
    }
}

impl Drop for OwnCgroup {
    fn drop(&mut self) {
        if let Err(error) = fs::write(self.before.join("cgroup.procs"), std::process::id().to_string())
            .and_then(|()| fs::remove_dir(&self.path))
        {
            eprintln!("{}: {error}", self.path.display());
        }
    }
}

/// Takes this thread into a network namespace of its own, which ends with the thread.
pub(super) fn enter_network_namespace() {
    // SAFETY: changes this thread only.
    let failed = unsafe { libc::unshare(libc::CLONE_NEWNET) };
    assert_eq!(failed, 0, "{}", std::io::Error::last_os_error());
    let status = Command::new("ip").args(["link", "set", "lo", "up"]).status().expect("package iproute2");
    assert!(status.success());
}

/// What the pattern trie answers to a name, from what was written into it.
pub(super) fn longest(patterns: &BTreeMap<Vec<u8>, u64>, name: &NameBuffer) -> Option<u64> {
    let PatternKey { bits, bytes } = name.key();
    let key = &bytes[..*bits as usize / 8];
    let longest =
        patterns.iter().filter(|(pattern, _)| key.starts_with(pattern)).max_by_key(|(p, _)| p.len());
    longest.map(|(_, apps)| *apps)
}

/// Numbers that look like chance and are the same each time (xorshift, Marsaglia 2003).
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound.max(1) as u64) as usize
    }

    /// One of the messages, changed in up to four places the way a parser dislikes.
    pub(super) fn mutate(&mut self, messages: &[Vec<u8>]) -> Vec<u8> {
        let mut message = messages[self.below(messages.len())].clone();
        for _ in 0..=self.below(4) {
            let at = self.below(message.len());
            match self.below(6) {
                0 => message[at] = [0, 1, 4, 16, 63, 64, 0x7f, 0xbf, 0xc0, 0xff][self.below(10)],
                1 => message[at] ^= 1 << self.below(8),
                2 => message.truncate(at.max(1)),
                3 => {
                    let other = &messages[self.below(messages.len())];
                    let from = self.below(other.len());
                    message.truncate(at.max(1));
                    message.extend_from_slice(&other[from..]);
                }
                4 => {
                    let end = (at + self.below(64)).min(message.len());
                    let piece = message[at..end].to_vec();
                    message.splice(at..at, piece);
                }
                // Around the longest message that is read.
                _ if self.below(20) == 0 => {
                    message.resize(DNS_MESSAGE - 4 + self.below(8), self.below(256) as u8)
                }
                _ => message[at] = message[at].wrapping_add(1),
            }
        }
        message
    }
}

/// What is kept of the fuzzing of one parser.
pub(super) fn corpus(of: &str) -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz/corpus").join(of);
    let mut paths: Vec<PathBuf> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).filter(|message| !message.is_empty()).collect()
}
