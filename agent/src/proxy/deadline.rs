//! The timer of a connection, which runs while nothing moves, and the waits that no setting changes.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use super::slow::Slow;

/// So many octets of a response that classification would like to see are waited for as long as for any: what tells most
/// files is within them, and without them a head is of no use to the client.
pub const SIGNATURE: usize = 8;
/// How long the client waits for more of the beginning.
pub const FIRST_OCTETS: Duration = Duration::from_secs(2);

/// Nothing moved for too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stalled;

/// Why a wait for bodies ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Late {
    /// Nothing moved for too long.
    Stalled,
    /// A peer was too slow.
    Slow,
}

/// The one timer of a connection. Set once, it serves every wait that follows: one that ends in time, as nearly all do,
/// neither sets it nor takes it back.
#[derive(Debug, Default)]
pub struct Clock {
    timer: Option<Pin<Box<Sleep>>>,
}

impl Clock {
    /// Ready once `until` has passed.
    fn poll_past(&mut self, cx: &mut Context<'_>, until: Instant) -> Poll<()> {
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(until)));
        loop {
            // A timer that is early looks again; only one that would be late is set anew.
            if until < timer.deadline() || timer.is_elapsed() {
                timer.as_mut().reset(until);
            }
            ready!(timer.as_mut().poll(cx));
            if Instant::now() >= until {
                return Poll::Ready(());
            }
        }
    }

    /// The outcome of `work`, unless `until` comes first.
    pub async fn before<T>(&mut self, until: Instant, work: impl Future<Output = T>) -> Result<T, Stalled> {
        let mut work = pin!(work);
        poll_fn(|cx| match work.as_mut().poll(cx) {
            Poll::Ready(value) => Poll::Ready(Ok(value)),
            Poll::Pending => self.poll_past(cx, until).map(|()| Err(Stalled)),
        })
        .await
    }

    /// Polls `work` until it is ready; `Err` when it reported no progress for `limit`. `work` returns a number that
    /// grows whenever something moved.
    pub async fn while_moving<T>(
        &mut self,
        limit: Duration,
        mut work: impl FnMut(&mut Context<'_>) -> (Poll<T>, u64),
    ) -> Result<T, Stalled> {
        let paced = self.while_keeping_pace(limit, |cx| {
            let (state, moved) = work(cx);
            (state, moved, Ok(None))
        });
        paced.await.map_err(|_| Stalled)
    }

    /// The same for peers that must not be slow: `work` also says when it is to be asked again, should nothing happen
    /// until then, or that one was too slow.
    pub async fn while_keeping_pace<T>(
        &mut self,
        limit: Duration,
        mut work: impl FnMut(&mut Context<'_>) -> (Poll<T>, u64, Result<Option<Instant>, Slow>),
    ) -> Result<T, Late> {
        // As far as it had come, and when that is too long ago.
        let mut last: Option<(u64, Instant)> = None;
        poll_fn(|cx| {
            loop {
                let (state, moved, pace) = work(cx);
                if let Poll::Ready(value) = state {
                    return Poll::Ready(Ok(value));
                }
                let Ok(look) = pace else { return Poll::Ready(Err(Late::Slow)) };
                let until = match last {
                    Some((before, until)) if before == moved => until,
                    _ => last.insert((moved, Instant::now() + limit)).1,
                };
                match look.filter(|look| *look < until) {
                    Some(look) => ready!(self.poll_past(cx, look)),
                    None => return self.poll_past(cx, until).map(|()| Err(Late::Stalled)),
                }
            }
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    const STEP: Duration = Duration::from_millis(5);

    #[tokio::test]
    async fn one_timer_serves_shorter_and_longer_waits_in_any_order() {
        let mut clock = Clock::default();
        assert_eq!(clock.before(Instant::now() + 1000 * STEP, async { 7 }).await, Ok(7));
        for wait in [2, 6, 1, 1, 8, 0] {
            let until = Instant::now() + wait * STEP;
            assert_eq!(clock.before(until, pending::<()>()).await, Err(Stalled));
            assert!(Instant::now() >= until, "a wait of {wait} steps");
        }
        // Set for what is past by now, it does not end what comes later.
        assert_eq!(clock.before(Instant::now() + 1000 * STEP, tokio::time::sleep(STEP)).await, Ok(()));
    }

    #[tokio::test]
    async fn what_moves_is_waited_for_and_what_stands_still_is_not() {
        let mut clock = Clock::default();
        let (mut moved, mut last) = (0, Instant::now());
        let ended = clock
            .while_moving(2 * STEP, |cx| {
                if moved < 5 {
                    (moved, last) = (moved + 1, Instant::now());
                    cx.waker().wake_by_ref();
                }
                (Poll::<()>::Pending, moved)
            })
            .await;
        assert_eq!((ended, moved), (Err(Stalled), 5));
        assert!(last.elapsed() >= 2 * STEP);
    }
}
