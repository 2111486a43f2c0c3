//! Classify, decide, record: what each exchange of an inspected connection goes through before its first body byte.

use std::time::Instant;

use jiff::Timestamp;
use uuid::Uuid;

use super::enforce::Answer;
use super::refused;
use super::worker::Shared;
use crate::activity::{Activity, Observed, Outcome};
use crate::classify::{self, ActivityType, Exchange};
use crate::config::Quic;
use crate::http::alt_svc;
use crate::http::h1::{Framing, response_body};
use crate::http::head::{RequestHead, ResponseHead};
use crate::policy::decision::Action;
use crate::policy::failure_mode::Failure;
use crate::record::guard::ConnectionGuard;
use crate::session::Session;

pub(super) struct Judge<'a> {
    shared: &'a Shared,
    session: &'a Session,
    guard: &'a ConnectionGuard,
}

impl<'a> Judge<'a> {
    pub(super) fn new(shared: &'a Shared, session: &'a Session, guard: &'a ConnectionGuard) -> Self {
        Self { shared, session, guard }
    }

    /// The request's host must be the one the connection was verified for (RFC 9110 section 7.4).
    pub(super) fn request(&self, request: &RequestHead) -> Option<Answer> {
        self.guard.app().request(request.version());
        if host_of(request) == *self.session.server_name {
            return None;
        }
        tracing::info!(
            server_name = %self.session.server_name,
            exe = self.session.process.exe.as_deref(),
            "refused: the request names another host than the connection"
        );
        self.refused(Failure::Misdirected, Some(request));
        Some(Self::misdirected())
    }

    /// Counts and records what is refused within the session.
    pub(super) fn refused(&self, failure: Failure, request: Option<&RequestHead>) {
        refused::in_session(self.shared, self.guard.app(), self.session, failure, request);
    }

    /// Whether a policy in force decides by what stands in this app's bodies.
    pub(super) fn reads_bodies(&self) -> bool {
        self.shared.snapshot.load().policies.reads_bodies_of(&self.session.app)
    }

    /// Tells a client to use another connection for this host.
    pub(super) fn misdirected() -> Answer {
        Answer::failure(421, "this connection is for another host")
    }

    /// Takes offers of QUIC out of a response where QUIC is refused.
    pub(super) fn adapt(&self, response: &mut ResponseHead) {
        if self.shared.snapshot.load().config.steering.quic == Quic::Refuse {
            alt_svc::without_quic(response.fields_mut());
        }
    }

    /// The verdict on a response. `Some` is what the client gets instead.
    pub(super) fn response(&self, request: &RequestHead, response: &ResponseHead) -> Option<Answer> {
        let snapshot = self.shared.snapshot.load();
        let device = self.shared.device.load();
        let begun = Instant::now();
        let claiming;
        let session = if self.session.process.is_known() {
            self.session
        } else {
            // The process decides where it is known; here the client's own word is all there is.
            claiming = Session { kind: classify::claimed_kind(request), ..self.session.clone() };
            &claiming
        };
        self.shared.led.note(session, response, &snapshot);
        let mut exchange = Exchange::new(request, response, &session.server_name);
        exchange.app = Some(&session.app);
        exchange.client = session.process.is_known().then_some(session.kind);
        let class = classify::classify(&exchange);
        let size = match response_body(response, request.method()) {
            Ok(Framing::Length(size)) => Some(size),
            _ => None,
        };
        let decision = snapshot.policies.evaluate(session, &device, &class, size);
        let micros = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);

        let blocked = decision.action() == Action::Block;
        if class.activity == ActivityType::None && !blocked {
            return None;
        }
        let id = Uuid::now_v7();
        let outcome = Outcome { enforced: blocked, micros, file_size: None, content: None };
        let observed = Observed {
            session,
            device: &device,
            request,
            response: Some(response),
            classification: &class,
            size,
            decision: &decision,
            outcome,
        };
        let activity = Activity::new(id, Timestamp::now(), &observed);
        // A lost record is counted by the log; it slows or stops nothing here.
        let _ = self.shared.recorder.activity(self.guard.app(), activity);
        Answer::of_decision(&decision, request, class.filename.as_deref(), id, &session.app.name)
    }
}

/// Host of a request as the catalog knows names: lower case, no trailing dot; empty when there is none.
pub(super) fn host_of(head: &RequestHead) -> String {
    let host = head.host().unwrap_or_default();
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}
