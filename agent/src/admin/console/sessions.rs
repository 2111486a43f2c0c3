//! Who may look: one-time tickets that the control socket hands out, and the sessions that browsers got for them.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use aws_lc_rs::rand;

/// A ticket that was not used by then is worth nothing.
const TICKET_LIFE: Duration = Duration::from_secs(60);
/// Tickets that wait to be used at most; the oldest go first.
const TICKETS_MAX: usize = 16;
/// A session ends after this long, and after this long without a request.
pub const SESSION_LIFE: Duration = Duration::from_secs(12 * 3600);
const SESSION_SILENCE: Duration = Duration::from_secs(2 * 3600);
/// Sessions at most; those that were silent for longest go first.
const SESSIONS_MAX: usize = 32;
/// Bytes of a secret. Nobody guesses one, so nothing counts attempts.
const SECRET: usize = 32;

/// Tickets and sessions. They go with the process.
#[derive(Debug, Default)]
pub struct Sessions(Mutex<Held>);

#[derive(Debug, Default)]
struct Held {
    /// When each was made.
    tickets: HashMap<String, Instant>,
    sessions: HashMap<String, Session>,
}

#[derive(Debug)]
struct Session {
    begun: Instant,
    heard: Instant,
}

impl Sessions {
    /// A ticket for one session; `None` where the system gives no random numbers.
    pub fn ticket(&self, now: Instant) -> Option<String> {
        let secret = secret()?;
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.forget(now);
        make_room(&mut held.tickets, TICKETS_MAX, |made| *made);
        held.tickets.insert(secret.clone(), now);
        Some(secret)
    }

    /// Takes a ticket and gives what the browser keeps.
    pub(super) fn redeem(&self, ticket: &str, now: Instant) -> Option<String> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.forget(now);
        held.tickets.remove(ticket)?;
        let secret = secret()?;
        make_room(&mut held.sessions, SESSIONS_MAX, |session| session.heard);
        held.sessions.insert(secret.clone(), Session { begun: now, heard: now });
        Some(secret)
    }

    /// Whether the session goes on; a request keeps it alive.
    pub(super) fn goes_on(&self, session: &str, now: Instant) -> bool {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.forget(now);
        held.sessions.get_mut(session).map(|session| session.heard = now).is_some()
    }
}

impl Held {
    fn forget(&mut self, now: Instant) {
        let passed = |since: Instant| now.saturating_duration_since(since);
        self.tickets.retain(|_, made| passed(*made) < TICKET_LIFE);
        self.sessions.retain(|_, session| {
            passed(session.begun) < SESSION_LIFE && passed(session.heard) < SESSION_SILENCE
        });
    }
}

fn make_room<T>(held: &mut HashMap<String, T>, max: usize, age: impl Fn(&T) -> Instant) {
    while held.len() >= max {
        let Some(oldest) = held.iter().min_by_key(|(_, one)| age(one)).map(|(key, _)| key.clone()) else {
            return;
        };
        held.remove(&oldest);
    }
}

/// In hexadecimal.
fn secret() -> Option<String> {
    let mut bytes = [0; SECRET];
    rand::fill(&mut bytes).ok()?;
    Some(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_opens_one_session_within_its_minute() {
        let (sessions, now) = (Sessions::default(), Instant::now());
        let ticket = sessions.ticket(now).unwrap();
        assert_eq!(ticket.len(), 2 * SECRET);
        assert!(sessions.redeem("", now).is_none() && sessions.redeem(&ticket[1..], now).is_none());
        let session = sessions.redeem(&ticket, now + TICKET_LIFE / 2).unwrap();
        assert!(sessions.redeem(&ticket, now + TICKET_LIFE / 2).is_none(), "once");
        assert!(sessions.goes_on(&session, now + TICKET_LIFE));
        assert!(!sessions.goes_on(&ticket, now), "a ticket is no session");
        let late = sessions.ticket(now).unwrap();
        assert!(sessions.redeem(&late, now + TICKET_LIFE).is_none());
    }

    #[test]
    fn a_session_ends_with_silence_and_with_age() {
        let (sessions, now) = (Sessions::default(), Instant::now());
        let open = || sessions.redeem(&sessions.ticket(now).unwrap(), now).unwrap();
        let (silent, used) = (open(), open());
        let mut time = now;
        while time < now + SESSION_LIFE - SESSION_SILENCE / 2 {
            time += SESSION_SILENCE / 2;
            assert_eq!(sessions.goes_on(&used, time), time < now + SESSION_LIFE);
        }
        assert!(!sessions.goes_on(&silent, now + SESSION_SILENCE));
        assert!(!sessions.goes_on(&used, now + SESSION_LIFE));
    }

    #[test]
    fn neither_tickets_nor_sessions_grow_without_end() {
        let (sessions, mut now) = (Sessions::default(), Instant::now());
        let mut last = String::new();
        for _ in 0..3 * SESSIONS_MAX {
            now += Duration::from_millis(1);
            last = sessions.redeem(&sessions.ticket(now).unwrap(), now).unwrap();
        }
        for _ in 0..3 * TICKETS_MAX {
            sessions.ticket(now).unwrap();
        }
        let held = sessions.0.lock().unwrap();
        assert_eq!((held.tickets.len(), held.sessions.len()), (TICKETS_MAX, SESSIONS_MAX));
        assert!(held.sessions.contains_key(&last));
    }
}
