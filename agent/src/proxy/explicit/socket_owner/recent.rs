//! Programs that made the last connections, and where they would hold the next one: they make several, and are asked first.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::owner::Directory;

/// Processes that are remembered.
const MOST_RECENT: usize = 8;
/// How far from its last descriptor such a process is asked for its next one, in both directions. A program gets the lowest
/// that is free, which is somewhere among those of its connections when they come and go.
const NEIGHBOURS: u32 = 12;
/// Descriptors of its last sockets that are remembered: of a few connections that come and go in turns, the one that ended
/// first has made room for the next.
const HELD: usize = 4;

/// Those that held the last sockets that were looked for, the last one first.
static RECENT: Mutex<VecDeque<Recent>> = Mutex::new(VecDeque::new());

/// A process, and the descriptors under which it held its last sockets: the last one is the last, and one may be there twice.
#[derive(Debug, Clone)]
pub(super) struct Recent {
    pub(super) process: Arc<Directory>,
    held: Held,
}

#[derive(Debug, Clone, Copy)]
struct Held([u32; HELD]);

impl Recent {
    /// Where it would hold its next one, the likeliest first.
    pub(super) fn guesses(&self) -> impl Iterator<Item = u32> + use<> {
        self.held.guesses()
    }
}

impl Held {
    fn new(descriptor: u32) -> Self {
        Self([descriptor; HELD])
    }

    fn holds(&mut self, descriptor: u32) {
        let from = self.0.iter().position(|held| *held == descriptor).unwrap_or(0);
        if let Some(since) = self.0.get_mut(from..) {
            since.rotate_left(1);
        }
        if let Some(last) = self.0.last_mut() {
            *last = descriptor;
        }
    }

    /// Where it held one longest ago, and around the last one, in turns.
    fn guesses(self) -> impl Iterator<Item = u32> {
        let Self(held) = self;
        let [.., last] = held;
        let mut around = near(last).filter(move |number| !held.contains(number));
        let again = held
            .into_iter()
            .enumerate()
            .filter(|(at, number)| !held.get(..*at).is_some_and(|before| before.contains(number)));
        let again: Vec<u32> = again.map(|(_, number)| number).collect();
        let first: Vec<u32> =
            again.into_iter().flat_map(|number| [Some(number), around.next()]).flatten().collect();
        first.into_iter().chain(around)
    }
}

/// The neighbours of a descriptor, the nearest first.
fn near(descriptor: u32) -> impl Iterator<Item = u32> {
    (1..=NEIGHBOURS)
        .flat_map(move |away| [descriptor.checked_add(away), descriptor.checked_sub(away)])
        .flatten()
}

pub(super) fn recent() -> MutexGuard<'static, VecDeque<Recent>> {
    RECENT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// This process held a socket under this descriptor.
pub(super) fn remember(process: Arc<Directory>, descriptor: u32) {
    let mut recent = recent();
    let at = recent.iter().position(|last| last.process.pid() == process.pid());
    let mut held =
        at.and_then(|at| recent.remove(at)).map_or_else(|| Held::new(descriptor), |last| last.held);
    held.holds(descriptor);
    // Not the one of before: its number may be another process's by now.
    recent.push_front(Recent { process, held });
    recent.truncate(MOST_RECENT);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_descriptor_is_looked_for_where_one_was_and_around_the_last() {
        let first = |last: &Held, many: usize| last.guesses().take(many).collect::<Vec<_>>();
        let mut last = Held::new(7);
        assert_eq!(first(&last, 5), [7, 8, 6, 9, 5]);
        for descriptor in [8, 9, 30] {
            last.holds(descriptor);
        }
        assert_eq!(first(&last, 9), [7, 31, 8, 29, 9, 32, 30, 28, 33]);
        // It came back to one of them.
        last.holds(8);
        assert_eq!(first(&last, 8), [7, 10, 9, 6, 30, 11, 8, 5]);
        last.holds(40);
        assert_eq!(first(&last, 1), [9]);
        let all: Vec<u32> = last.guesses().collect();
        assert_eq!(
            all.iter().collect::<std::collections::HashSet<_>>().len(),
            all.len(),
            "none is asked twice"
        );
        assert_eq!(first(&Held::new(1), 5), [1, 2, 0, 3, 4]);
        assert_eq!(Held::new(u32::MAX).guesses().count(), 1 + NEIGHBOURS as usize);
    }
}
