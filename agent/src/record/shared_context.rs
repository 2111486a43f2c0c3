//! Contexts of records as they wait for the database: made once for many records, and counted once a record.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::BuildHasher as _;
use std::sync::{Arc, LazyLock};

use foldhash::quality::RandomState;

use crate::activity::Context;

/// Contexts that one thread keeps. Beyond them all are made anew.
const KNOWN_MAX: usize = 256;

/// One for all threads, so that equal contexts have equal hashes.
static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::default);

thread_local! {
    static KNOWN: RefCell<HashMap<u64, Arc<SharedContext>>> = RefCell::default();
}

/// The context of many records.
#[derive(Debug, PartialEq)]
pub struct SharedContext {
    /// First, as it tells most that differ.
    pub(super) hash: u64,
    pub context: Context,
}

impl SharedContext {
    /// With all of this thread that have an equal one.
    pub fn of(context: Context) -> Arc<Self> {
        let hash = HASHER.hash_one(&context);
        KNOWN.with_borrow_mut(|known| {
            if let Some(shared) = known.get(&hash).filter(|shared| shared.context == context) {
                return Arc::clone(shared);
            }
            if known.len() >= KNOWN_MAX {
                known.clear();
            }
            let shared = Arc::new(Self { hash, context });
            known.insert(hash, Arc::clone(&shared));
            shared
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::activity::tests::sample;

    fn of(user: &str) -> Arc<SharedContext> {
        let mut activity = sample();
        activity.user.name = Some(user.into());
        SharedContext::of(activity.into_parts().1)
    }

    #[test]
    fn equal_contexts_of_a_thread_are_one() {
        let (first, other) = (of("ada"), of("bob"));
        assert!(Arc::ptr_eq(&first, &of("ada")));
        assert!(*first != *other);
        let elsewhere = std::thread::spawn(|| of("ada")).join().unwrap();
        assert!(!Arc::ptr_eq(&first, &elsewhere));
        assert!(*first == *elsewhere, "of another thread");
    }

    #[test]
    fn what_a_thread_keeps_is_bounded() {
        for n in 0..KNOWN_MAX + 1 {
            of(&n.to_string());
        }
        assert_eq!(KNOWN.with_borrow(HashMap::len), 1);
    }
}
