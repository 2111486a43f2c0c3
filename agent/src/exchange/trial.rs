//! What policies would decide about recorded exchanges, with user and device as they are taken to be.

use std::sync::Arc;

use super::Record;
use crate::catalog::{App, Catalog};
use crate::classify::{self, ActivityType, Classification, Exchange};
use crate::config::Content;
use crate::detect::scan::{Held, is_stream, scan};
use crate::diagnostic::{Diagnostic, SourceFile};
use crate::http::h1::{Framing, request_body, response_body};
use crate::policy::decision::{Action, Decision};
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
    ///
    /// As on the way of a connection: the request is judged before its answer is, and bodies that were recorded are
    /// looked at where a rule asks for their content, as far as the agent looks when its settings do not say otherwise.
    pub fn decide(&self, record: &Record, class: &Classification) -> Option<Decision> {
        let app = self.catalog.lookup(&record.host)?.clone();
        let (request, response) = (&record.request, &record.response);
        let bodies = self.policies.bodies_of(&app);
        let sent = record.sent.as_deref().map(held);
        let nothing = classify::no_answer(request.version());
        let exchange = Exchange::new(request, &nothing, &record.host);
        let asked = Exchange { app: Some(&app), form: record.form.as_ref(), ..exchange };
        let asked = classify::classify_request(&asked);
        let sent = sent.filter(|_| bodies.asks_request(&asked)).map(|sent| scan(request.fields(), sent));
        let sent_size = match request_body(request) {
            Ok(Framing::Length(size)) => Some(size),
            _ => record.sent.as_ref().map(|sent| sent.len() as u64),
        };
        if bodies.at_request() {
            let mut first = self.circumstances(app.clone(), record, asked.clone(), sent_size);
            (first.content, first.at_request) = (sent, true);
            let decision = first.decide(&self.policies);
            if decision.action() == Action::Block {
                return Some(decision);
            }
        }
        let mut class = class.clone();
        let size = if class.activity == ActivityType::Upload {
            (class.filename, class.mime) = (class.filename.or(asked.filename), asked.mime.or(class.mime));
            sent_size
        } else {
            match response_body(response, request.method()) {
                Ok(Framing::Length(size)) => Some(size),
                _ => None,
            }
        };
        let looked_at = bodies.asks_response(&class) && !is_stream(response.fields());
        let received = record.body.as_deref().filter(|_| looked_at);
        let received = received.map(|body| scan(response.fields(), held(body)));
        let mut asked = self.circumstances(app, record, class, size);
        asked.content = received.map(|received| received.and(sent.as_ref())).or(sent);
        Some(asked.decide(&self.policies))
    }

    fn circumstances(
        &self,
        app: Arc<App>,
        record: &Record,
        class: Classification,
        size: Option<u64>,
    ) -> Circumstances {
        let kind = classify::claimed_kind(&record.request);
        Circumstances::new(app, self.user.clone(), kind, None, self.device.clone(), class, size)
    }
}

/// What the agent holds of a body.
fn held(body: &[u8]) -> Held<'_> {
    let most = Content::default().scan;
    Held { octets: body.get(..most).unwrap_or(body), complete: body.len() <= most }
}
