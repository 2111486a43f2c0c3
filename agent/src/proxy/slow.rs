//! Peers that are slow without need: a body that trickles in, a client that takes next to nothing of what waits for it.
//!
//! Only time that the peer alone spends counts, so that a slow origin is not held against a client, nor silence against an
//! origin. Long polls, event streams, gRPC and WebSockets are silent while nothing waits for anybody.

use std::time::Duration;

use tokio::time::Instant;

use crate::config::Timeouts;

/// A peer was slower than the settings allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slow;

/// A body on its way here: on the average of the time that its sender was waited for, it has to come at the least rate,
/// once the first `body_grace` is over.
#[derive(Debug, Default)]
pub struct Arriving {
    /// Time that the sender was waited for, up to the wait that began then.
    waited: Duration,
    since: Option<Instant>,
}

impl Arriving {
    /// `octets` of the body are here. `waited_for`: nothing but its sender keeps the rest back. Answers when it is too slow
    /// unless more of it comes.
    pub fn look(
        &mut self,
        now: Instant,
        octets: u64,
        waited_for: bool,
        timeouts: &Timeouts,
    ) -> Result<Option<Instant>, Slow> {
        let Some(allowed) = allowed(octets, timeouts) else { return Ok(None) };
        if let Some(since) = self.since.replace(now) {
            self.waited += now - since;
        }
        if !waited_for {
            self.since = None;
            return Ok(None);
        }
        match allowed.checked_sub(self.waited) {
            Some(left) if left > Duration::ZERO => Ok(now.checked_add(left)),
            Some(_) | None => Err(Slow),
        }
    }
}

/// How long a sender may be waited for until so many octets of a body are here. `None`: for ever.
pub fn allowed(octets: u64, timeouts: &Timeouts) -> Option<Duration> {
    let rate = u64::from(timeouts.body_rate);
    Some(timeouts.body_grace.saturating_add(Duration::from_secs(octets.checked_div(rate)?)))
}

/// What waits for a client: within `unread` the client has to take some of it, and to take it at the least rate.
///
/// What the kernel has room for says little: it takes a megabyte more, or nothing, while the client goes on reading evenly.
/// So it is asked what the client's kernel has acknowledged, and not before something waited for a while.
#[derive(Debug, Default)]
pub struct Unread {
    /// Since when something waits all the time, or since the last time that the client had taken enough.
    since: Option<Instant>,
    /// What it had taken in all by then.
    sample: Option<(Instant, u64)>,
}

/// A wait is looked at when this part of it is over: most end before.
const FIRST_LOOK: u32 = 4;

impl Unread {
    /// Whether something `waits` for the client.
    pub fn waits(&mut self, now: Instant, waits: bool) {
        if waits {
            self.since.get_or_insert(now);
        } else {
            *self = Self::default();
        }
    }

    /// The same and a look, if one is due; when the next one is. Without a wait nobody asks for the time.
    pub fn watch(
        &mut self,
        waits: bool,
        taken: impl FnOnce() -> u64,
        timeouts: &Timeouts,
    ) -> Result<Option<Instant>, Slow> {
        if !waits {
            *self = Self::default();
            return Ok(None);
        }
        let now = Instant::now();
        self.waits(now, true);
        self.look(now, taken, timeouts)?;
        Ok(self.due(timeouts))
    }

    /// When the next look is due.
    pub fn due(&self, timeouts: &Timeouts) -> Option<Instant> {
        let (since, first) = (self.since?, timeouts.unread / FIRST_LOOK);
        let Some((at, _)) = self.sample else { return since.checked_add(first) };
        // However late the look before was, the client has its time from there on.
        Some(since.checked_add(timeouts.unread)?.max(at.checked_add(timeouts.unread.saturating_sub(first))?))
    }

