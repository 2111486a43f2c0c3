//! Redirects to signed storage: who was led where, told to the kernel, asked when a connection comes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::worker::Accepted;
use crate::catalog::App;
use crate::classify::redirect::{self, Leads};
use crate::http::head::ResponseHead;
use crate::reload::Snapshot;
use crate::session::{Session, Whom};
use crate::steering::LedNames;

/// Of all workers: a redirect and the connection it leads to may be different threads'. Locked for redirects to storage
/// and for connections to it, not for others.
pub struct Led {
    leads: Mutex<Leads>,
    /// Absent where the kernel steers nothing.
    names: Option<Mutex<LedNames>>,
}

impl Led {
    pub fn new(names: Option<LedNames>) -> Self {
        Self { leads: Mutex::default(), names: names.map(Mutex::new) }
    }

    /// Remembers where a response leads its client, before the client reads it.
    pub(super) fn note(&self, session: &Session, response: &ResponseHead, snapshot: &Snapshot) {
        let Some(host) = redirect::target(response, &session.server_name) else { return };
        let storage = snapshot.catalog.lookup(&host).is_some_and(|app| app.redirect_target);
        if !storage || !snapshot.policies.selects(&session.app) {
            return;
        }
        let left = locked(&self.leads).note(session.whom(), &host, &session.app.id, Instant::now());
        if let Some(names) = &self.names
            && let Err(error) = locked(names).lead(&host, &session.app.id)
        {
            tracing::warn!(host, app = %session.app.id, "the target of a redirect is not steered: {error:#}");
        }
        self.leave_to_catalog(left, snapshot);
    }

    /// The app that led the client of this connection to `name`, a host of `storage`.
    pub(super) fn source(
        &self,
        accepted: &Accepted,
        (storage, name): (&App, &str),
        snapshot: &Snapshot,
    ) -> Option<Arc<App>> {
        if !storage.redirect_target {
            return None;
        }
        let uid = accepted.owner.as_ref().map(|flow| flow.uid);
        let uid = uid.or_else(|| accepted.asked.as_ref()?.owner.map(|socket| socket.uid));
        let id = locked(&self.leads).find(Whom::new(uid, accepted.client), name, Instant::now()).cloned()?;
        snapshot.catalog.app(&id).filter(|app| snapshot.policies.selects(app)).cloned()
    }

    /// Forgets what has ended, and leaves those names to the catalog again.
    pub fn forget_ended(&self, snapshot: &Snapshot) {
        let mut leads = locked(&self.leads);
        if leads.is_empty() {
            return;
        }
        let ended = leads.forget(Instant::now());
        drop(leads);
        self.leave_to_catalog(ended, snapshot);
    }

    fn leave_to_catalog(&self, hosts: impl IntoIterator<Item = Box<str>>, snapshot: &Snapshot) {
        let Some(names) = &self.names else { return };
        for host in hosts {
            if let Err(error) = locked(names).forget(&host, snapshot.catalog.names_exactly(&host)) {
                tracing::warn!(%host, "the target of a redirect stays steered: {error:#}");
            }
        }
    }
}

/// What is held is whole after every step, also after one that panicked.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
