//! The tables of the activity log, their migrations, and how a file is opened, checked or set aside.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, OpenFlags};

use crate::record::{contexts, policy_sets, segments, shapes};

/// Only the daemon's user reads who did what.
const FILE_MODE: u32 = 0o600;
/// How long one connection waits for another's lock. Readers never hold the write lock; a copy in progress may.
const BUSY_TIMEOUT: Duration = Duration::from_millis(250);
/// A larger file is not read through at start: that would delay the daemon by more than a second.
const CHECK_AT_START_MAX: u64 = 256 << 20;
/// The write-ahead log is cut back to this size after a checkpoint.
const WAL_LIMIT: u64 = 64 << 20;

/// Each step moves the file one `user_version` on. A step that was released is never edited.
pub(super) const MIGRATIONS: &[&str] = &[
    ACTIVITIES,
    policy_sets::TABLE,
    USAGE,
    CLIENTS,
    contexts::TABLE,
    segments::TABLES,
    contexts::COLUMNS,
    shapes::TABLE,
];

/// By now `record` is the JSON of what neither the other columns nor the context and the shape say.
const ACTIVITIES: &str = "
CREATE TABLE activities (
    seq       INTEGER PRIMARY KEY AUTOINCREMENT, -- order of writing; never used twice, so --follow can rely on it
    id        BLOB    NOT NULL UNIQUE,           -- UUIDv7
    time      INTEGER NOT NULL,                  -- microseconds since 1970
    type      TEXT    NOT NULL,
    action    TEXT    NOT NULL,
    app       TEXT    NOT NULL,
    suite     TEXT,
    user      TEXT,
    uid       INTEGER,
    device    TEXT    NOT NULL,
    client_ip BLOB    NOT NULL,                  -- 4 or 16 bytes, so that networks are ranges
    policy    TEXT,
    file      TEXT,
    record    TEXT    NOT NULL                   -- the whole record as JSON
) STRICT;
CREATE INDEX activities_time   ON activities (time);
CREATE INDEX activities_app    ON activities (app, time);
CREATE INDEX activities_user   ON activities (user, time);
CREATE INDEX activities_action ON activities (action, time);
CREATE INDEX activities_policy ON activities (policy, time) WHERE policy IS NOT NULL;

CREATE TABLE gaps (
    seq    INTEGER PRIMARY KEY AUTOINCREMENT,
    since  INTEGER NOT NULL,                     -- microseconds since 1970: first and last loss
    until  INTEGER NOT NULL,
    count  INTEGER NOT NULL,                     -- records lost; 0 when the number is not known
    reason TEXT    NOT NULL
) STRICT;

CREATE TABLE runs (
    id      BLOB    PRIMARY KEY,
    started INTEGER NOT NULL,
    stored  INTEGER NOT NULL,
    lost    INTEGER NOT NULL,                    -- of the admitted records, those already announced in gaps
    closed  INTEGER NOT NULL                     -- 1 once nothing of this run is left to account for
) STRICT, WITHOUT ROWID;
";

const USAGE: &str = "
CREATE TABLE apps (
    id         TEXT    PRIMARY KEY,
    name       TEXT    NOT NULL,
    suite      TEXT,
    category   TEXT,
    first_seen INTEGER NOT NULL,                 -- microseconds since 1970: first inspected connection
    last_seen  INTEGER NOT NULL,
    sessions   INTEGER NOT NULL,                 -- inspected connections
    allowed    INTEGER NOT NULL,                 -- downloads
    blocked    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE app_users (
    app       TEXT    NOT NULL,
    user      TEXT    NOT NULL,
    last_seen INTEGER NOT NULL,
    PRIMARY KEY (app, user)
) STRICT, WITHOUT ROWID;
CREATE TABLE discovered (                        -- hosts that no app owns
    domain     TEXT    NOT NULL,
    app        TEXT    NOT NULL,
    via        TEXT    NOT NULL,
    first_seen INTEGER NOT NULL,
    last_seen  INTEGER NOT NULL,
    count      INTEGER NOT NULL,
    PRIMARY KEY (domain, app, via)
) STRICT, WITHOUT ROWID;
-- How the body of a download ended; newer than what the record says.
ALTER TABLE activities ADD COLUMN transfer TEXT;
ALTER TABLE activities ADD COLUMN sent     INTEGER;
-- What the usual filters take; `--app` asks for app and suite apart.
CREATE INDEX activities_type  ON activities (type, time);
CREATE INDEX activities_suite ON activities (suite, time) WHERE suite IS NOT NULL;
CREATE INDEX activities_file  ON activities (file COLLATE NOCASE, time) WHERE file IS NOT NULL;
CREATE INDEX activities_open ON activities (transfer) WHERE transfer = 'open';
CREATE TABLE log (                               -- one row
    id      BLOB    NOT NULL,                    -- random: whoever keeps a position knows whose it is
    records INTEGER NOT NULL                     -- rows of activities, which take seconds to count when they are many
) STRICT;
INSERT INTO log SELECT randomblob(16), count(*) FROM activities;
";

/// By now the business of [`segments`], which drops them, as it does most of those above.
const CLIENTS: &str = "
CREATE INDEX activities_ip     ON activities (client_ip, time);
CREATE INDEX activities_device ON activities (device, time);
";

/// How the file came to be open.
#[derive(Debug)]
pub(super) enum Checked {
    Sound(Connection),
    /// The old file was damaged, or of a newer version, and now lies at `to`.
    SetAside {
        fresh: Connection,
        to: PathBuf,
        why: String,
    },
}

/// Opens the log for writing. A damaged file is set aside, never repaired in place and never a reason not to start.
pub(super) fn open_or_set_aside(path: &Path, max_pages: Option<u32>) -> rusqlite::Result<Checked> {
    let why = match open(path, max_pages) {
        Ok(connection) => return Ok(Checked::Sound(connection)),
        Err(error) if is_damage(&error) => error.to_string(),
        Err(error) => return Err(error),
    };
    replace(path, max_pages, why)
}

/// Sets the file aside without looking at it again and opens a fresh one.
pub(super) fn replace(path: &Path, max_pages: Option<u32>, why: String) -> rusqlite::Result<Checked> {
    let to = set_aside(path).map_err(cannot_open)?;
    Ok(Checked::SetAside { fresh: open(path, max_pages)?, to, why })
}

/// Opens the log for reading; needs no daemon and changes nothing.
pub(super) fn open_for_reading(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "query_only", true)?;
    check_version(&connection)?;
    Ok(connection)
}