    /// Looks, when it is time to: `taken` says how many octets the client has taken in all.
    pub fn look(
        &mut self,
        now: Instant,
        taken: impl FnOnce() -> u64,
        timeouts: &Timeouts,
    ) -> Result<(), Slow> {
        if self.due(timeouts).is_none_or(|due| now < due) {
            return Ok(());
        }
        let taken = taken();
        if let Some((at, before)) = self.sample.replace((now, taken)) {
            let least = u64::from(timeouts.body_rate).saturating_mul((now - at).as_secs());
            if taken.saturating_sub(before) < least.max(1) {
                return Err(Slow);
            }
            self.since = Some(now);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUTS: fn() -> Timeouts = Timeouts::default;

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn a_body_has_its_grace_and_then_to_come_at_the_least_rate() {
        let (begun, timeouts) = (Instant::now(), TIMEOUTS());
        let mut trickle = Arriving::default();
        assert_eq!(trickle.look(begun, 0, true, &timeouts), Ok(Some(begun + seconds(30))));
        // An octet a second is worth nothing.
        for second in 1..30 {
            let due = trickle.look(begun + seconds(second), second, true, &timeouts);
            assert_eq!(due, Ok(Some(begun + seconds(30))), "{second}");
        }
        assert_eq!(trickle.look(begun + seconds(30), 30, true, &timeouts), Err(Slow));
        // At twice the rate a body may go on for ever.
        let mut slow = Arriving::default();
        for second in 0..100_000 {
            assert!(slow.look(begun + seconds(second), second * 256, true, &timeouts).is_ok(), "{second}");
        }
        // What came early counts: 128 KiB are worth 1024 seconds.
        let mut burst = Arriving::default();
        assert!(burst.look(begun, 0, true, &timeouts).is_ok());
        assert!(burst.look(begun + seconds(1053), 128 << 10, true, &timeouts).is_ok());
        assert_eq!(burst.look(begun + seconds(1054), 128 << 10, true, &timeouts), Err(Slow));
    }

    #[test]
    fn time_that_the_receiver_takes_is_not_the_senders() {
        let (begun, timeouts) = (Instant::now(), TIMEOUTS());
        let mut body = Arriving::default();
        assert!(body.look(begun, 0, true, &timeouts).is_ok());
        assert_eq!(body.look(begun + seconds(20), 0, false, &timeouts), Ok(None));
        assert_eq!(body.look(begun + seconds(500), 0, false, &timeouts), Ok(None));
        let again = begun + seconds(1000);
        assert_eq!(body.look(again, 0, true, &timeouts), Ok(Some(again + seconds(10))));
        assert_eq!(body.look(again + seconds(10), 0, true, &timeouts), Err(Slow));
        let unbounded = Timeouts { body_rate: 0, ..timeouts };
        let mut any = Arriving::default();
        assert_eq!(any.look(begun, 0, true, &unbounded), Ok(None));
        assert_eq!(any.look(begun + seconds(10_000_000), 0, true, &unbounded), Ok(None));
    }

    #[test]
    fn a_client_that_takes_nothing_is_told_from_one_that_takes_it_slowly() {
        let (begun, timeouts) = (Instant::now(), TIMEOUTS());
        // Octets a second, in steps of what a kernel opens its window by; whether that is enough.
        for (rate, step, enough) in
            [(0, 1, false), (1, 1, false), (100, 1, false), (200, 1460, true), (2000, 65_536, true)]
        {
            let mut unread = Unread::default();
            unread.waits(begun, true);
            let taken_by = |at: Instant| (at - begun).as_secs() * rate / step * step;
            let mut looks = 0;
            let ended = loop {
                let due = unread.due(&timeouts).unwrap();
                if due > begun + seconds(3600) {
                    break None;
                }
                looks += 1;
                if unread.look(due, || taken_by(due), &timeouts).is_err() {
                    break Some(due);
                }
                assert!(unread.due(&timeouts).unwrap() > due, "it would be asked at once again");
            };
            assert_eq!(ended.is_none(), enough, "{rate} a second: {ended:?}");
            assert!(ended.is_none_or(|at| at == begun + seconds(60)), "{rate} a second");
            assert!(looks < 70, "{looks}");
        }
    }

    #[test]
    fn a_look_that_comes_late_is_followed_by_none_at_once() {
        let (begun, timeouts) = (Instant::now(), TIMEOUTS());
        let (mut unread, late) = (Unread::default(), begun + seconds(59));
        unread.waits(begun, true);
        assert_eq!(unread.look(late, || 0, &timeouts), Ok(()));
        assert_eq!(unread.due(&timeouts), Some(late + seconds(45)));
        assert!(unread.look(begun + seconds(61), || panic!("too early"), &timeouts).is_ok());
        assert_eq!(unread.look(late + seconds(45), || 0, &timeouts), Err(Slow));
    }

    #[test]
    fn what_is_taken_at_last_is_forgotten_and_nobody_asks_before_it_is_time() {
        let (begun, timeouts) = (Instant::now(), TIMEOUTS());
        let mut unread = Unread::default();
        assert_eq!(unread.due(&timeouts), None);
        for round in 0..10 {
            let at = begun + seconds(round * 100);
            unread.waits(at, true);
            assert!(unread.look(at + seconds(14), || panic!("too early"), &timeouts).is_ok());
            assert!(unread.look(at + seconds(15), || 7, &timeouts).is_ok());
            unread.waits(at + seconds(59), false);
            assert_eq!(unread.due(&timeouts), None);
        }
    }
}
