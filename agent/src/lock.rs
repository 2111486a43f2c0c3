//! One agent at a time: an exclusive lock on a file or directory, and the process that holds it.

use std::fmt;
use std::fs::{File, Metadata, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// How often a directory is opened again that its last owner removed meanwhile.
const TRIES: usize = 16;

/// Held until it is dropped, or the process ends in whatever way.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Why there is no lock.
#[derive(Debug)]
pub enum LockError {
    /// Another process holds it. Its id is missing where /proc/locks does not tell.
    Held {
        path: PathBuf,
        pid: Option<u32>,
    },
    Io(PathBuf, io::Error),
}

impl fmt::Display for LockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LockError::Held { path, pid: Some(pid) } => {
                write!(f, "another portcullis runs with {}: process {pid}", path.display())
            }
            LockError::Held { path, pid: None } => {
                write!(f, "another portcullis runs with {}", path.display())
            }
            LockError::Io(path, error) => write!(f, "locking {}: {error}", path.display()),
        }
    }
}

impl std::error::Error for LockError {}

impl Lock {
    /// Locks a file, which is made when it is missing (mode 0600) and stays.
    pub fn file(path: &Path) -> Result<Self, LockError> {
        let open = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path);
        let open = match open {
            // Locking takes no right to write; a disk that became read-only must not keep the agent from its work.
            Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => File::open(path),
            opened => opened,
        };
        take(path, open)
    }

    /// Locks a directory. `make` is called first, and again when the directory went away before it was locked: an agent
    /// that stops removes the one it holds.
    pub fn directory(path: &Path, make: impl Fn() -> io::Result<()>) -> Result<Self, LockError> {
        let fault = |error| LockError::Io(path.to_owned(), error);
        for _ in 0..TRIES {
            make().map_err(fault)?;
            let lock = match take(path, File::open(path)) {
                Err(LockError::Io(_, error)) if error.kind() == io::ErrorKind::NotFound => continue,
                taken => taken?,
            };
            let held = lock._file.metadata().map_err(fault)?;
            if std::fs::metadata(path).is_ok_and(|now| now.ino() == held.ino()) {
                return Ok(lock);
            }
        }
        Err(fault(io::Error::other("it is removed again and again")))
    }
}

fn take(path: &Path, opened: io::Result<File>) -> Result<Lock, LockError> {
    let fault = |error| LockError::Io(path.to_owned(), error);
    let file = opened.map_err(fault)?;
    match file.try_lock() {
        Ok(()) => Ok(Lock { _file: file }),
        Err(TryLockError::WouldBlock) => {
            let pid = file.metadata().ok().and_then(|about| holder(&about));
            Err(LockError::Held { path: path.to_owned(), pid })
        }
        Err(TryLockError::Error(error)) => Err(fault(error)),
    }
}

fn holder(file: &Metadata) -> Option<u32> {
    holder_in(&std::fs::read_to_string("/proc/locks").ok()?, file.dev(), file.ino())
}

/// From /proc/locks (proc_locks(5)): `1: FLOCK ADVISORY WRITE 1234 00:2a:5678 0 EOF`, the device in hexadecimal.
fn holder_in(locks: &str, device: u64, inode: u64) -> Option<u32> {
    let device = format!("{:02x}:{:02x}", major(device), minor(device));
    locks.lines().find_map(|line| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let (kind, pid) = (fields.next()?, fields.nth(2)?);
        let (on, number) = fields.next()?.rsplit_once(':')?;
        (kind == "FLOCK" && on == device && number.parse() == Ok(inode)).then(|| pid.parse().ok())?
    })
}

fn major(device: u64) -> u64 {
    ((device >> 8) & 0xfff) | ((device >> 32) & !0xfff)
}

fn minor(device: u64) -> u64 {
    (device & 0xff) | ((device >> 12) & !0xff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_lock_is_refused_and_names_the_first_process() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("lock");
        let first = Lock::file(&file).unwrap();
        for path in [&file, &directory.path().to_owned()] {
            let _held = (path != &file).then(|| Lock::directory(path, || Ok(())).unwrap());
            let second = if path == &file { Lock::file(path) } else { Lock::directory(path, || Ok(())) };
            match second {
                Err(LockError::Held { pid, .. }) => assert_eq!(pid, Some(std::process::id())),
                other => panic!("{other:?}"),
            }
        }
        drop(first);
        Lock::file(&file).unwrap();
    }

    #[test]
    fn a_directory_that_goes_away_is_made_again() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("gone");
        let made = std::cell::Cell::new(0);
        let _lock = Lock::directory(&path, || {
            made.set(made.get() + 1);
            // The first time it vanishes before it can be locked.
            if made.get() == 1 { Ok(()) } else { std::fs::create_dir(&path) }
        })
        .unwrap();
        assert_eq!(made.get(), 2);
    }

    #[test]
    fn the_holder_is_found_by_device_and_inode() {
        let locks = "1: POSIX  ADVISORY  WRITE 10 00:2a:5678 0 EOF\n\
                     2: FLOCK  ADVISORY  WRITE 11 00:2a:5679 0 EOF\n\
                     2: -> FLOCK  ADVISORY  WRITE 13 00:2a:5678 0 EOF\n\
                     3: FLOCK  ADVISORY  WRITE 12 00:2a:5678 0 EOF\n";
        assert_eq!(holder_in(locks, 0x2a, 5678), Some(12));
        assert_eq!(holder_in(locks, 0x2b, 5678), None);
    }
}
