//! Hands stored records on to a SIEM: reads the activity log in the order of writing, never the data path, and remembers
//! how far each receiver has come. At least once: what a receiver may not have got is sent again, and so is the record of a
//! download that was under way, once it has ended.
//!
//! Neither TCP nor syslog confirms a message. A record counts as received when its connection has lived on for
//! [`CONFIRMED_AFTER`], so a receiver that dies takes nothing along, and sees the last seconds twice.

mod cursor;
mod open;
mod target;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::watch;
use uuid::Uuid;

use crate::config::{Export, ExportTarget};
use crate::record::query::{Cursor, Entry, Filter, QueryError, Reader};
use crate::siem::{self, Severity};
use crate::tls::OriginConnector;
use cursor::Kept;
use open::OpenTransfers;
use target::{Target, TargetError};

/// How often the log is looked at for something new.
const POLL: Duration = Duration::from_millis(200);
/// Waiting time between attempts at a receiver that fails, doubled from the first to the last.
const RETRY_FIRST: Duration = Duration::from_millis(500);
const RETRY_LAST: Duration = Duration::from_secs(30);
/// How long a connection has to live on behind a record that is to count as received.
const CONFIRMED_AFTER: Duration = Duration::from_secs(5);
/// Pages of records that wait for their confirmation; reading goes on when the oldest was confirmed.
const UNCONFIRMED_MAX: usize = 4096;

/// How far an export has come, for `status`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExportState {
    pub name: Arc<str>,
    pub target: String,
    /// Records and gaps handed over by this process, repetitions included.
    pub sent: u64,
    pub last: Option<Timestamp>,
    /// Why nothing can be handed over at the moment.
    pub trouble: Option<String>,
}

/// All exports, each with a task on one thread of their own. Dropped, they end.
pub struct Exports {
    states: Vec<Arc<Mutex<ExportState>>>,
    stop: Option<watch::Sender<bool>>,
    thread: Option<JoinHandle<()>>,
}

/// One export with what it needs to connect.
pub struct Prepared {
    pub export: Export,
    /// For targets of TLS.
    pub connector: Option<OriginConnector>,
}

impl Exports {
    /// `log` is the activity log; cursors are kept beside it.
    pub fn start(exports: Vec<Prepared>, log: &Path) -> std::io::Result<Self> {
        let (stop, stopped) = watch::channel(false);
        let (mut states, mut jobs) = (Vec::new(), Vec::new());
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let host: Arc<str> = host.trim().into();
        for Prepared { export, connector } in exports {
            let state = Arc::new(Mutex::new(ExportState {
                name: export.name.clone(),
                target: export.target.to_string(),
                ..ExportState::default()
            }));
            states.push(state.clone());
            let kept = log.with_file_name(format!("export-{}.json", export.name));
            jobs.push(Job { export, connector, host: host.clone(), log: log.to_owned(), kept, state });
        }
        if jobs.is_empty() {
            return Ok(Self { states, stop: None, thread: None });
        }
        let thread = std::thread::Builder::new().name("exports".to_owned()).spawn(move || {
            match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime.block_on(run_all(jobs, stopped)),
                Err(error) => tracing::error!("no runtime for the exports: {error}"),
            }
        })?;
        Ok(Self { states, stop: Some(stop), thread: Some(thread) })
    }

    pub fn states(&self) -> Vec<ExportState> {
        let locked =
            |state: &Arc<Mutex<ExportState>>| state.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.states.iter().map(locked).collect()
    }
}

