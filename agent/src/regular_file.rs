//! Reading what an administrator named as a file: only what ends is read, and no more of it than was meant.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

/// Why something was not read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotRead {
    #[error("{0}")]
    Io(#[from] io::Error),
    /// What stands there instead of a file.
    #[error("it is {0}, not a file")]
    NoFile(&'static str),
    /// Octets that there may be.
    #[error("it is larger than {0} bytes")]
    TooLarge(u64),
}

impl NotRead {
    pub(crate) fn is_absence(&self) -> bool {
        matches!(self, Self::Io(error) if error.kind() == io::ErrorKind::NotFound)
    }
}

/// The whole file, which has at most `most` octets.
pub(crate) fn read(path: &Path, most: u64) -> Result<Vec<u8>, NotRead> {
    let mut octets = Vec::new();
    if let Some(file) = open(path)? {
        // What it says of its size may be wrong by now, or always was: files of /proc have none.
        file.take(most.saturating_add(1)).read_to_end(&mut octets)?;
    }
    if octets.len() as u64 > most { Err(NotRead::TooLarge(most)) } else { Ok(octets) }
}

/// Opens a regular file. A pipe would be waited for and a device can be without end, or act on being opened: they are
/// refused before, and again once it is certain what was opened. `None`: /dev/null, by which a file is said to be empty.
fn open(path: &Path) -> Result<Option<File>, NotRead> {
    let meta = fs::metadata(path)?;
    if is_null(&meta) {
        return Ok(None);
    }
    regular(&meta)?;
    let mut options = OpenOptions::new();
    let file = options.read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)?;
    regular(&file.metadata()?)?;
    Ok(Some(file))
}

fn regular(meta: &Metadata) -> Result<(), NotRead> {
    let kind = meta.file_type();
    Err(NotRead::NoFile(match () {
        () if kind.is_file() => return Ok(()),
        () if kind.is_dir() => "a directory",
        () if kind.is_fifo() => "a pipe",
        () if kind.is_socket() => "a socket",
        () => "a device",
    }))
}

fn is_null(meta: &Metadata) -> bool {
    /// Major and minor number (Documentation/admin-guide/devices.txt).
    const NULL: (u32, u32) = (1, 3);
    meta.file_type().is_char_device() && meta.rdev() == libc::makedev(NULL.0, NULL.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_end_or_is_more_than_was_meant_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let said = |most| read(&path, most).map_err(|error| error.to_string());
        assert!(read(&path, 9).unwrap_err().is_absence());
        fs::write(&path, "four").unwrap();
        assert_eq!(said(4), Ok(b"four".to_vec()));
        assert_eq!(said(3), Err("it is larger than 3 bytes".to_owned()));
        fs::remove_file(&path).unwrap();
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRUSR).unwrap();
        assert_eq!(said(4), Err("it is a pipe, not a file".to_owned()));
        assert!(matches!(read(Path::new("/dev/zero"), 4), Err(NotRead::NoFile("a device"))));
        assert!(matches!(read(dir.path(), 4), Err(NotRead::NoFile("a directory"))));
        assert_eq!(read(Path::new("/dev/null"), 4).unwrap(), b"");
    }
}
