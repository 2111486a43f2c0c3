//! What was changed for the authority, on disk: read by whoever takes it out again, also after a crash or an upgrade.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::change::Change;
use super::{DIRECTORY, Store};

const FILE: &str = "manifest.json";
const VERSION: u32 = 1;
/// Largest manifest that is read; an entry takes some 200 bytes.
const FILE_MAX: u64 = 1 << 20;

#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    #[error("{path}: {error}")]
    Io { path: PathBuf, error: io::Error },
    #[error(
        "{path}: not a list of changes ({fault}); restore it, or remove the authority from the stores by hand"
    )]
    Unreadable { path: PathBuf, fault: String },
}

/// One change, and the store it was made for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub store: Store,
    #[serde(flatten)]
    pub change: Change,
}

/// Every change that stands, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    version: u32,
    pub entries: Vec<Entry>,
}

impl Manifest {
    /// Reads the manifest below the state directory; an empty one when there is none.
    pub fn read(state: &Path) -> Result<Self, ManifestError> {
        let path = state.join(DIRECTORY).join(FILE);
        let unreadable = |fault: String| ManifestError::Unreadable { path: path.clone(), fault };
        let length = match fs::metadata(&path) {
            Ok(file) => file.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(ManifestError::Io { path, error }),
        };
        if length > FILE_MAX {
            return Err(unreadable(format!("larger than {FILE_MAX} bytes")));
        }
        let text = fs::read(&path).map_err(|error| ManifestError::Io { path: path.clone(), error })?;
        let manifest: Self = serde_json::from_slice(&text).map_err(|error| unreadable(error.to_string()))?;
        if manifest.version != VERSION {
            return Err(unreadable(format!("its version is {}, not {VERSION}", manifest.version)));
        }
        Ok(manifest)
    }

    /// Replaces the manifest in one step; an empty one is removed, with its directory when nothing else is in it.
    pub(super) fn write(&mut self, state: &Path) -> Result<(), ManifestError> {
        let directory = state.join(DIRECTORY);
        let path = directory.join(FILE);
        self.version = VERSION;
        let put = || -> io::Result<()> {
            if self.entries.is_empty() {
                match fs::remove_file(&path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
                // Fails when something is left in it, or when it never was.
                let _ = fs::remove_dir(&directory);
                return Ok(());
            }
            DirBuilder::new().recursive(true).mode(0o700).create(&directory)?;
            let draft = directory.join(".manifest.new");
            let mut file =
                OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
            file.write_all(&serde_json::to_vec_pretty(self)?)?;
            file.sync_all()?;
            fs::rename(&draft, &path)?;
            fs::File::open(&directory)?.sync_all()
        };
        put().map_err(|error| ManifestError::Io { path: path.clone(), error })
    }
}
