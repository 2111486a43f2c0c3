//! How much of bodies a worker thread holds at a time, for all its connections together.

use std::cell::Cell;

use crate::classify::MAX_LOOK_AHEAD;
use crate::memory::pressure;

/// Octets of bodies that one worker thread holds at a time, whatever the number of its connections.
const MOST_HELD: usize = 256 << 20;
thread_local! {
    static HELD: Cell<usize> = const { Cell::new(0) };
}

/// A part of [`MOST_HELD`], given back on drop.
#[derive(Debug)]
pub(super) struct Reservation(usize);

impl Reservation {
    /// All that is asked for, or nothing. While memory is short no more than classification would like to see.
    pub(super) fn take(octets: usize) -> Self {
        let octets = if pressure::is_shedding() { octets.min(MAX_LOOK_AHEAD) } else { octets };
        let held = HELD.get();
        if octets > MOST_HELD - held.min(MOST_HELD) {
            tracing::warn!(octets, "too many bodies are held for content detection: one is not looked at");
            return Self(0);
        }
        HELD.set(held + octets);
        Self(octets)
    }

    pub(super) fn octets(&self) -> usize {
        self.0
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        HELD.set(HELD.get().saturating_sub(self.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::pressure::Level;

    #[test]
    fn nothing_is_held_beyond_the_bound_and_what_is_given_back_can_be_held_again() {
        let most = Reservation::take(MOST_HELD - 10);
        let rest = Reservation::take(10);
        assert_eq!((most.octets(), rest.octets()), (MOST_HELD - 10, 10));
        assert_eq!(Reservation::take(1).octets(), 0);
        drop(rest);
        assert_eq!(Reservation::take(11).octets(), 0);
        assert_eq!(Reservation::take(10).octets(), 10);
        drop(most);
        assert_eq!(Reservation::take(MOST_HELD).octets(), MOST_HELD);
    }

    #[test]
    fn while_memory_is_short_only_the_beginning_is_held() {
        pressure::inject(Level::Shed);
        assert_eq!(Reservation::take(MOST_HELD).octets(), MAX_LOOK_AHEAD);
        assert_eq!(Reservation::take(10).octets(), 10);
        pressure::inject(Level::Enough);
        assert_eq!(Reservation::take(MOST_HELD).octets(), MOST_HELD);
    }
}
