//! Classify, decide, record: what each exchange of an inspected connection goes through before its first body byte.

mod recording;

use std::borrow::Cow;
use std::cell::RefCell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::deadline::FIRST_OCTETS;
use super::enforce::Answer;
use super::exchanges::{Hold, Sent};
use super::refused;
use super::worker::Shared;
use crate::activity::{Outcome, related_hosts};
use crate::classify::{self, ActivityType, Classification, Exchange, FirstBytes, Form, Further, MAX_FORM};
use crate::config::Quic;
use crate::detect::scan::{Held, Scan, Unscanned, is_stream, scan};
use crate::http::alt_svc;
use crate::http::h1::{Framing, request_body, response_body};
use crate::http::head::{Fields, RequestHead, ResponseHead};
use crate::memory::pressure;
use crate::policy::decision::{Action, Decision};
use crate::policy::failure_mode::Failure;
use crate::policy::{Bodies, PolicySet, Standing, Subject};
use crate::record::SharedContext;
use crate::record::guard::ConnectionGuard;
use crate::record::transfer::Transfer;
use crate::record::usage::InUse;
use crate::session::{Device, Session};

pub(super) struct Judge<'a> {
    shared: &'a Shared,
    session: &'a Session,
    guard: &'a ConnectionGuard,
    in_use: InUse<'a>,
    /// What of the policies concerns the session, since they were last asked.
    standing: RefCell<Option<Standing>>,
    /// That of the record before.
    context: RefCell<Option<Arc<SharedContext>>>,
    /// Of the response that was let pass last, until it is asked for.
    transfer: RefCell<Option<Transfer<'a>>>,
}

impl<'a> Judge<'a> {
    pub(super) fn new(shared: &'a Shared, session: &'a Session, guard: &'a ConnectionGuard) -> Self {
        Self {
            shared,
            session,
            guard,
            in_use: shared.recorder.in_use(session),
            standing: RefCell::default(),
            context: RefCell::default(),
            transfer: RefCell::default(),
        }
    }

    /// The request's host must be the one the connection was verified for (RFC 9110 section 7.4).
    pub(super) fn request(&self, request: &RequestHead) -> Option<Answer> {
        self.guard.app().request(request.version());
        if names_host(request, &self.session.server_name) {
            if let Some(notice) = self.notice(request) {
                return Some(notice);
            }
            let judged_now = self.bodies().at_request() && self.holds_request(request) == Hold::NOTHING;
            return if judged_now { self.before_sent_on(request, &Sent::NOTHING, None) } else { None };
        }
        tracing::info!(
            server_name = %self.session.server_name,
            exe = self.session.process.exe.as_deref(),
            "refused: the request names another host than the connection"
        );
        self.refused(Failure::Misdirected, Some(request));
        Some(Self::misdirected())
    }

    /// The page that says that the app is monitored, before the user's first page of it.
    fn notice(&self, request: &RequestHead) -> Option<Answer> {
        let snapshot = self.shared.snapshot.load();
        let notice = &snapshot.config.notice;
        if !notice.show || !snapshot.policies.selects(&self.session.app) {
            return None;
        }
        self.shared.notices.answer(notice, &self.session_of(request), request, Timestamp::now())
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

    /// The record of the download that the last verdict let pass.
    pub(super) fn transfer(&self) -> Option<Transfer<'a>> {
        self.transfer.take()
    }

    /// What a client gets in place of a download whose record could not be stored.
    pub(super) fn unrecorded(&self) -> Answer {
        refused::count(self.shared, Failure::RecordNotStored);
        Answer::failure(503, Failure::RecordNotStored.words())
    }

    /// How much of a request's body policies or classification ask for before the origin gets any of it.
    pub(super) fn holds_request(&self, request: &RequestHead) -> Hold {
        let bodies = self.bodies();
        let is_form = classify::is_form(request);
        if !bodies.at_request() && !is_form
            || matches!(request_body(request), Ok(Framing::None | Framing::Length(0)) | Err(_))
        {
            return Hold::NOTHING;
        }
        let session = self.session_of(request);
        let class = self.request_class(&session, request, None);
        if bodies.asks_request(&class) {
            Hold { most: self.most_held(declared_size(request)), patience: None }
        } else if !is_form || class.activity != ActivityType::Upload {
            Hold::NOTHING
        } else if bodies.asks_forms() {
            Hold { most: MAX_FORM, patience: None }
        } else if request.fields().get("expect").is_none() {
            Hold { most: MAX_FORM, patience: Some(FIRST_OCTETS) }
        } else {
            // A client that waits to be asked for its body is not asked for the record's sake.
            Hold::NOTHING
        }
    }

