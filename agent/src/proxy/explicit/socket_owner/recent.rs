//! Programs that made the last connections, and where they would hold the next one: they make several, and are asked first.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::owner::Directory;

/// Processes that are remembered.
const MOST_RECENT: usize = 8;
/// How far from its last descriptor such a process is asked for its next one, in both directions.
const NEIGHBOURS: u32 = 8;
/// Descriptors of its last sockets that are remembered.
const HELD: usize = 16;

/// Those that held the last sockets that were looked for, the last one first.
static RECENT: Mutex<VecDeque<Recent>> = Mutex::new(VecDeque::new());

/// A process, and the descriptors under which it held its last sockets.
#[derive(Debug, Clone)]
pub(super) struct Recent {
    pub(super) process: Arc<Directory>,
    held: Held,
}

impl Recent {
    /// Where it would hold its next one, the likeliest first.
    pub(super) fn guesses(&self) -> Vec<u32> {
        self.held.guesses()
    }
}

/// A descriptor, and the inode of the socket that was seen there.
#[derive(Debug, Clone, Copy)]
struct Seen {
    descriptor: u32,
    inode: u32,
    /// Its connection has ended here, so that it has room for another one.
    is_free: bool,
}

/// What was seen last is the last; a descriptor is there once.
#[derive(Debug, Clone, Default)]
struct Held(VecDeque<Seen>);

impl Held {
    fn holds(&mut self, descriptor: u32, inode: u32) {
        self.0.retain(|seen| seen.descriptor != descriptor);
        if self.0.len() >= HELD {
            self.0.pop_front();
        }
        self.0.push_back(Seen { descriptor, inode, is_free: false });
    }

    fn ended(&mut self, inode: u32) {
        self.0.iter_mut().filter(|seen| seen.inode == inode).for_each(|seen| seen.is_free = true);
    }

    /// A program gets the lowest descriptor that is free: first of those that became so, in their order; then, in turns, around
    /// the last one and where an end may only not have been noticed yet.
    fn guesses(&self) -> Vec<u32> {
        let is_known = |number: &u32| self.0.iter().any(|seen| seen.descriptor == *number);
        let of =
            |free: bool| self.0.iter().filter(move |seen| seen.is_free == free).map(|seen| seen.descriptor);
        let mut guesses: Vec<u32> = of(true).collect();
        guesses.sort_unstable();
        let last = self.0.back().map(|seen| seen.descriptor);
        let mut around = last.into_iter().flat_map(near).filter(|number| !is_known(number));
        for held in of(false) {
            guesses.extend(around.next());
            guesses.push(held);
        }
        guesses.extend(around);
        guesses
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

/// This process held a socket of this inode under this descriptor.
pub(super) fn remember(process: Arc<Directory>, descriptor: u32, inode: u32) {
    let mut recent = recent();
    let at = recent.iter().position(|last| last.process.pid() == process.pid());
    let mut held = at.and_then(|at| recent.remove(at)).map(|last| last.held).unwrap_or_default();
    held.holds(descriptor, inode);
    // Not the one of before: its number may be another process's by now.
    recent.push_front(Recent { process, held });
    recent.truncate(MOST_RECENT);
}

/// The connection of this socket has ended.
pub(super) fn ended(inode: u32) {
    recent().iter_mut().for_each(|last| last.held.ended(inode));
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_next_descriptor_is_looked_for_where_there_is_room_then_around_the_last() {
        let first = |held: &Held, many: usize| held.guesses().into_iter().take(many).collect::<Vec<_>>();
        let mut held = Held::default();
        assert!(held.guesses().is_empty());
        held.holds(7, 70);
        assert_eq!(first(&held, 4), [8, 7, 6, 9]);
        for descriptor in [8, 9, 30] {
            held.holds(descriptor, descriptor * 10);
        }
        assert_eq!(first(&held, 10), [31, 7, 29, 8, 32, 9, 28, 30, 33, 27]);
        // Two have ended: the lower one is the next.
        held.ended(90);
        held.ended(80);
        assert_eq!(first(&held, 5), [8, 9, 31, 7, 29]);
        held.holds(8, 81);
        assert_eq!(first(&held, 5), [9, 10, 7, 6, 30]);
        // The end of the socket that was there before says nothing of the one that is there now.
        held.ended(80);
        assert_eq!(held.guesses().first(), Some(&9));
        held.ended(81);
        assert_eq!(first(&held, 2), [8, 9]);
    }

    #[test]
    fn what_is_remembered_and_asked_is_bounded_and_nothing_is_asked_twice() {
        let mut held = Held::default();
        for descriptor in (0..40).chain([u32::MAX, 1]) {
            held.holds(descriptor, descriptor / 2);
            held.ended(descriptor / 3);
            let guesses = held.guesses();
            assert!(guesses.len() <= HELD + 2 * NEIGHBOURS as usize);
            assert_eq!(guesses.iter().collect::<HashSet<_>>().len(), guesses.len());
        }
        assert_eq!(held.0.len(), HELD);
    }
}
