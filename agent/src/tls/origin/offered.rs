//! Sessions that an origin is offered, until it has refused too many: some hand out tickets that they never take back, and each
//! that is offered in vain costs its key schedule and the octets of it.

use std::sync::atomic::{AtomicU32, Ordering};

use rustls::NamedGroup;
use rustls::client::{
    ClientSessionMemoryCache, ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue,
};
use rustls_pki_types::ServerName;

use crate::tls::sessions::SESSIONS;

/// Sessions taken out one after the other to be offered, and none resumed, from which on none is offered while the configuration
/// lasts: more than are under way at a time, and more than some of several hosts behind one name refuse by chance. Those that
/// ended before they could be offered count as well.
pub(super) const REFUSALS: u32 = 4 * SESSIONS as u32;

/// The sessions of one configuration. Those of TLS 1.2 cost nothing to offer, and are.
#[derive(Debug)]
pub(super) struct Offered {
    kept: ClientSessionMemoryCache,
    /// Taken out since one was resumed last.
    in_vain: AtomicU32,
}

impl Offered {
    pub(super) fn new() -> Self {
        Self { kept: ClientSessionMemoryCache::new(SESSIONS), in_vain: AtomicU32::new(0) }
    }

    /// The origin has taken a session that was offered.
    pub(super) fn was_taken(&self) {
        self.in_vain.store(0, Ordering::Relaxed);
    }

    fn is_pointless(&self) -> bool {
        self.in_vain.load(Ordering::Relaxed) >= REFUSALS
    }
}

impl ClientSessionStore for Offered {
    fn set_kx_hint(&self, name: ServerName<'static>, group: NamedGroup) {
        self.kept.set_kx_hint(name, group);
    }

    fn kx_hint(&self, name: &ServerName<'_>) -> Option<NamedGroup> {
        self.kept.kx_hint(name)
    }

    fn set_tls12_session(&self, name: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.kept.set_tls12_session(name, value);
    }

    fn tls12_session(&self, name: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.kept.tls12_session(name)
    }

    fn remove_tls12_session(&self, name: &ServerName<'static>) {
        self.kept.remove_tls12_session(name);
    }

    fn insert_tls13_ticket(&self, name: ServerName<'static>, value: Tls13ClientSessionValue) {
        if !self.is_pointless() {
            self.kept.insert_tls13_ticket(name, value);
        }
    }

    fn take_tls13_ticket(&self, name: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        if self.is_pointless() {
            return None;
        }
        let session = self.kept.take_tls13_ticket(name)?;
        if self.in_vain.fetch_add(1, Ordering::Relaxed) + 1 >= REFUSALS {
            // What is left would stay for nothing.
            while self.kept.take_tls13_ticket(name).is_some() {}
        }
        Some(session)
    }
}
