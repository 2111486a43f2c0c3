//! One change to the system, made so that it can be taken back: written down, done, undone.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest;
use serde::{Deserialize, Serialize};

use super::manifest::{Entry, Manifest, ManifestError};
use super::{DIRECTORY, Place, Store, StoreError, firefox, java};

const FILE_MODE: u32 = 0o644;
const DIRECTORY_MODE: u32 = 0o755;
/// Largest file of others that is changed: a keystore of all public authorities is 200 KiB.
pub(super) const FOREIGN_MAX: u64 = 16 << 20;

/// A change that stands. Paths are those of the system that was changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "kebab-case")]
pub enum Change {
    /// A directory that was missing.
    Directory { path: PathBuf },
    /// A file of ours alone, with the SHA-256 of its content.
    File { path: PathBuf, sha256: String },
    /// A file of others. `original` is the copy of what it was, beside the manifest; `sha256` is of what it became,
    /// absent until that is known.
    Edit { path: PathBuf, sha256: Option<String>, original: String, part: Part },
}

/// Which part of a file of others is ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// A path in `Certificates.Install` of Firefox's policies.
    FirefoxInstall(String),
    /// Several of them.
    FirefoxInstalls(Vec<String>),
    /// An entry of a Java keystore, with the program that edits it.
    KeystoreAlias { keytool: String, alias: String },
    /// Several of them.
    KeystoreAliases { keytool: String, aliases: Vec<String> },
}

impl Change {
    pub fn path(&self) -> &Path {
        match self {
            Self::Directory { path } | Self::File { path, .. } | Self::Edit { path, .. } => path,
        }
    }
}

/// The manifest while it is worked on.
pub(super) struct Journal {
    manifest: Manifest,
    state: PathBuf,
}

impl Journal {
    pub(super) fn open(state: &Path) -> Result<Self, ManifestError> {
        Ok(Self { manifest: Manifest::read(state)?, state: state.into() })
    }

    pub(super) fn close(mut self) -> Result<(), ManifestError> {
        self.manifest.write(&self.state)
    }

    pub(super) fn of(&mut self, store: Store) -> Of<'_> {
        Of { journal: self, store }
    }

    fn note(&mut self, store: Store, change: Change) -> Result<(), ManifestError> {
        self.manifest.entries.push(Entry { store, change });
        self.manifest.write(&self.state)
    }

    fn original(&self, name: &str) -> PathBuf {
        self.state.join(DIRECTORY).join(name)
    }

    /// Takes back what stands for a store, newest first, and says what was done. What cannot be taken back stays in the
    /// manifest and ends this.
    pub(super) fn undo(&mut self, place: &Place, store: Store) -> Result<Vec<String>, StoreError> {
        let mut done = Vec::new();
        while let Some(at) = self.manifest.entries.iter().rposition(|entry| entry.store == store) {
            let change = self.manifest.entries[at].change.clone();
            let shared = matches!(change, Change::Directory { .. });
            if let Some(line) = undo(place, &change, |name| self.original(name))? {
                done.push(line);
            } else if shared && place.at(change.path()).is_dir() {
                // Somebody put something into it: theirs now.
                done.push(format!("left {}, which is not empty", change.path().display()));
            }
            if let Change::Edit { original, .. } = &change {
                let _ = fs::remove_file(self.original(original));
            }
            self.manifest.entries.remove(at);
            self.manifest.write(&self.state)?;
        }
        Ok(done)
    }
}

/// Makes changes for one store.
pub(super) struct Of<'a> {
    journal: &'a mut Journal,
    store: Store,
}

impl Of<'_> {
    /// A file of ours; one of somebody else at the same path is an error.
    pub(super) fn write(&mut self, place: &Place, path: &Path, content: &[u8]) -> Result<String, StoreError> {
        let target = place.at(path);
        if target.symlink_metadata().is_ok() {
            let fault = "is there already and is not ours; move it away".to_owned();
            return Err(StoreError::Unusable { path: target, fault });
        }
        self.directories(place, path)?;
        self.journal.note(self.store, Change::File { path: path.into(), sha256: sha256(content) })?;
        replace(&target, content, None).map_err(|error| StoreError::io(&target, error))?;
        Ok(format!("wrote {}", path.display()))
    }

    /// Changes a file of others by `edit`, which gets its path as seen from here. A copy is kept.
    pub(super) fn edit(
        &mut self,
        place: &Place,
        path: &Path,
        part: Part,
        edit: impl FnOnce(&Path, Vec<u8>) -> Result<(), StoreError>,
    ) -> Result<String, StoreError> {
        let target = place.at(path);
        let content = read(&target)?;
        let original = format!("original-{}", sha256(path.as_os_str().as_encoded_bytes()));
        let copy = self.journal.original(&original);
        let change = |sha256| Change::Edit {
            path: path.into(),
            sha256,
            original: original.clone(),
            part: part.clone(),
        };
        // The copy stands before the manifest names it, and both before the file is touched.
        let keep = || -> io::Result<()> {
            fs::create_dir_all(copy.parent().unwrap_or(Path::new("/")))?;
            let mut file =
                OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&copy)?;
            file.write_all(&content)?;
            file.sync_all()
        };
        keep().map_err(|error| StoreError::io(&copy, error))?;
        self.journal.note(self.store, change(None))?;
        edit(&target, content)?;
        let became = sha256(&read(&target)?);
        self.journal.manifest.entries.pop();
        self.journal.note(self.store, change(Some(became)))?;
        Ok(format!("changed {}", path.display()))
    }

    fn directories(&mut self, place: &Place, path: &Path) -> Result<(), StoreError> {
        let parent = path.parent().unwrap_or(Path::new("/"));
        let missing: Vec<&Path> =
            parent.ancestors().take_while(|directory| !place.at(directory).exists()).collect();
        for directory in missing.into_iter().rev() {
            self.journal.note(self.store, Change::Directory { path: directory.into() })?;
            let made = place.at(directory);
            fs::create_dir(&made)
                .and_then(|()| fs::set_permissions(&made, Permissions::from_mode(DIRECTORY_MODE)))
                .map_err(|error| StoreError::io(&made, error))?;
        }
        Ok(())
    }
}

