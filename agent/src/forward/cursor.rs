//! How far a receiver has come, in a file that outlives the process and knows which log it speaks of.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::record::query::Cursor;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Kept {
    log: Uuid,
    cursor: Cursor,
    /// Records to be handed on again, once their downloads have ended.
    #[serde(default)]
    open: Vec<Uuid>,
}

impl Kept {
    /// Without a readable file everything is sent again: twice is better than never.
    pub(super) fn read(path: &Path) -> Self {
        fs::read(path).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
    }

    /// The position in this log; its beginning when the file speaks of another.
    pub(super) fn cursor_in(&self, log: Uuid) -> Cursor {
        if self.log == log { self.cursor } else { Cursor::default() }
    }

    pub(super) fn open_in(&self, log: Uuid) -> &[Uuid] {
        if self.log == log { &self.open } else { &[] }
    }

    /// In one step, so that a kill leaves the old position or the new one.
    pub(super) fn write(
        &mut self,
        path: &Path,
        log: Uuid,
        (cursor, open): (Cursor, Vec<Uuid>),
    ) -> io::Result<()> {
        (self.log, self.cursor, self.open) = (log, cursor, open);
        let draft = path.with_extension("json.new");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        fs::rename(&draft, path)
    }
}
