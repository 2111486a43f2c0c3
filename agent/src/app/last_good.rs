//! Policies that the agent keeps dying with are not started with for ever: the last set that proved itself takes their
//! place until the files change.
//!
//! A start is noted before connections are accepted and struck out when the agent ends in order, or has lived long enough.
//! What is left are starts that a crash, a kill or the watchdog ended.

use std::cell::{Cell, RefCell};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::admin::health::Condition;
use crate::admin::status::RollbackStatus;
use crate::policy::PolicySet;

/// So many starts in a row that died with the same set are its fault.
const DEATHS: usize = 3;
/// Within this time, or they are apart.
const WITHIN: SignedDuration = SignedDuration::from_mins(10);
/// An agent that lives so long did not die of its policies.
const PROVEN_AFTER: Duration = Duration::from_secs(60);

/// Below `[paths] state`.
const DIRECTORY: &str = "policies";
const STARTS: &str = "starts.json";
const GOOD: &str = "last-good.json";

/// The starts with one set that are not known to have ended well.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Starts {
    set: Uuid,
    times: Vec<Timestamp>,
}

impl Starts {
    /// Notes a start with `set`; whether the set has had its chances.
    fn note(&mut self, set: Uuid, now: Timestamp) -> bool {
        if self.set != set {
            *self = Self { set, times: Vec::new() };
        }
        // Once they are too many they stay so: a rest does not mend the files.
        if self.times.len() >= DEATHS {
            return true;
        }
        self.times.retain(|time| now.duration_since(*time).abs() <= WITHIN);
        self.times.push(now);
        false
    }
}

/// Watches over the set in force. Dropped when the agent ends in order.
pub(super) struct LastGood {
    directory: PathBuf,
    set: Cell<Uuid>,
    since: Cell<Instant>,
    proven: Cell<bool>,
    rolled_back: RefCell<Option<RollbackStatus>>,
}

impl LastGood {
    /// Notes the start. Where the set has died too often already, gives the one to start with instead.
    /// A disk that cannot be written keeps no account, and nobody from starting.
    pub(super) fn begin(state: &Path, policies: &PolicySet) -> (Self, Option<PolicySet>) {
        let directory = state.join(DIRECTORY);
        let starts = directory.join(STARTS);
        // A file that is damaged is as good as none.
        let mut noted: Starts =
            fs::read(&starts).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
        let spent = noted.note(policies.id(), Timestamp::now());
        let good = if spent { good(&directory, policies.id()) } else { None };
        let in_force = good.as_ref().map_or(policies.id(), PolicySet::id);
        let rolled_back = good.as_ref().map(|good| RollbackStatus {
            refused: policies.id(),
            in_force: good.id(),
            since: Timestamp::now(),
        });
        let watch = Self {
            directory,
            set: Cell::new(in_force),
            since: Cell::new(Instant::now()),
            proven: Cell::new(false),
            rolled_back: RefCell::new(rolled_back),
        };
        watch.keep(|| {
            fs::create_dir_all(&watch.directory)?;
            write(&starts, &serde_json::to_string(&noted)?)
        });
        (watch, good)
    }

    pub(super) fn rolled_back(&self) -> Option<RollbackStatus> {
        self.rolled_back.borrow().clone()
    }

    pub(super) fn condition(&self) -> Condition {
        match &*self.rolled_back.borrow() {
            None => Condition::Ok,
            Some(_) => Condition::Degraded(
                "the agent kept dying with the policies of the files; the last good ones are in force".into(),
            ),
        }
    }

    /// Another set is in force: it has its own chances.
    pub(super) fn replaced(&self, policies: &PolicySet) {
        self.set.set(policies.id());
        self.since.set(Instant::now());
        self.proven.set(false);
        *self.rolled_back.borrow_mut() = None;
        self.keep(|| {
            let starts = Starts { set: policies.id(), times: vec![Timestamp::now()] };
            write(&self.directory.join(STARTS), &serde_json::to_string(&starts)?)
        });
    }

    /// Now and then: once the set has lived long enough it is the last good one.
    pub(super) fn look(&self, policies: &PolicySet) {
        let due = !self.proven.get() && self.since.get().elapsed() >= PROVEN_AFTER;
        if due && policies.id() == self.set.get() {
            self.proven.set(true);
            self.keep(|| write(&self.directory.join(GOOD), &policies.document()));
            self.strike_out();
        }
    }

    /// The set in the files stays refused while it is rolled back; any other start has ended well.
    fn strike_out(&self) {
        if self.rolled_back.borrow().is_none() {
            self.keep(|| match fs::remove_file(self.directory.join(STARTS)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            });
        }
    }

