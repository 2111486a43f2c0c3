//! What is done for selected apps before any client connects: their names are looked up, and connections that were made
//! before they could be steered are dealt with.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};

use super::existing::{Existing, deal_with};
use crate::catalog::HostPattern;
use crate::config::{self, Mode};
use crate::proxy::worker::Shared;
use crate::reload::Snapshot;
use crate::resolver::Resolver;
use crate::steering::Learned;

/// Names looked up in one round; a selection with more exact names has the rest learned from clients' answers.
const MOST_NAMES: usize = 512;
/// Between two rounds, varied by a fifth so that hosts started together do not ask together.
const EVERY: Duration = Duration::from_secs(300);
/// How long an answer counts. getaddrinfo() tells no TTL; two rounds may fail before addresses are forgotten.
const VALID: Duration = Duration::from_secs(1200);
/// How long a round may take.
const ROUND: Duration = Duration::from_secs(120);
/// How often connections from before are compared with what was learned since: every step at first, then rarely.
const FIRST_STEPS: (u32, Duration) = (30, Duration::from_secs(1));
const STEP: Duration = Duration::from_secs(10);
/// Steps between two looks at which of them still exist.
const STEPS_TO_FORGET: u32 = 6;

pub(super) struct Ahead {
    shared: Arc<Shared>,
    learned: RefCell<Learned>,
    /// Whether connections from before are this host's own, which can be listed.
    lists_existing: bool,
    /// Counts the orders given to the kernel.
    orders: watch::Sender<u64>,
}

impl Ahead {
    pub(super) fn new(shared: Arc<Shared>, learned: Learned, mode: Mode) -> Self {
        let lists_existing = mode == Mode::Host;
        Self { shared, learned: RefCell::new(learned), lists_existing, orders: watch::Sender::new(0) }
    }

    /// The kernel steers by other orders now.
    pub(super) fn orders_changed(&self) {
        self.orders.send_modify(|count| *count += 1);
    }

    /// Runs until it is dropped.
    pub(super) async fn run(&self) {
        if self.lists_existing {
            tokio::join!(self.look_names_up(), self.watch_existing());
        } else {
            self.look_names_up().await;
        }
        std::future::pending().await
    }

    async fn look_names_up(&self) {
        let mut orders = self.orders.subscribe();
        let mut resolver = Resolver::default();
        loop {
            orders.mark_unchanged();
            let snapshot = self.shared.snapshot.load_full();
            if snapshot.config.steering.resolve {
                tokio::select! {
                    () = self.round(&mut resolver, &snapshot) => {}
                    _ = orders.changed() => continue,
                }
            }
            drop(snapshot);
            tokio::select! {
                () = sleep(varied(EVERY)) => {}
                _ = orders.changed() => {}
            }
        }
    }

    /// Looks every name up once and teaches the kernel what it resolves to.
    async fn round(&self, resolver: &mut Resolver, snapshot: &Snapshot) {
        let names = exact_names(snapshot);
        if names.is_empty() {
            return;
        }
        let own = own_addresses();
        let deadline = Instant::now() + ROUND;
        let mut answers = resolver.begin(names.keys().cloned().collect());
        let (mut resolved, mut taught) = (0, 0);
        while let Ok(Some((name, addresses))) = timeout_at(deadline, answers.recv()).await {
            let Some(app) = names.get(&name) else { continue };
            resolved += usize::from(!addresses.is_empty());
            // An app's name that leads to this host itself leads to whatever service of it root may reach.
            for address in addresses.into_iter().filter(|address| !own.contains(address)) {
                match self.learned.borrow_mut().add(app, address, VALID) {
                    Ok(added) => taught += usize::from(added),
                    Err(error) => tracing::warn!(%address, "not learned ahead: {error:#}"),
                }
            }
        }
        tracing::info!(names = names.len(), resolved, addresses = taught, "looked names up ahead");
    }

    async fn watch_existing(&self) {
        let mut orders = self.orders.subscribe();
        let mut existing = Existing::default();
        let mut selected_before = HashSet::new();
        loop {
            orders.mark_unchanged();
            let setting = self.shared.snapshot.load().config.steering.existing;
            let (ports, selected) = {
                let learned = self.learned.borrow();
                (learned.ports(), learned.selected().into_iter().collect::<HashSet<_>>())
            };
            if setting == config::Existing::Leave {
                // Whoever turns it on later means the connections of that time.
                (existing, selected_before) = (Existing::default(), HashSet::new());
            } else {
                let grown = !selected.is_subset(&selected_before);
                selected_before = selected;
                if grown && let Err(error) = existing.take_stock(ports.clone()).await {
                    tracing::warn!("connections from before steering could not be listed: {error}");
                }
            }
            let mut step = 0;
            while !existing.is_empty() {
                self.compare(&mut existing, setting == config::Existing::Close).await;
                step += 1;
                tokio::select! {
                    () = sleep(FIRST_STEPS.1), if step <= FIRST_STEPS.0 => {}
                    () = sleep(STEP), if step > FIRST_STEPS.0 => {}
                    _ = orders.changed() => {
                        orders.mark_changed();
                        break;
                    }
                }
                if step % STEPS_TO_FORGET == 0
                    && let Err(error) = existing.forget_ended(ports.clone()).await
                {
                    tracing::debug!("connections from before steering could not be listed: {error}");
                }
            }
            if orders.changed().await.is_err() {
                return;
            }
        }
    }

    /// Deals with those whose address turns out to be a selected app's.
    async fn compare(&self, existing: &mut Existing, close: bool) {
        let found = existing.take_selected(&self.learned.borrow(), &self.shared.snapshot.load());
        match found {
            Ok(found) if !found.is_empty() => deal_with(&self.shared, found, close).await,
            Ok(_) => {}
            Err(error) => tracing::warn!("connections from before steering: {error:#}"),
        }
    }
}

/// Exact host names of the selected apps, with the app each belongs to.
fn exact_names(snapshot: &Snapshot) -> BTreeMap<Arc<str>, Arc<str>> {
    let mut names = BTreeMap::new();
    let apps = snapshot.catalog.apps().iter().filter(|app| snapshot.policies.selects(app));
    for app in apps {
        for pattern in &app.domains {
            if let HostPattern::Exact(name) = pattern {
                names.insert(name.clone(), app.id.clone());
            }
        }
    }
    if names.len() > MOST_NAMES {
        tracing::warn!(
            names = names.len(),
            "only {MOST_NAMES} of the selected apps' names are looked up ahead"
        );
        names = names.into_iter().take(MOST_NAMES).collect();
    }
    names
}

/// Addresses of this host's interfaces; none when they cannot be read.
fn own_addresses() -> HashSet<IpAddr> {
    let interfaces = nix::ifaddrs::getifaddrs().into_iter().flatten();
    interfaces
        .filter_map(|interface| {
            let address = interface.address?;
            let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
        })
        .collect()
}

/// The duration, give or take a fifth.
fn varied(around: Duration) -> Duration {
    let random = RandomState::new().hash_one(0);
    around.mul_f64(0.8 + 0.4 * (random as f64 / u64::MAX as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_vary_by_a_fifth_at_most() {
        for _ in 0..100 {
            let varied = varied(EVERY);
            assert!((EVERY * 4 / 5..=EVERY * 6 / 5).contains(&varied), "{varied:?}");
        }
    }

    #[test]
    fn the_loopback_address_is_one_of_this_hosts_own() {
        assert!(own_addresses().contains(&IpAddr::from([127, 0, 0, 1])));
    }
}