/// Takes one change back. `None` when there was nothing to do.
fn undo(
    place: &Place,
    change: &Change,
    original: impl Fn(&str) -> PathBuf,
) -> Result<Option<String>, StoreError> {
    let target = place.at(change.path());
    let shown = change.path().display();
    match change {
        Change::Directory { .. } => match fs::remove_dir(&target) {
            Ok(()) => Ok(Some(format!("removed {shown}"))),
            Err(_) => Ok(None),
        },
        Change::File { sha256: ours, .. } => {
            if !target.exists() {
                return Ok(None);
            }
            if sha256(&read(&target)?) != *ours {
                return Ok(Some(format!("left {shown}, which somebody changed")));
            }
            fs::remove_file(&target).map_err(|error| StoreError::io(&target, error))?;
            Ok(Some(format!("removed {shown}")))
        }
        Change::Edit { sha256: became, original: name, part, .. } => {
            if !target.exists() {
                return Ok(None);
            }
            let now = read(&target)?;
            let copy = original(name);
            if became.as_deref().is_none_or(|became| sha256(&now) == became)
                && let Ok(before) = fs::read(&copy)
            {
                replace(&target, &before, Some(&target)).map_err(|error| StoreError::io(&target, error))?;
                return Ok(Some(format!("restored {shown}")));
            }
            match part {
                Part::FirefoxInstall(certificate) => {
                    take_out(&target, now, std::slice::from_ref(certificate))?
                }
                Part::FirefoxInstalls(certificates) => take_out(&target, now, certificates)?,
                Part::KeystoreAliases { keytool, aliases } => {
                    for alias in aliases {
                        java::remove(place, keytool, change.path(), alias)?;
                    }
                }
                Part::KeystoreAlias { keytool, alias } => {
                    java::remove(place, keytool, change.path(), alias)?;
                }
            }
            Ok(Some(format!("took our part out of {shown}, which somebody changed")))
        }
    }
}

/// Takes certificates out of Firefox's policies, which somebody changed.
fn take_out(target: &Path, now: Vec<u8>, certificates: &[String]) -> Result<(), StoreError> {
    let mut text = None;
    for certificate in certificates {
        let from = text.as_deref().unwrap_or(now.as_slice());
        let without = firefox::without(from, certificate)
            .map_err(|fault| StoreError::Unusable { path: target.into(), fault: fault.to_string() })?;
        text = without.or(text);
    }
    match text {
        Some(text) => replace(target, &text, Some(target)).map_err(|error| StoreError::io(target, error)),
        None => Ok(()),
    }
}

/// The whole of a regular file.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, StoreError> {
    let about = fs::metadata(path).map_err(|error| StoreError::io(path, error))?;
    if !about.is_file() || about.len() > FOREIGN_MAX {
        let fault = format!("is no file of at most {} MiB", FOREIGN_MAX >> 20);
        return Err(StoreError::Unusable { path: path.into(), fault });
    }
    fs::read(path).map_err(|error| StoreError::io(path, error))
}

/// Puts a file into place in one step, with owner and mode of `like`, else root's and readable by all.
pub(super) fn replace(path: &Path, content: &[u8], like: Option<&Path>) -> io::Result<()> {
    // Where the name is a link, what it points to is replaced.
    let path = if path.exists() { path.canonicalize()? } else { path.to_owned() };
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let draft = path.with_file_name(format!(".{}.portcullis", name.to_string_lossy()));
    let _ = fs::remove_file(&draft);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    let put = || -> io::Result<()> {
        file.write_all(content)?;
        match like.map(fs::metadata).transpose()? {
            Some(like) => {
                std::os::unix::fs::fchown(&file, Some(like.uid()), Some(like.gid()))?;
                file.set_permissions(like.permissions())?;
            }
            None => file.set_permissions(Permissions::from_mode(FILE_MODE))?,
        }
        file.sync_all()?;
        fs::rename(&draft, &path)
    };
    let mut put = put;
    put().inspect_err(|_| drop(fs::remove_file(&draft)))
}

pub(super) fn sha256(content: &[u8]) -> String {
    digest::digest(&digest::SHA256, content).as_ref().iter().map(|octet| format!("{octet:02x}")).collect()
}
