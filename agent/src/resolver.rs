//! Host names looked up by the system's own resolver, on threads of their own: getaddrinfo() blocks and cannot be
//! cancelled, and no look-up may hold up the agent's end.

use std::collections::VecDeque;
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc;

/// Look-ups under way at a time.
const PARALLEL: usize = 4;
/// Addresses of one name that are used.
const ADDRESSES: usize = 64;

/// A name with what it resolved to; nothing for a name that could not be resolved.
pub type Found = (Arc<str>, Vec<IpAddr>);

/// Looks names up, one round after the other.
#[derive(Debug, Default)]
pub struct Resolver {
    waiting: Arc<Mutex<VecDeque<Arc<str>>>>,
    /// Every thread holds a clone.
    alive: Arc<()>,
}

impl Resolver {
    /// Begins a round; the channel closes when every name was tried. Names of an earlier round that were not tried yet
    /// are forgotten, and those being tried still count as under way: there are never more than [`PARALLEL`] threads.
    pub fn begin(&mut self, names: Vec<Arc<str>>) -> mpsc::Receiver<Found> {
        let (found, receiver) = mpsc::channel(names.len().max(1));
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).clear();
        let alive = Arc::strong_count(&self.alive).saturating_sub(1);
        let free = PARALLEL.saturating_sub(alive);
        let threads = free.min(names.len());
        if threads == 0 {
            return receiver;
        }
        // A new queue: a thread of an earlier round that comes back late finds its own empty.
        let waiting = Arc::new(Mutex::new(VecDeque::from(names)));
        self.waiting = waiting.clone();
        for number in 0..threads {
            let (waiting, found, alive) = (waiting.clone(), found.clone(), self.alive.clone());
            let thread = std::thread::Builder::new().name(format!("resolver-{number}"));
            if let Err(error) = thread.spawn(move || work(&waiting, &found, &alive)) {
                tracing::warn!("starting a thread for looking names up: {error}");
            }
        }
        receiver
    }
}

fn work(waiting: &Mutex<VecDeque<Arc<str>>>, found: &mpsc::Sender<Found>, _alive: &Arc<()>) {
    loop {
        let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let Some(name) = next else { return };
        let addresses = addresses_of(&name);
        // There is room for every name of the round; a receiver that is gone ends it.
        if found.try_send((name, addresses)).is_err() {
            return;
        }
    }
}

fn addresses_of(name: &str) -> Vec<IpAddr> {
    match (name, 0).to_socket_addrs() {
        Ok(addresses) => addresses.map(|address| address.ip().to_canonical()).take(ADDRESSES).collect(),
        Err(error) => {
            tracing::debug!(name, "not resolved: {error}");
            Vec::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_name_is_answered_once_and_the_channel_closes() {
        let mut resolver = Resolver::default();
        let names: Vec<Arc<str>> =
            ["127.0.0.1", "::1", "127.0.0.2", "::ffff:127.0.0.3", "127.0.0.4", "127.0.0.5"]
                .map(Arc::from)
                .to_vec();
        let mut receiver = resolver.begin(names.clone());
        let mut found = Vec::new();
        while let Some((name, addresses)) = receiver.recv().await {
            let expected: IpAddr = name.parse().unwrap();
            assert_eq!(addresses, [expected.to_canonical()]);
            found.push(name);
        }
        found.sort();
        let mut expected = names;
        expected.sort();
        assert_eq!(found, expected);
        assert!(resolver.begin(Vec::new()).recv().await.is_none());
    }
}
