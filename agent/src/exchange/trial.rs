//! What policies would decide about recorded exchanges, with user and device as they are taken to be.

use std::sync::Arc;

use super::Record;
use crate::catalog::Catalog;
use crate::classify::{self, Classification};
use crate::diagnostic::{Diagnostic, SourceFile};
use crate::http::h1::{Framing, response_body};
use crate::policy::decision::Decision;
use crate::policy::{Circumstances, PolicySet, References};
use crate::session::{Device, User};

/// Policies and the circumstances under which they are asked.
#[derive(Debug, Clone)]
pub struct Trial {
    catalog: Catalog,
    policies: PolicySet,
    user: Arc<User>,
    device: Device,
}

impl Trial {
    /// Reads the texts of `apps.d` (additions to the built-in catalog) and `policies.d`, each in name order.
    ///
    /// Named locations stand in the settings, which are not read here, and a recording does not say where it was made:
    /// it is taken to come from outside of all of them.
    ///
    /// # Errors
    /// Everything wrong with the files.
    pub fn new(
        apps: &[SourceFile],
        policies: &[SourceFile],
        user: User,
        device: Device,
    ) -> Result<Self, Vec<Diagnostic>> {
        let apps = Catalog::recover(apps);
        let known = References { catalog: &apps.catalog, apps_complete: apps.complete, networks: None };
        let (policies, found) = PolicySet::recover(policies, &known);
        let faults: Vec<Diagnostic> = apps.diagnostics.into_iter().chain(found).collect();
        if faults.is_empty() {
            Ok(Self { catalog: apps.catalog, policies, user: Arc::new(user), device })
        } else {
            Err(faults)
        }
    }

    /// The apps it knows.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// The decision on a record that was found to be `class`; `None` when its host belongs to no app.
    pub fn decide(&self, record: &Record, class: &Classification) -> Option<Decision> {
        let app = self.catalog.lookup(&record.host)?.clone();
        let kind = classify::claimed_kind(&record.request);
        let size = match response_body(&record.response, record.request.method()) {
            Ok(Framing::Length(size)) => Some(size),
            _ => None,
        };
        let (user, device) = (self.user.clone(), self.device.clone());
        let asked = Circumstances::new(app, user, kind, None, device, class.clone(), size);
        Some(asked.decide(&self.policies))
    }
}