    /// The verdict on a request of whose body the beginning is held, or all of it.
    ///
    /// # Errors
    /// It is blocked: what the client gets.
    pub(super) fn request_body(&self, request: &RequestHead, held: Held<'_>) -> Result<Sent, Box<Answer>> {
        let form = Form::of(request, FirstBytes { octets: held.octets, complete: held.complete });
        let bodies = self.bodies();
        let class = self.request_class(&self.session_of(request), request, form.as_ref());
        let scan = bodies.asks_request(&class).then(|| look_at(request.fields(), held));
        let sent = Sent { scan, form };
        let blocked = bodies.at_request().then(|| self.before_sent_on(request, &sent, Some(held))).flatten();
        blocked.map_or(Ok(sent), |answer| Err(Box::new(answer)))
    }

    /// The verdict on a request by what it says itself. Only a block is final, and recorded here: what passes is one
    /// activity with its response.
    fn before_sent_on(&self, request: &RequestHead, sent: &Sent, held: Option<Held<'_>>) -> Option<Answer> {
        let snapshot = self.shared.snapshot.load();
        let device = self.shared.device_of(self.session);
        let begun = Instant::now();
        let session = self.session_of(request);
        let class = self.request_class(&session, request, sent.form.as_ref());
        let size = held.filter(|held| held.complete).map(|held| held.octets.len() as u64);
        let content = sent.scan.as_ref();
        let known = size.or_else(|| declared_size(request));
        let subject = Subject::new(&class, known).with_content(content).at_request();
        let decision = self.decide(&snapshot.policies, &session, &device, subject);
        if decision.action() != Action::Block {
            return None;
        }
        let outcome = Outcome { enforced: true, micros: micros(begun), file_size: size, content };
        self.record(&session, &device, (&class, known), &decision, outcome, (request, None))
    }

    /// How much of a response's body policies or classification ask for before the client gets any of it.
    pub(super) fn holds_response(&self, request: &RequestHead, response: &ResponseHead) -> Hold {
        let session = self.session_of(request);
        let exchange = self.exchange(&session, request, response);
        let bodies = self.bodies();
        if bodies.any() && bodies.asks_response(&classify_kept(&exchange).0) && !is_stream(response.fields())
        {
            let declared = match response_body(response, request.method()) {
                Ok(Framing::Length(size)) => Some(size),
                _ => None,
            };
            return Hold { most: self.most_held(declared), patience: None };
        }
        let true_types = self.shared.snapshot.load().policies.asks_true_types(&self.session.app);
        Hold { most: exchange.look_ahead(true_types), patience: Some(FIRST_OCTETS) }
    }

    /// How much more, where that has shown next to nothing. A body of which the client could have nothing keeps nobody
    /// waiting.
    pub(super) fn holds_more(&self, request: &RequestHead, response: &ResponseHead, held: Held<'_>) -> Hold {
        let mut exchange = Exchange::new(request, response, &self.session.server_name);
        exchange.first_bytes = Some(FirstBytes { octets: held.octets, complete: held.complete });
        exchange.look_further().map_or(Hold::NOTHING, |Further { most, patient }| {
            let patience = if patient { Duration::MAX } else { FIRST_OCTETS };
            Hold { most, patience: Some(patience) }
        })
    }

    /// The verdict on a response. `Some` is what the client gets instead. `held` is the beginning of its body, where
    /// that was asked for.
    pub(super) fn response(
        &self,
        request: &RequestHead,
        response: &ResponseHead,
        sent: &Sent,
        held: Option<Held<'_>>,
    ) -> Option<Answer> {
        let snapshot = self.shared.snapshot.load();
        let device = self.shared.device_of(self.session);
        related_hosts(request, response, &self.session.server_name, |via, host| {
            if snapshot.catalog.lookup(host).is_none() {
                self.in_use.saw(via, host);
            }
        });
        let begun = Instant::now();
        let session = self.session_of(request);
        self.shared.led.note(&session, response, &snapshot);
        let mut exchange = self.exchange(&session, request, response);
        exchange.form = sent.form.as_ref();
        exchange.first_bytes = held.map(|Held { octets, complete }| FirstBytes { octets, complete });
        let (mut class, carried) = classify_kept(&exchange);
        let size = if class.activity == ActivityType::Upload {
            let asked = self.request_class(&session, request, sent.form.as_ref());
            (class.filename, class.mime) = (class.filename.or(asked.filename), asked.mime.or(class.mime));
            declared_size(request)
        } else {
            match response_body(response, request.method()) {
                Ok(Framing::Length(size)) => Some(size),
                _ => None,
            }
        };
        let received = held.filter(|_| self.bodies().asks_response(&class));
        let received = received.map(|held| look_at(response.fields(), held));
        let content = received.map(|received| received.and(sent.scan.as_ref())).or(sent.scan);
        let subject = Subject::new(&class, size).with_content(content.as_ref());
        let decision = self.decide(&snapshot.policies, &session, &device, subject);

        let blocked = decision.action() == Action::Block;
        let found = content.is_some_and(|content| !content.counts.is_empty());
        let watched = decision.action() == Action::Monitor && found;
        if class.activity == ActivityType::None && !blocked && !watched {
            return None;
        }
        let outcome =
            Outcome { enforced: blocked, micros: micros(begun), file_size: None, content: content.as_ref() };
        let answer =
            self.record(&session, &device, (&class, size), &decision, outcome, (request, Some(response)))?;
        Some(if carried { answer.led_on(response) } else { answer })
    }

