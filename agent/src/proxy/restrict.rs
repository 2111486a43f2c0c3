//! What policies block in pages, put into the pages: which ones, their request, their head, and what goes into them.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::block_page;
use super::enforce::Answer;
use super::judge::Judge;
use crate::classify::{self, ActivityType, Classification, Kind};
use crate::http::head::{RequestHead, ResponseHead};
use crate::pages::csp::Hashes;
use crate::pages::{self, Restrictions, Start};
use crate::policy::Subject;
use crate::policy::decision::Action;
use crate::policy::failure_mode::Failure;
use crate::session::ClientKind;

impl Judge<'_> {
    /// Asks for a page in a form that something can be put into, where that has to be.
    pub(super) fn ask_for_page(&self, request: &mut RequestHead) {
        if self.restrictions(request).is_some() {
            pages::ask(request);
        }
    }

    /// Whether something is put into the page that a response is.
    pub(super) fn alters_page(&self, request: &RequestHead, response: &ResponseHead) -> bool {
        if !self.bodies().restricts_pages() || pages::is_page(request, response) == Ok(false) {
            return false;
        }
        let session = self.session_of(request);
        // What is saved stays what it is.
        !classify::classify(&self.exchange(&session, request, response)).download
            && self.restrictions(request).is_some()
    }

    /// What goes into a page, whose head is made to fit.
    ///
    /// # Errors
    /// Nothing can be put into it: what the client gets instead.
    pub(super) fn alter_page(
        &self,
        request: &RequestHead,
        response: &mut ResponseHead,
        start: Start,
    ) -> Result<String, Box<Answer>> {
        if start.utf16 || pages::is_page(request, response).is_err() {
            self.refused(Failure::PageUnrestrictable, Some(request));
            return Err(Box::new(Answer::failure(502, Failure::PageUnrestrictable.words())));
        }
        // The device may have changed a moment ago.
        let Some(restrictions) = self.restrictions(request) else { return Ok(String::new()) };
        let parts = restrictions.parts();
        let hashes = Hashes {
            script: hash(&parts.script),
            style: (!parts.style.is_empty()).then(|| hash(&parts.style)),
        };
        let html = parts.html();
        pages::answer(response, html.len(), &hashes);
        Ok(html)
    }

    /// What is blocked in the page that a browser asks for.
    fn restrictions(&self, request: &RequestHead) -> Option<Restrictions> {
        if !self.bodies().restricts_pages() {
            return None;
        }
        let session = self.session_of(request);
        if session.kind != ClientKind::Browser || !classify::opens_page(request, session.kind) {
            return None;
        }
        Restrictions::of(|activity| {
            let class = in_page(activity);
            let decision = self.decide_now(&session, Subject::new(&class, None));
            let told = || match decision.message() {
                Some(message) => message.to_string().into(),
                None => block_page::standard_text(activity, None).into(),
            };
            (decision.action() == Action::Block).then(told)
        })
    }
}

/// What somebody may do in a page, as policies are asked about it.
fn in_page(activity: ActivityType) -> Classification {
    Classification {
        activity,
        download: false,
        filename: None,
        other_filenames: Vec::new(),
        mime: None,
        file_type: None,
        kind: Kind::Page,
        reason: "done in a page".into(),
    }
}

/// As a source expression of a Content Security Policy.
fn hash(text: &str) -> String {
    format!("'sha256-{}'", STANDARD.encode(digest(&SHA256, text.as_bytes())))
}
