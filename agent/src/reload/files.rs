//! Files of the configuration as texts: which of a directory are read, and how. Whatever lies there, reading ends.

use std::path::{Path, PathBuf};
use std::{fs, io};

use crate::diagnostic::{Diagnostic, SourceFile};
use crate::printable::clean;
use crate::regular_file::{self, NotRead};

/// A configuration file larger than this is not one.
const MAX_FILE: u64 = 64 << 20;

/// Reads the `*.toml` files of a directory that somebody named, in name order, or the one file: unlike a directory beside
/// the settings file it must be there.
///
/// # Errors
/// What cannot be read, each with its path.
pub fn read_directory(directory: &Path) -> Result<Vec<SourceFile>, Vec<Diagnostic>> {
    if directory.is_file() {
        let read = read_file(directory).map_err(|error| vec![error.of(directory)]);
        return read.map(|source| vec![source]);
    }
    if let Err(error) = fs::read_dir(directory) {
        return Err(vec![Unreadable::Io(error).of(directory)]);
    }
    let (sources, faults) = read_files(directory);
    if faults.is_empty() { Ok(sources) } else { Err(faults) }
}

/// What can be read, and why the rest cannot.
pub(super) fn read_files(directory: &Path) -> (Vec<SourceFile>, Vec<Diagnostic>) {
    let (mut sources, mut faults) = (Vec::new(), Vec::new());
    let paths = toml_files(directory).unwrap_or_else(|error| {
        faults.push(Unreadable::Io(error).of(directory));
        Vec::new()
    });
    for path in paths {
        match read_file(&path) {
            Ok(source) => sources.push(source),
            // Removed between the listing and the read: as if it had never been there.
            Err(error) if error.is_absence_of(&path) => {}
            Err(error) => faults.push(error.of(&path)),
        }
    }
    (sources, faults)
}

/// The `*.toml` files of a directory in name order; none when there is no such directory.
pub(super) fn toml_files(directory: &Path) -> io::Result<Vec<PathBuf>> {
    Ok(files(directory)?.into_iter().filter(|path| is_toml(path)).collect())
}

/// Everything in a directory that is not hidden, in name order.
pub(super) fn files(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if is_absence(&error, directory) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if !path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b".")) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

pub(super) fn is_toml(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "toml")
}

/// Whether there is nothing of that name. A link to what is not there is something: somebody wanted a file to be read.
fn is_absence(error: &io::Error, path: &Path) -> bool {
    error.kind() == io::ErrorKind::NotFound && fs::symlink_metadata(path).is_err()
}

/// Why there is no text to read.
pub(super) enum Unreadable {
    Io(io::Error),
    /// What stands there instead of a file.
    NoFile(&'static str),
    TooLarge,
    /// Where the text stops being one, and the rest with what stands for octets that are none.
    NotUtf8 {
        at: usize,
        text: String,
    },
}

impl From<NotRead> for Unreadable {
    fn from(why: NotRead) -> Self {
        match why {
            NotRead::Io(error) => Unreadable::Io(error),
            NotRead::NoFile(what) => Unreadable::NoFile(what),
            NotRead::TooLarge(_) => Unreadable::TooLarge,
        }
    }
}

impl Unreadable {
    pub(super) fn is_absence_of(&self, path: &Path) -> bool {
        matches!(self, Unreadable::Io(error) if is_absence(error, path))
    }