impl Drop for Exports {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn run_all(jobs: Vec<Job>, stopped: watch::Receiver<bool>) {
    let mut tasks = tokio::task::JoinSet::new();
    let local = tokio::task::LocalSet::new();
    local
        .run_until(async move {
            for job in jobs {
                let mut stopped = stopped.clone();
                tasks.spawn_local(async move {
                    tokio::select! {
                        () = job.run() => {}
                        // The other end is dropped.
                        _ = stopped.changed() => {}
                    }
                });
            }
            while tasks.join_next().await.is_some() {}
        })
        .await;
}

/// What was handed on at once.
struct Page {
    up_to: Cursor,
    /// Of records that were handed on again.
    ended: Vec<Uuid>,
}

fn id(entry: &Entry) -> Option<Uuid> {
    match entry {
        Entry::Activity(activity) => Some(activity.id),
        Entry::Gap(_) => None,
    }
}

struct Job {
    export: Export,
    connector: Option<OriginConnector>,
    host: Arc<str>,
    log: PathBuf,
    /// Where the cursor is kept.
    kept: PathBuf,
    state: Arc<Mutex<ExportState>>,
}

#[derive(Debug, thiserror::Error)]
enum ExportError {
    #[error(transparent)]
    Log(#[from] QueryError),
    #[error(transparent)]
    Target(#[from] TargetError),
    #[error("the position cannot be kept: {0}")]
    Kept(#[from] std::io::Error),
}

impl Job {
    async fn run(&self) {
        let mut retry = RETRY_FIRST;
        loop {
            let began = Instant::now();
            if let Err(error) = self.connected().await {
                let why = error.to_string();
                if self.note(|state| state.trouble.replace(why.clone())).is_none() {
                    tracing::warn!(export = &*self.export.name, "{why}");
                }
            }
            // What served for a while gets a fresh start.
            retry = if began.elapsed() > RETRY_LAST { RETRY_FIRST } else { (retry * 2).min(RETRY_LAST) };
            tokio::time::sleep(retry).await;
        }
    }

    /// Hands records over until something fails.
    async fn connected(&self) -> Result<(), ExportError> {
        let mut target = Target::open(&self.export.target, self.connector.as_ref()).await?;
        let mut log = OpenLog::open(&self.log)?;
        let mut kept = Kept::read(&self.kept);
        let mut at = kept.cursor_in(log.id);
        let mut open = OpenTransfers::resume(kept.open_in(log.id));
        let mut unconfirmed: VecDeque<(Instant, Page)> = VecDeque::new();
        if self.note(|state| state.trouble.take()).is_some() {
            tracing::info!(export = &*self.export.name, "exports again");
        }
        loop {
            let now = Instant::now();
            let mut confirmed = None;
            while let Some((sent, page)) = unconfirmed.front() {
                if !target.confirms_at_once() && now.duration_since(*sent) < CONFIRMED_AFTER {
                    break;
                }
                confirmed = Some(page.up_to);
                open.confirmed(&page.ended);
                unconfirmed.pop_front();
            }
            if let Some(cursor) = confirmed {
                kept.write(&self.kept, log.id, (cursor, open.ids()))?;
            }
            if log.is_replaced(&self.log) {
                log = OpenLog::open(&self.log)?;
                at = kept.cursor_in(log.id);
                open = OpenTransfers::resume(kept.open_in(log.id));
                unconfirmed.clear();
            }
            let before = at;
            let (mut entries, mut ended) = (Vec::new(), Vec::new());
            if unconfirmed.len() < UNCONFIRMED_MAX {
                entries = open.ended(&log.reader, now)?;
                ended = entries.iter().filter_map(id).collect();
                let added = log.reader.added_since(&mut at, &Filter::default())?;
                open.note(&added);
                entries.extend(added);
            }
            if at == before && entries.is_empty() {
                target.idle(POLL).await?;
                continue;
            }
            if !entries.is_empty() {
                target.write(&self.encode(&entries)).await?;
                self.note(|state| {
                    state.sent += entries.len() as u64;
                    state.last = Some(Timestamp::now());
                });
            }
            unconfirmed.push_back((Instant::now(), Page { up_to: at, ended }));
        }
    }

    fn encode(&self, entries: &[Entry]) -> Vec<u8> {
        let mut out = Vec::new();
        for entry in entries {
            let form = self.export.form;
            let (meaning, text) = match entry {
                Entry::Activity(activity) => (
                    (Severity::of(activity.decision.action), activity.time, activity.kind.name()),
                    siem::activity(form, activity, &self.host),
                ),
                Entry::Gap(gap) => {
                    let (since, until, count) = (gap.since, gap.until, gap.count);
                    let missing = siem::Missing { since, until, count, reason: &gap.reason };
                    ((Severity::Error, until, "gap"), siem::missing(form, &missing, &self.host))
                }
            };
            match self.export.target {
                ExportTarget::File(_) => {
                    out.extend_from_slice(text.as_bytes());
                    out.push(b'\n');
                }
                ExportTarget::Tcp { .. } | ExportTarget::Tls { .. } => {
                    siem::frame(meaning, (&self.host, std::process::id()), &text, &mut out);
                }
            }
        }
        out
    }

    fn note<T>(&self, change: impl FnOnce(&mut ExportState) -> T) -> T {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The log, and what tells it from one that took its place.
struct OpenLog {
    reader: Reader,
    id: uuid::Uuid,
    file: Option<(u64, u64)>,
}

impl OpenLog {
    fn open(path: &Path) -> Result<Self, QueryError> {
        let reader = Reader::open(path)?;
        Ok(Self { id: reader.log_id()?, reader, file: identity(path) })
    }

    fn is_replaced(&self, path: &Path) -> bool {
        identity(path) != self.file
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(path).ok().map(|m| (m.dev(), m.ino()))
}

#[cfg(test)]
mod tests;
