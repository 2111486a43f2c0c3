//! How apps are used: sessions, users, downloads, and hosts that no app owns. Gathered per connection, summed up by the
//! writer of the activity log, kept in its database. No request costs a write.
//!
//! A session is an inspected connection. What a connection reports is small and bounded; when the log's queue is full
//! the beginning is told again with the end.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use crate::activity::Via;
use crate::catalog::App;
use crate::classify::ActivityType;
use crate::policy::decision::Action;
use crate::record::activity_log::ActivityLog;
use crate::record::pending::Pending;
use crate::session::{Session, User};

/// Hosts that one connection reports between two of its reports.
const SIGHTINGS_MAX: usize = 16;
/// Sums that wait for the database at most, of users and of hosts; only a failing disk gets there.
const PENDING_MAX: usize = 16_384;

/// One host that no app owns, seen beside an app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sighting {
    pub(super) domain: Box<str>,
    pub(super) via: Via,
    pub(super) count: u64,
}

/// What one connection tells the writer.
#[derive(Debug, Clone)]
pub(super) struct Report {
    pub(super) app: Arc<App>,
    /// Name, or `uid:N`; `None` when nobody knows.
    pub(super) user: Option<Arc<str>>,
    pub(super) at: Timestamp,
    /// The connection begins with this report.
    pub(super) begins: bool,
    pub(super) sightings: Vec<Sighting>,
}

/// An inspected connection as the app's usage sees it. Its end is the app's last use.
pub struct InUse<'a> {
    log: &'a ActivityLog,
    app: Arc<App>,
    user: Option<Arc<str>>,
    /// The beginning is still to be told.
    begins: Cell<bool>,
    sightings: RefCell<Vec<Sighting>>,
}

impl<'a> InUse<'a> {
    pub(super) fn begin(log: &'a ActivityLog, session: &Session) -> Self {
        let in_use = Self {
            log,
            app: Arc::clone(&session.app),
            user: name_of(&session.user),
            begins: Cell::new(true),
            sightings: RefCell::default(),
        };
        in_use.report();
        in_use
    }

    /// Notes a host that no app owns. A host that is new to this connection is told at once, repetitions with the end.
    pub fn saw(&self, via: Via, domain: &str) {
        let mut sightings = self.sightings.borrow_mut();
        if let Some(known) = sightings.iter_mut().find(|s| s.via == via && *s.domain == *domain) {
            known.count += 1;
            return;
        }
        if sightings.len() >= SIGHTINGS_MAX {
            // Told with what has been counted, so that a long connection forgets nothing.
            drop(sightings);
            self.report();
            sightings = self.sightings.borrow_mut();
            sightings.clear();
        }
        sightings.push(Sighting { domain: domain.into(), via, count: 1 });
        drop(sightings);
        self.report();
    }

    fn report(&self) {
        let mut sightings = self.sightings.borrow_mut();
        let told = sightings.iter().filter(|s| s.count > 0).cloned().collect();
        let report = Report {
            app: Arc::clone(&self.app),
            user: self.user.clone(),
            at: Timestamp::now(),
            begins: self.begins.get(),
            sightings: told,
        };
        if self.log.used(report) {
            self.begins.set(false);
            sightings.iter_mut().for_each(|s| s.count = 0);
        }
    }
}

impl Drop for InUse<'_> {
    fn drop(&mut self) {
        self.report();
    }
}

fn name_of(user: &User) -> Option<Arc<str>> {
    user.name.clone().or_else(|| user.uid.map(|uid| format!("uid:{uid}").into()))
}

/// Sums that are not in the database yet.
#[derive(Debug, Clone, Default)]
pub(super) struct Sums {
    pub(super) apps: BTreeMap<Arc<str>, AppSum>,
    /// By app and user: last use in microseconds.
    pub(super) users: BTreeMap<(Arc<str>, Arc<str>), i64>,
    /// By app, domain and way.
    pub(super) domains: BTreeMap<(Arc<str>, Box<str>, Via), DomainSum>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct AppSum {
    pub(super) name: Arc<str>,
    pub(super) suite: Option<Arc<str>>,
    pub(super) category: Option<Arc<str>>,
    pub(super) first: Option<i64>,
    pub(super) last: i64,
    pub(super) sessions: u64,
    pub(super) allowed: u64,
    pub(super) blocked: u64,
}

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct DomainSum {
    pub(super) count: u64,
    pub(super) first: i64,
    pub(super) last: i64,
}

impl Sums {
    pub(super) fn is_empty(&self) -> bool {
        self.apps.is_empty() && self.users.is_empty() && self.domains.is_empty()
    }

    pub(super) fn add_report(&mut self, report: Report) {
        let at = report.at.as_microsecond();
        let id = &report.app.id;
        let app = self.apps.entry(Arc::clone(id)).or_default();
        app.name = Arc::clone(&report.app.name);
        (app.suite, app.category) = (report.app.suite.clone(), report.app.category.clone());
        app.last = app.last.max(at);
        if report.begins {
            app.sessions += 1;
            app.first = Some(app.first.map_or(at, |first| first.min(at)));
        }
        if let Some(user) = report.user
            && self.users.len() < PENDING_MAX
        {
            let last = self.users.entry((Arc::clone(id), user)).or_insert(at);
            *last = (*last).max(at);
        }
        for sighting in report.sightings {
            if self.domains.len() >= PENDING_MAX {
                break;
            }
            let key = (Arc::clone(id), sighting.domain, sighting.via);
            let domain = self.domains.entry(key).or_insert(DomainSum { count: 0, first: at, last: at });
            domain.count += sighting.count;
            domain.last = domain.last.max(at);
        }
    }

    /// A record that was stored now is a use of its app as well.
    pub(super) fn add_record(&mut self, pending: &Pending) {
        let (at, context) = (pending.time, &pending.shared.value);
        let app = self.apps.entry(Arc::clone(&context.app.id)).or_insert_with(|| AppSum {
            name: Arc::clone(&context.app.name),
            suite: context.app.suite.clone(),
            category: context.app.category.clone(),
            ..AppSum::default()
        });
        app.last = app.last.max(at);
        if pending.kind == ActivityType::Download {
            match context.decision.action {
                Action::Block => app.blocked += 1,
                Action::Allow | Action::Monitor => app.allowed += 1,
            }
            app.first = Some(app.first.map_or(at, |first| first.min(at)));
        }
    }
}