    pub(super) fn of(self, path: &Path) -> Diagnostic {
        let shown = shown(path);
        match self {
            Unreadable::Io(error) => {
                let dangling = error.kind() == io::ErrorKind::NotFound;
                let target = fs::read_link(path).ok().filter(|_| dangling);
                match target {
                    Some(target) => {
                        let target = clean(&target.to_string_lossy()).into_owned();
                        Diagnostic::whole_file(
                            shown,
                            format!("cannot be read: it is a link to {target}, which is not there"),
                        )
                        .help("put the file there, or remove the link")
                    }
                    None => Diagnostic::whole_file(shown, format!("cannot be read: {error}")),
                }
            }
            Unreadable::NoFile(what) => {
                Diagnostic::whole_file(shown, format!("cannot be read: it is {what}, not a file"))
                    .help("only regular files, and links to them, are read")
            }
            Unreadable::TooLarge => {
                let most = MAX_FILE >> 20;
                Diagnostic::whole_file(shown, format!("cannot be read: it is larger than {most} MiB"))
            }
            Unreadable::NotUtf8 { at, text } => {
                let source = SourceFile::new(shown, text);
                Diagnostic::new(&source, at..at + char::REPLACEMENT_CHARACTER.len_utf8(), "this is not UTF-8")
                    .help("save the file in UTF-8, as TOML demands")
            }
        }
    }
}

/// A path as messages and records show it: on one line.
fn shown(path: &Path) -> String {
    clean(&path.to_string_lossy()).into_owned()
}

pub(super) fn read_file(path: &Path) -> Result<SourceFile, Unreadable> {
    let octets = regular_file::read(path, MAX_FILE)?;
    match String::from_utf8(octets) {
        Ok(text) => Ok(SourceFile::new(shown(path), text)),
        Err(error) => {
            let at = error.utf8_error().valid_up_to();
            let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
            Err(Unreadable::NotUtf8 { at, text })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever is named like a policy: what is said of it.
    #[track_caller]
    fn said(path: &Path) -> String {
        let found = read_file(path).map(|source| source.text.len());
        found.map_or_else(|error| error.of(path).title(), |length| format!("{length} octets"))
    }

    #[test]
    fn only_what_ends_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        nix::unistd::mkfifo(&at("pipe.toml"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(at("socket.toml")).unwrap();
        fs::create_dir(at("directory.toml")).unwrap();
        for (name, target) in [("zero.toml", "/dev/zero"), ("null.toml", "/dev/null"), ("one.toml", "text")] {
            std::os::unix::fs::symlink(target, at(name)).unwrap();
        }
        fs::write(at("text"), "# one").unwrap();
        let large = fs::File::create(at("large.toml")).unwrap();
        large.set_len(MAX_FILE + 1).unwrap();
        for (name, expected) in [
            ("pipe.toml", "cannot be read: it is a pipe, not a file"),
            ("socket.toml", "cannot be read: it is a socket, not a file"),
            ("directory.toml", "cannot be read: it is a directory, not a file"),
            ("zero.toml", "cannot be read: it is a device, not a file"),
            ("large.toml", "cannot be read: it is larger than 64 MiB"),
            ("null.toml", "0 octets"),
            ("one.toml", "5 octets"),
        ] {
            assert_eq!(said(&at(name)), expected, "{name}");
        }
        let (sources, faults) = read_files(directory.path());
        assert_eq!((sources.len(), faults.len()), (2, 5), "{faults:#?}");
        assert!(faults.iter().all(|fault| fault.path().starts_with(directory.path().to_str().unwrap())));
    }

    #[test]
    fn a_link_that_leads_nowhere_is_no_absence() {
        let directory = tempfile::tempdir().unwrap();
        let link = directory.path().join("a.toml");
        std::os::unix::fs::symlink("nowhere", &link).unwrap();
        assert_eq!(said(&link), "cannot be read: it is a link to nowhere, which is not there");
        let (sources, faults) = read_files(directory.path());
        assert_eq!((sources.len(), faults.len()), (0, 1), "{faults:#?}");
        let linked = directory.path().join("policies.d");
        std::os::unix::fs::symlink("nowhere", &linked).unwrap();
        let (_, faults) = read_files(&linked);
        assert_eq!(faults.len(), 1, "the directory itself");
        assert!(read_files(&directory.path().join("absent.d")).1.is_empty());
    }

    #[test]
    fn a_path_stays_on_its_line() {
        let path = Path::new("/nowhere/a\nb.toml");
        let fault = Unreadable::Io(io::Error::other("x")).of(path);
        assert!(!fault.path().contains('\n'), "{:?}", fault.path());
    }
}
