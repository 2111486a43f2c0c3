//! Files in the state directory that are replaced as a whole.

use std::path::Path;
use std::{fs, io};

/// In one step, so that a kill in between leaves the file as it was.
pub(crate) fn replace(path: &Path, text: &str) -> io::Result<()> {
    let draft = path.with_extension("new");
    fs::write(&draft, text)?;
    fs::rename(&draft, path)
}
