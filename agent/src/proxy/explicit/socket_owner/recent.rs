//! Programs that made the last connections, and where they would hold the next one: they make several, and are asked first.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

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
#[derive(Debug, Clone, Copy)]
pub(super) struct Recent {
    pub(super) pid: u32,
    held: [u32; HELD],
}

impl Recent {
    fn new(pid: u32, descriptor: u32) -> Self {
        Self { pid, held: [descriptor; HELD] }
    }

    fn holds(&mut self, descriptor: u32) {
        let from = self.held.iter().position(|held| *held == descriptor).unwrap_or(0);
        if let Some(since) = self.held.get_mut(from..) {
            since.rotate_left(1);
        }
        if let Some(last) = self.held.last_mut() {
            *last = descriptor;
        }
    }

    /// Where it would hold its next one, the likeliest first: where it held one longest ago, and around the last one, in turns.
    pub(super) fn guesses(&self) -> impl Iterator<Item = u32> {
        let [.., last] = self.held;
        let mut around = near(last).filter(|number| !self.held.contains(number));
        let again = self
            .held
            .into_iter()
            .enumerate()
            .filter(|(at, number)| !self.held.get(..*at).is_some_and(|before| before.contains(number)));
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
pub(super) fn remember(pid: u32, descriptor: u32) {
    let mut recent = recent();
    let at = recent.iter().position(|last| last.pid == pid);
    let mut found = at.and_then(|at| recent.remove(at)).unwrap_or_else(|| Recent::new(pid, descriptor));
    found.holds(descriptor);
    recent.push_front(found);
    recent.truncate(MOST_RECENT);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_descriptor_is_looked_for_where_one_was_and_around_the_last() {
        let first = |last: &Recent, many: usize| last.guesses().take(many).collect::<Vec<_>>();
        let mut last = Recent::new(1, 7);
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
        assert_eq!(first(&Recent::new(1, 1), 5), [1, 2, 0, 3, 4]);
        assert_eq!(Recent::new(1, u32::MAX).guesses().count(), 1 + NEIGHBOURS as usize);
    }
}
