//! The activity log as the commands open it.

use std::path::Path;

use crate::admin::denied;
use crate::record::query::{QueryError, Reader};

/// Opens it for reading; that somebody may not is told to the system's log.
pub(super) fn open(path: &Path) -> Result<Reader, QueryError> {
    Reader::open(path).inspect_err(|error| {
        if let QueryError::Denied(path) = error {
            denied::note(path);
        }
    })
}
