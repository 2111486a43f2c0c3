//! What the proxy asks about the exchanges of a connection and tells of them, in both versions of HTTP.

use std::future::Future;
use std::time::Duration;

use super::enforce::Answer;
use crate::classify::Form;
use crate::detect::scan::{Held, Scan};
use crate::http::h1::Peer;
use crate::http::head::{RequestHead, ResponseHead};
use crate::pages::Start;
use crate::policy::failure_mode::Failure;
use crate::record::transfer::Transfer;
use crate::tls::Stream;

/// How much of a body is to be held before any of it is sent on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hold {
    /// Octets; zero asks for none.
    pub most: usize,
    /// How long they are waited for; `None`: as long as the body keeps pace.
    pub patience: Option<Duration>,
}

impl Hold {
    pub const NOTHING: Hold = Hold { most: 0, patience: None };
}

/// What the beginning of a request's body showed.
#[derive(Debug, Default)]
pub struct Sent {
    pub scan: Option<Scan>,
    pub form: Option<Form>,
}

impl Sent {
    /// Nobody looked.
    pub const NOTHING: Sent = Sent { scan: None, form: None };
}

/// What the proxy asks about each exchange, and tells it. Implemented by the pipeline, and by tests in memory.
pub trait Exchanges {
    type Origin: Stream;
    /// The connection ends behind the first exchange: the next request may be for another origin.
    const ONE_EXCHANGE: bool = false;

    /// A fresh connection to the origin, verified for the name of this session.
    fn dial(&self) -> impl Future<Output = Result<Self::Origin, &'static str>>;
    /// Bodies have come to decide, which are looked at in HTTP/1.1: requests over HTTP/2 are to come again.
    fn http1_only(&self) -> bool {
        false
    }
    /// Before anything of the request is sent on. `Some` answers the client and keeps the request from the origin.
    fn request(&self, request: &RequestHead) -> Option<Answer>;
    /// How much of the request's body is to be held before any of it is sent on.
    fn holds_request(&self, _: &RequestHead) -> Hold {
        Hold::NOTHING
    }
    /// With what was asked for by [`holds_request`](Self::holds_request), or as much of it as came in time.
    ///
    /// # Errors
    /// The request is not sent on: what the client gets instead.
    fn request_body(&self, _: &RequestHead, _: Held<'_>) -> Result<Sent, Box<Answer>> {
        Ok(Sent::default())
    }
    /// How much of the response's body is to be held before any of it reaches the client.
    fn holds_response(&self, _: &RequestHead, _: &ResponseHead) -> Hold {
        Hold::NOTHING
    }
    /// How much is to be held in all, now that there is so much; asked until that is no more.
    fn holds_more(&self, _: &RequestHead, _: &ResponseHead, _: Held<'_>) -> Hold {
        Hold::NOTHING
    }
    /// Before the first byte of the response reaches the client, with what was asked for by
    /// [`holds_response`](Self::holds_response) of its body. `Some` is sent instead of it.
    fn response(
        &self,
        request: &RequestHead,
        response: &ResponseHead,
        sent: &Sent,
        held: Option<Held<'_>>,
    ) -> Option<Answer>;
    /// Whether something is put into the page that a response is, once its start is there.
    fn alters_page(&self, _: &RequestHead, _: &ResponseHead) -> bool {
        false
    }
    /// What goes into a page at its [`Start`], of whose body nothing has reached the client; its head is made to fit.
    ///
    /// # Errors
    /// It cannot be done: what is sent instead.
    fn alter_page(&self, _: &RequestHead, _: &mut ResponseHead, _: Start) -> Result<String, Box<Answer>> {
        Ok(String::new())
    }
    /// The record of the download that `response` has just let pass: asked for right behind it, waited for before the
    /// first body byte, and told how the body ended.
    fn transfer(&self) -> Option<Transfer<'_>> {
        None
    }
    /// What the client gets in place of a download whose record could not be stored in time.
    fn unrecorded(&self) -> Answer {
        Answer::failure(503, Failure::RecordNotStored.words())
    }
    /// What is changed in a request before it is sent on.
    fn adapt_request(&self, _: &mut RequestHead) {}
    /// What is taken out of a response, interim ones included, before it is judged and sent on.
    fn adapt_response(&self, _: &mut ResponseHead) {}
    /// What `peer` sent in an exchange was refused, and its connection goes on. `request`: the exchange's, where it was
    /// read.
    fn refused(&self, _peer: Peer, _request: Option<&RequestHead>) {}
    /// Payload bytes moved: to the origin, to the client.
    fn moved(&self, to_origin: u64, to_client: u64);
}
