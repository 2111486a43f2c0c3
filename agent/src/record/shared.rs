//! Parts of records that many have in common, as they wait for the database: made once for many records, and counted once a
//! record.

use std::cell::RefCell;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasher as _, Hash};
use std::sync::{Arc, LazyLock};

use foldhash::quality::RandomState;

use crate::activity::{Context, Shape};

/// Of each kind, those that one thread keeps. Beyond them all are made anew.
const KNOWN_MAX: usize = 256;

/// One for all threads, so that equal parts have equal hashes.
static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::default);

thread_local! {
    static CONTEXTS: RefCell<Known<Context>> = const { RefCell::new(Known(None)) };
    static SHAPES: RefCell<Known<Shape>> = const { RefCell::new(Known(None)) };
}

/// A part of many records.
#[derive(Debug, PartialEq)]
pub struct Shared<T> {
    /// First, as it tells most that differ.
    pub(super) hash: u64,
    pub value: T,
}

pub type SharedContext = Shared<Context>;
pub type SharedShape = Shared<Shape>;

/// What a thread has seen, by the hash.
struct Known<T>(Option<HashMap<u64, Arc<Shared<T>>>>);

impl<T: Hash + PartialEq> Known<T> {
    /// The equal one of this thread, or it as a new one.
    fn of(&mut self, value: T) -> Result<Arc<Shared<T>>, Arc<Shared<T>>> {
        let hash = HASHER.hash_one(&value);
        let known = self.0.get_or_insert_default();
        if known.len() >= KNOWN_MAX && !known.contains_key(&hash) {
            known.clear();
        }
        match known.entry(hash) {
            Entry::Occupied(known) if known.get().value == value => Ok(Arc::clone(known.get())),
            Entry::Occupied(mut other) => {
                let shared = Arc::new(Shared { hash, value });
                other.insert(Arc::clone(&shared));
                Err(shared)
            }
            Entry::Vacant(place) => Err(Arc::clone(place.insert(Arc::new(Shared { hash, value })))),
        }
    }
}

impl SharedContext {
    /// With all of this thread that have an equal one.
    pub fn of(context: Context) -> Arc<Self> {
        CONTEXTS.with_borrow_mut(|known| known.of(context)).unwrap_or_else(|new| new)
    }
}

impl SharedShape {
    /// With all of this thread that have an equal one; else it comes back. Only what was seen before is worth a row of its own: a
    /// client can make another shape with each request.
    pub(super) fn seen(shape: Shape) -> Result<Arc<Self>, Shape> {
        SHAPES.with_borrow_mut(|known| known.of(shape)).map_err(|new| new.value.clone())
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
        assert_eq!(SharedShape::seen(shape("ada")), Err(shape("ada")));
        let second = SharedShape::seen(shape("ada")).unwrap();
        assert_eq!(SharedShape::seen(shape("bob")), Err(shape("bob")));
        assert!(Arc::ptr_eq(&second, &SharedShape::seen(shape("ada")).unwrap()));
    }

    #[test]
    fn what_a_thread_keeps_is_bounded() {
        for n in 0..KNOWN_MAX + 1 {
            of(&n.to_string());
            let _ = SharedShape::seen(shape(&n.to_string()));
        }
        assert_eq!(CONTEXTS.with_borrow(|known| known.0.as_ref().map(HashMap::len)), Some(1));
        assert_eq!(SHAPES.with_borrow(|known| known.0.as_ref().map(HashMap::len)), Some(1));
    }
}