/// A reader that stays may see a newer program take the file over.
pub(super) fn check_version(connection: &Connection) -> rusqlite::Result<()> {
    let version: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if version as usize != MIGRATIONS.len() {
        return Err(damaged(format!("written by another version of the program (schema {version})")));
    }
    Ok(())
}

/// Whether the file itself is bad, as opposed to the disk, the rights or the moment.
pub(super) fn is_damage(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    matches!(error.sqlite_error_code(), Some(DatabaseCorrupt | NotADatabase))
}

fn open(path: &Path, max_pages: Option<u32>) -> rusqlite::Result<Connection> {
    let size = make_private(path).map_err(cannot_open)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    // SQLite is content with less than it was asked for, and would hold on to it when the disk can be written again.
    if connection.is_readonly(rusqlite::MAIN_DB)? {
        return Err(cannot_open(std::io::ErrorKind::ReadOnlyFilesystem.into()));
    }
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(32);
    // Before anything is written, so that a damaged file is set aside as it was found.
    if size <= CHECK_AT_START_MAX {
        check(&connection)?;
    }
    if size == 0 {
        // Lets retention give pages back without rewriting the file; only takes effect before the first table.
        connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    }
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    // In WAL mode NORMAL survives every death of the process; only a power cut can take the last commits.
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update_and_check(None, "journal_size_limit", WAL_LIMIT as i64, |_| Ok(()))?;
    if let Some(pages) = max_pages {
        connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))?;
    }
    migrate(&mut connection)?;
    if size == 0 {
        while segments::drop_old_index(&connection)? {}
    }
    // What a statement of many rows has to keep for its own undoing, some dozens of pages: no file is made for that. Not
    // before the tables are as they should be, as sorting a whole log takes more.
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    Ok(connection)
}

/// Sees to it that the file is there and only its owner's, and gives its size. SQLite gives the files beside it the mode of
/// the main file, so that must be right before there are any.
///
/// A file that is there is not opened: closing any descriptor of it would drop the locks that this process's readers hold
/// on it (fcntl(2)), and a checkpoint by another could then take the pages they read away.
fn make_private(path: &Path) -> std::io::Result<u64> {
    match OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(path) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let metadata = fs::metadata(path)?;
    if metadata.permissions().mode() & 0o777 != FILE_MODE {
        fs::set_permissions(path, fs::Permissions::from_mode(FILE_MODE))?;
    }
    Ok(metadata.len())
}

fn check(connection: &Connection) -> rusqlite::Result<()> {
    let verdict: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if verdict == "ok" { Ok(()) } else { Err(damaged(verdict)) }
}

fn migrate(connection: &mut Connection) -> rusqlite::Result<()> {
    let version: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let Some(missing) = MIGRATIONS.get(version as usize..) else {
        return Err(damaged(format!("written by a newer version of the program (schema {version})")));
    };
    for (step, sql) in missing.iter().enumerate() {
        let transaction = connection.transaction()?;
        transaction.execute_batch(sql)?;
        transaction.pragma_update(None, "user_version", version + step as u32 + 1)?;
        transaction.commit()?;
    }
    Ok(())
}

/// Renames the file and those SQLite keeps beside it; the evidence stays for whoever wants to look.
fn set_aside(path: &Path) -> std::io::Result<PathBuf> {
    let stamp = Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
    // Several in one second can only be tests or a dying disk; either way none may overwrite another.
    for attempt in 0..100_u32 {
        let suffix =
            if attempt == 0 { format!(".damaged-{stamp}") } else { format!(".damaged-{stamp}-{attempt}") };
        let to = beside(path, &suffix);
        if to.exists() {
            continue;
        }
        fs::rename(path, &to)?;
        for part in ["-wal", "-shm"] {
            match fs::rename(beside(path, part), beside(&to, part)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        return Ok(to);
    }
    Err(std::io::Error::other("too many damaged activity logs beside this one"))
}

/// `activity.db` and `-wal` make `activity.db-wal`.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// A reader keeps the write-ahead log from being cut back.
pub(super) fn held_open() -> rusqlite::Error {
    let why = "another program has held the activity log open for too long; nothing is stored until it ends";
    rusqlite::Error::SqliteFailure(
        rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY),
        Some(why.to_owned()),
    )
}

fn damaged(why: String) -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT), Some(why))
}

fn cannot_open(error: std::io::Error) -> rusqlite::Error {
    let code = match error.kind() {
        std::io::ErrorKind::StorageFull => rusqlite::ffi::SQLITE_FULL,
        _ => rusqlite::ffi::SQLITE_CANTOPEN,
    };
    rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), Some(error.to_string()))
}
