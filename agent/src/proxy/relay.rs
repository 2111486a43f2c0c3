//! Two streams copied into each other untouched, for connections that are not inspected and for upgraded ones.

use std::io;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};

use super::deadline::{Clock, Stalled};
use super::side::Side;

/// Bytes each way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Relayed {
    pub to_origin: u64,
    pub to_client: u64,
}

/// Why a relay ended before both sides did.
#[derive(Debug)]
pub enum RelayError {
    Client(io::Error),
    Origin(io::Error),
    Stalled,
    /// Who listens to the client has heard enough.
    Heard,
}

/// Copies until both sides have ended. An end in one direction is passed on and leaves the other direction open.
pub async fn relay<C, O>(
    client: &mut Side<C>,
    origin: &mut Side<O>,
    idle: Duration,
    counted: &mut Relayed,
) -> Result<(), RelayError>
where
    C: AsyncRead + AsyncWrite + Unpin,
    O: AsyncRead + AsyncWrite + Unpin,
{
    relay_while(client, origin, idle, counted, |_| true).await
}

/// The same for as long as `goes_on` says so of what the client sends, each octet once and before it is sent on.
pub async fn relay_while<C, O>(
    client: &mut Side<C>,
    origin: &mut Side<O>,
    idle: Duration,
    counted: &mut Relayed,
    mut goes_on: impl FnMut(&[u8]) -> bool,
) -> Result<(), RelayError>
where
    C: AsyncRead + AsyncWrite + Unpin,
    O: AsyncRead + AsyncWrite + Unpin,
{
    let mut up = Direction::default();
    let mut down = Direction::default();
    let mut clock = Clock::default();
    let ended = clock
        .while_moving(idle, |cx| {
            let up_state = up.poll(cx, client, origin, &mut goes_on);
            let down_state = down.poll(cx, origin, client, |_| true);
            *counted = Relayed { to_origin: up.bytes, to_client: down.bytes };
            let state = match (up_state, down_state) {
                (Poll::Ready(Err((Fault::Heard, _))), _) => Poll::Ready(Err(RelayError::Heard)),
                (Poll::Ready(Err((Fault::From, error))), _) | (_, Poll::Ready(Err((Fault::To, error)))) => {
                    Poll::Ready(Err(RelayError::Client(error)))
                }
                (Poll::Ready(Err((Fault::To, error))), _) | (_, Poll::Ready(Err((_, error)))) => {
                    Poll::Ready(Err(RelayError::Origin(error)))
                }
                (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => Poll::Ready(Ok(())),
                _ => Poll::Pending,
            };
            (state, up.bytes + down.bytes)
        })
        .await;
    match ended {
        Ok(result) => result,
        Err(Stalled) => Err(RelayError::Stalled),
    }
}

enum Fault {
    From,
    To,
    Heard,
}

#[derive(Default)]
struct Direction {
    bytes: u64,
    /// Octets of the input that were looked at and are not sent on.
    heard: usize,
    ended: bool,
    shut: bool,
}

impl Direction {
    fn poll<A, B>(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Side<A>,
        to: &mut Side<B>,
        mut goes_on: impl FnMut(&[u8]) -> bool,
    ) -> Poll<Result<(), (Fault, io::Error)>>
    where
        A: AsyncRead + AsyncWrite + Unpin,
        B: AsyncRead + AsyncWrite + Unpin,
    {
        let to_fault = |error| (Fault::To, error);
        while !self.shut {
            while !from.input.unread().is_empty() {
                let unread = from.input.unread();
                if let Some(new) = unread.get(self.heard..).filter(|new| !new.is_empty()) {
                    if !goes_on(new) {
                        return Poll::Ready(Err((Fault::Heard, io::ErrorKind::ConnectionAborted.into())));
                    }
                    self.heard = unread.len();
                }
                let sent = ready!(to.poll_send(cx, from.input.unread())).map_err(to_fault)?;
                from.input.consume(sent);
                self.heard -= sent;
                self.bytes += sent as u64;
            }
            if self.ended {
                ready!(to.poll_flush(cx)).map_err(to_fault)?;
                ready!(std::pin::Pin::new(&mut to.stream).poll_shutdown(cx)).map_err(to_fault)?;
                self.shut = true;
                break;
            }
            match from.poll_fill(cx) {
                Poll::Ready(Ok(0)) => self.ended = true,
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err((Fault::From, error))),
                Poll::Pending => {
                    if let Poll::Ready(Err(error)) = to.poll_flush(cx) {
                        return Poll::Ready(Err(to_fault(error)));
                    }
                    return Poll::Pending;
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}
