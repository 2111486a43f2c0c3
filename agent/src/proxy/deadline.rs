//! How long each wait of a connection may last, and the timer that runs while nothing moves.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// The waits of an inspected connection. Each has a default that the README names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    /// Connecting to the origin; its TLS handshake has a deadline of its own.
    pub connect: Duration,
    /// From the first byte of a request head to its last.
    pub request_head: Duration,
    /// Between two requests on a connection.
    pub idle: Duration,
    /// For the head of a response once the request is sent.
    pub response_head: Duration,
    /// Without a byte moving in a body.
    pub stall: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            request_head: Duration::from_secs(10),
            idle: Duration::from_secs(120),
            response_head: Duration::from_secs(600),
            stall: Duration::from_secs(300),
        }
    }
}

/// Nothing moved for too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stalled;

/// Polls `work` until it is ready; `Err` when it reported no progress for `limit`. `work` returns a number that grows
/// whenever something moved.
pub async fn while_moving<T>(
    limit: Duration,
    mut work: impl FnMut(&mut Context<'_>) -> (Poll<T>, u64),
) -> Result<T, Stalled> {
    let mut timer = pin!(sleep_until(Instant::now() + limit));
    let mut moved = u64::MAX;
    poll_fn(|cx| {
        let (state, now_moved) = work(cx);
        if let Poll::Ready(value) = state {
            return Poll::Ready(Ok(value));
        }
        if now_moved != moved {
            moved = now_moved;
            timer.as_mut().reset(Instant::now() + limit);
        }
        timer.as_mut().poll(cx).map(|()| Err(Stalled))
    })
    .await
}
