//! A record as it waits for the database: taken apart where it was made, on the thread of its connection.
//!
//! What a session and its policies are named by is shared by many records and many threads. It is dropped where it was taken,
//! so that processors wait for one another's count of references once a record, and the writer has nothing to do but write.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::BuildHasher as _;
use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use foldhash::quality::RandomState;
use uuid::Uuid;

use crate::activity::{Activity, TransferFacts};
use crate::classify::ActivityType;

/// Contexts that one thread keeps, each with a record of one or two KiB. Beyond them all are made anew.
const KNOWN_MAX: usize = 256;

/// One for all threads, so that equal contexts have equal hashes.
static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::default);

thread_local! {
    static MADE: RefCell<Made> = RefCell::default();
}

/// What this thread made last.
#[derive(Default)]
struct Made {
    known: HashMap<u64, Arc<Kept>>,
    /// That of the record before: exchanges of one client come one after the other, and to compare costs less than to hash.
    last: Option<Arc<Kept>>,
    /// Where one record after the other becomes text.
    json: Vec<u8>,
}

/// The context of many records.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) hash: u64,
    /// A record that has it.
    pub(super) record: Activity,
}

impl PartialEq for Kept {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash && self.record.context() == other.record.context()
    }
}

/// A record in the parts in which it is stored.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) id: Uuid,
    /// Microseconds since 1970.
    pub(super) time: i64,
    pub(super) kind: ActivityType,
    pub(super) client: IpAddr,
    pub(super) file: Option<Arc<str>>,
    /// How long the decision took, in microseconds.
    pub(super) micros: u64,
    pub(super) transfer: Option<TransferFacts>,
    pub(super) kept: Arc<Kept>,
    /// JSON of what is its own.
    pub(super) own: Box<[u8]>,
}

impl Pending {
    /// # Errors
    /// There is no JSON for something in it.
    pub(super) fn of(activity: &Activity) -> serde_json::Result<Self> {
        MADE.with_borrow_mut(|made| {
            made.json.clear();
            serde_json::to_writer(&mut made.json, &activity.own())?;
            Ok(Self {
                id: activity.id,
                time: activity.time.as_microsecond(),
                kind: activity.kind,
                client: activity.client.address,
                file: activity.file.as_ref().and_then(|file| file.name.clone()),
                micros: activity.decision.micros,
                transfer: activity.transfer,
                kept: made.kept(activity),
                own: made.json.as_slice().into(),
            })
        })
    }
}

impl Made {
    fn kept(&mut self, activity: &Activity) -> Arc<Kept> {
        let context = activity.context();
        if let Some(last) = self.last.as_ref().filter(|last| last.record.context() == context) {
            return Arc::clone(last);
        }
        let hash = HASHER.hash_one(&context);
        let known = self.known.get(&hash).filter(|kept| kept.record.context() == context).map(Arc::clone);
        let kept = known.unwrap_or_else(|| self.keep(hash, activity));
        self.last = Some(Arc::clone(&kept));
        kept
    }

    fn keep(&mut self, hash: u64, activity: &Activity) -> Arc<Kept> {
        if self.known.len() >= KNOWN_MAX {
            self.known.clear();
        }
        let kept = Arc::new(Kept { hash, record: activity.clone() });
        self.known.insert(hash, Arc::clone(&kept));
        kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::activity::tests::sample;

    #[test]
    fn records_of_one_context_share_it_and_no_others() {
        let of = |user: &str, micros: u64| {
            let mut activity = sample();
            activity.user.name = Some(user.into());
            activity.decision.micros = micros;
            Pending::of(&activity).unwrap()
        };
        let (first, second, other) = (of("ada", 1), of("ada", 2), of("bob", 1));
        assert!(Arc::ptr_eq(&first.kept, &second.kept));
        assert_eq!((first.micros, second.micros), (1, 2));
        assert!(*first.kept != *other.kept);
        let elsewhere = std::thread::spawn(move || of("ada", 3)).join().unwrap();
        assert!(!Arc::ptr_eq(&first.kept, &elsewhere.kept));
        assert!(*first.kept == *elsewhere.kept, "of another thread");
    }

    #[test]
    fn what_a_thread_keeps_is_bounded() {
        for n in 0..KNOWN_MAX + 1 {
            let mut activity = sample();
            activity.user.name = Some(n.to_string().into());
            Pending::of(&activity).unwrap();
        }
        assert_eq!(MADE.with_borrow(|made| made.known.len()), 1);
    }
}
