//! Putting this program on a system with everything that belongs to it, and taking all of it away.
//!
//! The program carries its files, so that a single file is a whole installation, and packages are made of the same list
//! (`portcullis install --root`).

mod files;
mod host;
#[cfg(test)]
mod tests;

use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

pub use files::{DIRECTORIES, FILES, File, Kind, PROGRAM};
pub use host::{Removal, permitted, remove, set_up, start, stop};

/// A file made at the moment of installing: a manual page, a completion script.
#[derive(Debug)]
pub struct Generated {
    pub path: PathBuf,
    pub content: Vec<u8>,
}

#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    #[error("{path}: {error}")]
    Io { path: PathBuf, error: io::Error },
    #[error("this takes root")]
    NotRoot,
    #[error("{0} was installed by this system's package manager: let that install, upgrade and remove it")]
    Packaged(&'static str),
}

impl InstallError {
    fn io(path: &Path, error: io::Error) -> Self {
        Self::Io { path: path.into(), error }
    }
}

/// Writes program and files below `root`, and says what was done. A configuration file that is there stays as it is.
pub fn lay_out(root: &Path, program: &Path, generated: &[Generated]) -> Result<Vec<String>, InstallError> {
    let mut said = Vec::new();
    for directory in DIRECTORIES {
        let path = below(root, directory);
        fs::create_dir_all(&path)
            .and_then(|()| fs::set_permissions(&path, Permissions::from_mode(0o755)))
            .map_err(|error| InstallError::io(&path, error))?;
    }
    let target = below(root, PROGRAM);
    // A program that is put over itself would be lost half way.
    if target.canonicalize().ok() != program.canonicalize().ok() || !target.exists() {
        let content = fs::read(program).map_err(|error| InstallError::io(program, error))?;
        write(&target, &content, 0o755)?;
        said.push(format!("wrote {PROGRAM}"));
    }
    for file in &FILES {
        let path = below(root, file.path);
        if file.kind == Kind::Configuration && path.exists() {
            let same = fs::read(&path).is_ok_and(|there| there == file.content.as_bytes());
            if !same {
                said.push(format!("left {} as it is", file.path));
            }
            continue;
        }
        write(&path, file.content.as_bytes(), 0o644)?;
        said.push(format!("wrote {}", file.path));
    }
    for file in generated {
        write(&below(root, &file.path), &file.content, 0o644)?;
    }
    said.push(format!("wrote {} manual pages and completion scripts", generated.len()));
    Ok(said)
}

/// Removes what [`lay_out`] wrote, and directories that are empty then. Changed configuration stays unless `purge`.
pub fn take_away(root: &Path, generated: &[PathBuf], purge: bool) -> Result<Vec<String>, InstallError> {
    let mut said = Vec::new();
    let mut gone = |path: &Path, shown: &str| match fs::remove_file(path) {
        Ok(()) => {
            said.push(format!("removed {shown}"));
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(InstallError::io(path, error)),
    };
    for file in &FILES {
        let path = below(root, file.path);
        let changed = fs::read(&path).is_ok_and(|there| there != file.content.as_bytes());
        if file.kind == Kind::Plain || purge || !changed {
            gone(&path, file.path)?;
        }
    }
    for path in generated {
        gone(&below(root, path), &path.display().to_string())?;
    }
    gone(&below(root, PROGRAM), PROGRAM)?;
    for directory in DIRECTORIES.iter().rev() {
        // What others put there keeps it.
        let _ = fs::remove_dir(below(root, directory));
    }
    Ok(said)
}

fn below(root: &Path, path: impl AsRef<Path>) -> PathBuf {
    let path = path.as_ref();
    root.join(path.strip_prefix("/").unwrap_or(path))
}

/// In one step, so that a running program and its readers see the old file or the new one.
fn write(path: &Path, content: &[u8], mode: u32) -> Result<(), InstallError> {
    let put = || -> io::Result<()> {
        let parent = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
        fs::create_dir_all(parent)?;
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_string_lossy();
        let draft = path.with_file_name(format!(".{name}.portcullis-new"));
        let _ = fs::remove_file(&draft);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
        file.write_all(content)?;
        file.set_permissions(Permissions::from_mode(mode))?;
        file.sync_all()?;
        fs::rename(&draft, path)
    };
    put().map_err(|error| InstallError::io(path, error))
}
