//! Parts of records that many have in common, as they wait for the database: made once for many records, and counted once a
//! record.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{BuildHasher as _, Hash};
use std::sync::{Arc, LazyLock};

use foldhash::quality::RandomState;

use crate::activity::{Context, Shape};

/// Of each kind, those that one thread has seen of late, and as many that it had seen before them.
const RECENT_MAX: usize = 256;

/// One for all threads, so that equal parts have equal hashes.
static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::default);

thread_local! {
    static CONTEXTS: RefCell<Known<Context>> = RefCell::default();
    static SHAPES: RefCell<Known<Shape>> = RefCell::default();
}

/// A part of many records.
#[derive(Debug, PartialEq)]
pub struct Common<T> {
    /// First, as it tells most that differ.
    pub(super) hash: u64,
    pub value: T,
}

pub type SharedContext = Common<Context>;
pub type SharedShape = Common<Shape>;

/// What a thread has seen, by the hash. Those that nobody needs any more go when others have taken their place twice.
struct Known<T> {
    recent: HashMap<u64, Arc<Common<T>>>,
    before: HashMap<u64, Arc<Common<T>>>,
}

impl<T> Default for Known<T> {
    fn default() -> Self {
        Self { recent: HashMap::new(), before: HashMap::new() }
    }
}

impl<T: Hash + PartialEq> Known<T> {
    /// The equal one of this thread, or it as a new one.
    fn of(&mut self, value: T) -> Result<Arc<Common<T>>, Arc<Common<T>>> {
        let hash = HASHER.hash_one(&value);
        if let Some(known) = self.recent.get(&hash).filter(|known| known.value == value) {
            return Ok(Arc::clone(known));
        }
        let known = self.before.remove(&hash).filter(|known| known.value == value);
        if self.recent.len() >= RECENT_MAX {
            self.before = std::mem::take(&mut self.recent);
        }
        let is_known = known.is_some();
        let common = known.unwrap_or_else(|| Arc::new(Common { hash, value }));
        self.recent.insert(hash, Arc::clone(&common));
        if is_known { Ok(common) } else { Err(common) }
    }
}

impl SharedContext {
    /// With all of this thread that have an equal one.
    pub fn of(context: Context) -> Arc<Self> {
        CONTEXTS.with_borrow_mut(|known| known.of(context)).unwrap_or_else(|new| new)
    }
}

impl SharedShape {
    /// With all of this thread that have an equal one; else it comes back as an error. Only what was seen before is worth a row of
    /// its own: a client can make another shape with each request.
    pub(super) fn seen(shape: Shape) -> Result<Arc<Self>, Arc<Self>> {
        SHAPES.with_borrow_mut(|known| known.of(shape))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::activity::Activity;
    use crate::activity::tests::sample;

    fn named(user: &str) -> Activity {
        let mut activity = sample();
        activity.user.name = Some(user.into());
        activity.client.user_agent = Some(user.into());
        activity
    }

    fn of(user: &str) -> Arc<SharedContext> {
        SharedContext::of(named(user).into_parts().1)
    }

    fn shape(user: &str) -> Shape {
        named(user).into_parts().2.split().0
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
    fn a_shape_is_shared_from_the_second_time_on() {
        assert!(SharedShape::seen(shape("ada")).is_err_and(|new| new.value == shape("ada")));
        let second = SharedShape::seen(shape("ada")).unwrap();
        assert!(SharedShape::seen(shape("bob")).is_err());
        assert!(Arc::ptr_eq(&second, &SharedShape::seen(shape("ada")).unwrap()));
    }

    #[test]
    fn what_a_thread_keeps_is_bounded_and_what_is_in_use_stays() {
        let used = of("ada");
        for n in 0..RECENT_MAX * 3 {
            of(&n.to_string());
            let _ = SharedShape::seen(shape(&n.to_string()));
            if n % (RECENT_MAX / 2) == 0 {
                assert!(Arc::ptr_eq(&used, &of("ada")), "{n}");
            }
        }
        SHAPES.with_borrow(|known| {
            assert_eq!(known.before.len(), RECENT_MAX);
            assert!(known.recent.len() <= RECENT_MAX);
        });
        assert!(SharedShape::seen(shape("0")).is_err(), "forgotten");
    }
}