    /// A session stays as it is while its connection lasts, so what concerns it is looked for once.
    fn decide(
        &self,
        policies: &PolicySet,
        session: &Session,
        device: &Device,
        subject: Subject<'_>,
    ) -> Decision {
        let mut standing = self.standing.borrow_mut();
        if !standing.as_ref().is_some_and(|standing| standing.is_of(policies, session)) {
            *standing = None;
        }
        let standing = standing.get_or_insert_with(|| policies.standing(session));
        policies.decide_standing(standing, session, device, subject)
    }

    /// How much of a body is held for content detection. One octet more than it says to have shows that it has ended;
    /// what is not more than a look ahead would not be waited for.
    fn most_held(&self, declared: Option<u64>) -> usize {
        let most = self.shared.snapshot.load().config.content.scan;
        let declared = declared.and_then(|size| usize::try_from(size).ok()).unwrap_or(usize::MAX);
        most.min(declared.max(classify::MAX_LOOK_AHEAD).saturating_add(1))
    }

    /// The decision about something that is no exchange of its own.
    pub(super) fn decide_now(&self, session: &Session, subject: Subject<'_>) -> Decision {
        let snapshot = self.shared.snapshot.load();
        self.decide(&snapshot.policies, session, &self.shared.device_of(self.session), subject)
    }

    pub(super) fn bodies(&self) -> Bodies {
        self.shared.snapshot.load().policies.bodies_of(&self.session.app)
    }

    /// The process decides what the client is, where it is known; else its own word is all there is.
    pub(super) fn session_of(&self, request: &RequestHead) -> Cow<'a, Session> {
        if self.session.process.is_known() {
            return Cow::Borrowed(self.session);
        }
        Cow::Owned(Session { kind: classify::claimed_kind(request), ..self.session.clone() })
    }

    pub(super) fn exchange<'e>(
        &self,
        session: &'e Session,
        request: &'e RequestHead,
        response: &'e ResponseHead,
    ) -> Exchange<'e> {
        let mut exchange = Exchange::new(request, response, &session.server_name);
        exchange.app = Some(&session.app);
        exchange.client = session.process.is_known().then_some(session.kind);
        exchange
    }

    fn request_class(&self, session: &Session, request: &RequestHead, form: Option<&Form>) -> Classification {
        let nothing = classify::no_answer(request.version());
        classify::classify_request(&Exchange { form, ..self.exchange(session, request, &nothing) })
    }
}

/// What is found in what is held of a body. While memory is short that is less than the settings would have.
fn look_at(fields: &Fields, held: Held<'_>) -> Scan {
    let mut found = scan(fields, held);
    if !held.complete && found.unscanned == Some(Unscanned::TooLarge) && pressure::is_shedding() {
        found.unscanned = Some(Unscanned::NoMemory);
    }
    found
}

/// What the client may keep of a response, and whether that comes with a redirect.
fn classify_kept(exchange: &Exchange<'_>) -> (Classification, bool) {
    match classify::classify_carried(exchange) {
        Some(carried) => (carried, true),
        None => (classify::classify(exchange), false),
    }
}

fn micros(begun: Instant) -> u64 {
    u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX)
}

/// What a request says that its body is long.
fn declared_size(request: &RequestHead) -> Option<u64> {
    match request_body(request) {
        Ok(Framing::Length(size)) => Some(size),
        _ => None,
    }
}

/// Whether a request is for this host, which is in lower case and without a trailing dot.
fn names_host(head: &RequestHead, name: &str) -> bool {
    let host = head.host().unwrap_or_default();
    host.strip_suffix('.').unwrap_or(host).eq_ignore_ascii_case(name)
}

/// Host of a request as the catalog knows names: lower case, no trailing dot; empty when there is none.
pub(super) fn host_of(head: &RequestHead) -> String {
    let host = head.host().unwrap_or_default();
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}
