//! The authority in the trust stores of this host's programs: put in, and taken out without a trace of it.
//!
//! Every change is written down before it is made (`manifest`), so that what is taken out is exactly what was put in:
//! files of others come back byte for byte unless somebody changed them meanwhile, and then lose our part alone.

mod browsers;
mod change;
mod clients;
mod environment;
mod firefox;
mod java;
mod manifest;
mod own_stores;
mod place;
mod system;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use crate::tls::Certificates;

pub use change::Change;
use change::Journal;
pub use clients::{CLIENTS, Client, Proof, Verdict, prove};
pub use manifest::{Manifest, ManifestError};
pub use own_stores::own_stores;
pub use place::Place;

/// Directory of the manifest and of the files that were changed, as they were; below `[paths] state`.
pub const DIRECTORY: &str = "trust";

/// A kind of trust store, in the order in which they are filled: later ones may point to the system's.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize, clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum Store {
    /// The system's: curl, wget, OpenSSL, GnuTLS, Python's ssl, Go, .NET
    System,
    /// Keystores of Java runtimes that do not follow the system's
    Java,
    /// Firefox, by enterprise policy
    Firefox,
    /// Chromium, Chrome, Edge and Brave, by managed policy
    Chromium,
    /// NODE_EXTRA_CA_CERTS in the environment of new sessions
    Node,
    /// SSL_CERT_FILE and REQUESTS_CA_BUNDLE in the environment of new sessions
    Python,
}

impl Store {
    pub const ALL: [Self; 6] =
        [Self::System, Self::Java, Self::Firefox, Self::Chromium, Self::Node, Self::Python];

    pub fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Java => "java",
            Self::Firefox => "firefox",
            Self::Chromium => "chromium",
            Self::Node => "node",
            Self::Python => "python",
        }
    }
}

/// Why a store was not filled or emptied. Each text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("{path}: {error}")]
    Io { path: PathBuf, error: std::io::Error },
    #[error("{path}: {fault}")]
    Unusable { path: PathBuf, fault: String },
    #[error("`{command}` failed: {output}")]
    Command { command: String, output: String },
    #[error(transparent)]
    Manifest(#[from] ManifestError),
}

impl StoreError {
    fn io(path: &Path, error: std::io::Error) -> Self {
        Self::Io { path: path.into(), error }
    }
}

/// What came of one store.
#[derive(Debug)]
pub struct Report {
    pub store: Store,
    pub outcome: Outcome,
}

#[derive(Debug)]
pub enum Outcome {
    /// What was changed, or what makes a change needless; a line each.
    Done(Vec<String>),
    /// There is no such store here.
    Absent(String),
    Failed(StoreError),
}

/// What a store has to say when it is filled.
pub(crate) enum Filled {
    Done(Vec<String>),
    Absent(String),
}

/// Puts the root into `stores` of the system at `place`. `state` is where the manifest lies.
///
/// What was put into a store before is taken out first, so that this can be repeated, also with another authority.
pub fn put(
    place: &Place,
    state: &Path,
    certificates: &Certificates,
    stores: &[Store],
) -> Result<Vec<Report>, ManifestError> {
    let mut journal = Journal::open(state)?;
    let mut reports = Vec::with_capacity(stores.len());
    for &store in stores {
        // What the system's store is made of is put together once, when it is filled: there is no moment without ours.
        let filled = journal
            .undo(place, store)
            .and_then(|undone| match store {
                Store::System if !undone.is_empty() => system::forget_links(place),
                _ => Ok(false),
            })
            .and_then(|_| fill(place, &mut journal.of(store), certificates, store));
        let outcome = match filled {
            Ok(Filled::Done(lines)) => Outcome::Done(lines),
            Ok(Filled::Absent(why)) => Outcome::Absent(why),
            Err(error) => {
                // Half a change would be worse than none; if this fails as well, the manifest still tells.
                let _ = withdraw(place, &mut journal, store);
                if store == Store::System {
                    let _ = system::refresh_after_removal(place);
                }
                Outcome::Failed(error)
            }
        };
        reports.push(Report { store, outcome });
    }
    journal.close()?;
    Ok(reports)
}

/// Takes what the manifest names out of `stores` again.
pub fn take(place: &Place, state: &Path, stores: &[Store]) -> Result<Vec<Report>, ManifestError> {
    let mut journal = Journal::open(state)?;
    // The other way round: what points to the system's store goes before it.
    let reports = stores
        .iter()
        .rev()
        .map(|&store| {
            let outcome = match withdraw(place, &mut journal, store) {
                Ok(lines) if lines.is_empty() => Outcome::Absent("nothing of ours is in it".to_owned()),
                Ok(lines) => Outcome::Done(lines),
                Err(error) => Outcome::Failed(error),
            };
            Report { store, outcome }
        })
        .collect();
    journal.close()?;
    Ok(reports)
}

fn fill(
    place: &Place,
    journal: &mut change::Of<'_>,
    certificates: &Certificates,
    store: Store,
) -> Result<Filled, StoreError> {
    match store {
        Store::System => system::fill(place, journal, certificates),
        Store::Java => java::fill(place, journal, certificates),
        Store::Firefox => browsers::fill_firefox(place, journal, certificates),
        Store::Chromium => browsers::fill_chromium(place, journal, certificates),
        Store::Node => environment::fill_node(place, journal, certificates),
        Store::Python => environment::fill_python(place, journal),
    }
}

fn withdraw(place: &Place, journal: &mut Journal, store: Store) -> Result<Vec<String>, StoreError> {
    let undone = journal.undo(place, store)?;
    if store == Store::System && !undone.is_empty() {
        system::refresh_after_removal(place)?;
    }
    if store == Store::Firefox && !undone.is_empty() {
        return Ok(undone.into_iter().chain(browsers::left_in_profiles(place)).collect());
    }
    Ok(undone)
}