    /// What cannot be kept must not stop an agent that works.
    fn keep(&self, write: impl FnOnce() -> io::Result<()>) {
        if let Err(error) = write() {
            tracing::warn!("cannot keep account of policy sets in {}: {error}", self.directory.display());
        }
    }
}

impl Drop for LastGood {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.strike_out();
        }
    }
}

/// The last good set, unless it is the one that dies.
fn good(directory: &Path, refused: Uuid) -> Option<PolicySet> {
    let path = directory.join(GOOD);
    let document = match fs::read_to_string(&path) {
        Ok(document) => document,
        Err(error) => {
            tracing::error!(
                "the agent keeps dying with these policies, and there is no earlier set to go back to ({}: {error})",
                path.display()
            );
            return None;
        }
    };
    match PolicySet::from_document(&document) {
        Ok(set) if set.id() == refused => {
            tracing::error!("the agent keeps dying, with the policies that were the last good ones");
            None
        }
        Ok(set) => Some(set),
        Err(error) => {
            tracing::error!(
                "the agent keeps dying with these policies; the last good ones in {} are {error}",
                path.display()
            );
            None
        }
    }
}

/// In one step, so that a kill in between leaves the file as it was.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let draft = path.with_extension("new");
    fs::write(&draft, text)?;
    fs::rename(&draft, path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Catalog;
    use crate::diagnostic::SourceFile;
    use crate::policy::Networks;

    fn set(name: &str) -> PolicySet {
        let text =
            format!("[[policy]]\nname = '{name}'\napps.include = ['all']\nsession.control = 'monitor-only'");
        PolicySet::build(&[SourceFile::new("p.toml", text)], &Catalog::builtin(), &Networks::new()).unwrap()
    }

    /// Starts with a set and dies; gives the set that was started with instead.
    fn die(state: &Path, policies: &PolicySet) -> Option<Uuid> {
        let (watch, instead) = LastGood::begin(state, policies);
        std::mem::forget(watch);
        instead.map(|set| set.id())
    }

    #[test]
    fn a_set_that_dies_three_times_gives_way_to_the_last_good_one_until_the_files_change() {
        let directory = tempfile::tempdir().unwrap();
        let state = directory.path();
        let (good, bad, other) = (set("good"), set("bad"), set("other"));
        let (watch, instead) = LastGood::begin(state, &good);
        assert!(instead.is_none());
        watch.since.set(Instant::now() - PROVEN_AFTER);
        watch.look(&good);
        drop(watch);

        for _ in 0..DEATHS {
            assert_eq!(die(state, &bad), None);
        }
        for _ in 0..2 {
            assert_eq!(die(state, &bad), Some(good.id()));
        }
        // An orderly end does not make the files better.
        let (watch, _) = LastGood::begin(state, &bad);
        let told = watch.rolled_back().unwrap();
        assert_eq!((told.refused, told.in_force), (bad.id(), good.id()));
        drop(watch);
        assert_eq!(die(state, &bad), Some(good.id()));
        assert_eq!(die(state, &other), None);
        assert_eq!(die(state, &bad), None, "it was changed in between");
    }

    #[test]
    fn starts_that_end_in_order_do_not_count() {
        let directory = tempfile::tempdir().unwrap();
        let policies = set("p");
        for _ in 0..2 * DEATHS {
            drop(LastGood::begin(directory.path(), &policies));
        }
        for _ in 0..DEATHS {
            assert_eq!(die(directory.path(), &policies), None);
        }
        assert_eq!(die(directory.path(), &policies), None, "there is nothing to go back to");
        fs::write(directory.path().join("policies/starts.json"), "damaged").unwrap();
        assert_eq!(die(directory.path(), &policies), None);
    }

    #[test]
    fn a_reload_is_a_set_of_its_own() {
        let directory = tempfile::tempdir().unwrap();
        let (first, second) = (set("first"), set("second"));
        let (watch, _) = LastGood::begin(directory.path(), &first);
        watch.since.set(Instant::now() - PROVEN_AFTER);
        watch.look(&first);
        watch.replaced(&second);
        std::mem::forget(watch);
        assert_eq!(die(directory.path(), &second), None);
        assert_eq!(die(directory.path(), &second), None);
        assert_eq!(die(directory.path(), &second), Some(first.id()), "the reload died with it as well");
    }

    #[test]
    fn deaths_far_apart_are_not_counted_together() {
        let now = Timestamp::UNIX_EPOCH;
        let mut starts = Starts::default();
        for number in 0..10 {
            assert!(!starts.note(Uuid::from_u128(1), now + WITHIN * number));
        }
        let mut starts = Starts::default();
        for number in 0..DEATHS as i32 {
            assert!(!starts.note(Uuid::from_u128(1), now + SignedDuration::from_mins(1) * number));
        }
        assert!(starts.note(Uuid::from_u128(1), now + WITHIN * 50));
    }
}
