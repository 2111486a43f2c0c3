//! A request in absolute form: one exchange in clear text, sent on in origin form, judged when its host is monitored.

use std::rc::Rc;

use tokio::net::TcpStream;

use super::Begun;
use crate::detect::scan::Held;
use crate::http::h1::Peer;
use crate::http::head::{RequestHead, ResponseHead};
use crate::http::proxy_request::FOR_THE_PROXY;
use crate::memory::pressure;
use crate::pages::Start;
use crate::policy::failure_mode::Failure;
use crate::proxy::enforce::Answer;
use crate::proxy::exchanges::{Exchanges, Hold, Sent};
use crate::proxy::h1;
use crate::proxy::inspect::{Inspected, count, log_end, record_end};
use crate::proxy::judge::Judge;
use crate::proxy::origin::{Dialler, PlainDialler};
use crate::proxy::refused;
use crate::proxy::side::Side;
use crate::proxy::untouched::{abort, log_failure};
use crate::proxy::who::Early;
use crate::proxy::worker::Worker;
use crate::record::guard::ConnectionGuard;
use crate::record::metrics::Path;
use crate::record::transfer::Transfer;

/// What this proxy writes into Via (RFC 9110 section 7.6.3).
const VIA: &[u8] = b"1.1 portcullis";

/// Serves the one request whose head `client` has unread. The client's connection ends behind it: its next request may
/// be for another host, and a client connects to a proxy anew for nothing but a loopback handshake.
pub(super) async fn serve(
    worker: &Rc<Worker>,
    mut client: Side<TcpStream>,
    begun: Begun,
    guard: &mut ConnectionGuard,
) {
    let shared = &worker.shared;
    let limits = shared.limits();
    let Begun { client: address, original_dst, origin: connected, asked, .. } = begun;
    let ready = crate::proxy::dial::Ready::new(connected);
    let dialler = PlainDialler { worker, to: original_dst, ready: &ready };
    let Ok(origin) = dialler.dial_once().await else { return abort(client.stream) };
    let early = Early::of_socket(&asked).await;
    if let Some(app) = &asked.app
        && pressure::is_refusing()
    {
        let failure = Failure::MemoryFull;
        log_failure(failure, address.0, Some(original_dst));
        let refused = early.refused(failure, app.clone(), (address, original_dst), &asked.name);
        refused::record(shared, refused).await;
        return abort(client.stream);
    }
    let ended = match asked.app {
        Some(app) => {
            guard.set_app(&app.id);
            guard.set_path(Path::Inspected);
            let session = early
                .session(worker, &asked.name, app, (address, original_dst), origin.local_addr().ok())
                .await;
            let judged = Inspected { judge: Judge::new(shared, &session, guard), dialler, guard };
            let exchange = Forward(judged);
            let ended = h1::serve(&mut client, origin, &exchange, &limits.http1, &limits.timeouts).await;
            record_end(shared, guard, &session, &ended);
            ended
        }
        None => {
            guard.set_path(Path::Spliced);
            let exchange = Forward(Unjudged { dialler, guard });
            h1::serve(&mut client, origin, &exchange, &limits.http1, &limits.timeouts).await
        }
    };
    log_end(&ended, &asked.name);
}

/// An exchange that passes a proxy: once, without what was for the proxy, and marked.
struct Forward<X>(X);

impl<X: Exchanges> Exchanges for Forward<X> {
    type Origin = X::Origin;
    const ONE_EXCHANGE: bool = true;

    async fn dial(&self) -> Result<X::Origin, &'static str> {
        self.0.dial().await
    }

    fn http1_only(&self) -> bool {
        self.0.http1_only()
    }

    fn request(&self, request: &RequestHead) -> Option<Answer> {
        self.0.request(request)
    }

    fn holds_request(&self, request: &RequestHead) -> Hold {
        self.0.holds_request(request)
    }

    fn request_body(&self, request: &RequestHead, held: Held<'_>) -> Result<Sent, Box<Answer>> {
        self.0.request_body(request, held)
    }

    fn holds_response(&self, request: &RequestHead, response: &ResponseHead) -> Hold {
        self.0.holds_response(request, response)
    }

    fn holds_more(&self, request: &RequestHead, response: &ResponseHead, held: Held<'_>) -> Hold {
        self.0.holds_more(request, response, held)
    }

    fn response(
        &self,
        request: &RequestHead,
        response: &ResponseHead,
        sent: &Sent,
        held: Option<Held<'_>>,
    ) -> Option<Answer> {
        self.0.response(request, response, sent, held)
    }

    fn alters_page(&self, request: &RequestHead, response: &ResponseHead) -> bool {
        self.0.alters_page(request, response)
    }

    fn alter_page(
        &self,
        request: &RequestHead,
        response: &mut ResponseHead,
        start: Start,
    ) -> Result<String, Box<Answer>> {
        self.0.alter_page(request, response, start)
    }

    fn transfer(&self) -> Option<Transfer<'_>> {
        self.0.transfer()
    }

    fn unrecorded(&self) -> Answer {
        self.0.unrecorded()
    }

    fn adapt_request(&self, request: &mut RequestHead) {
        self.0.adapt_request(request);
        for name in FOR_THE_PROXY {
            request.fields_mut().remove(name);
        }
        request.fields_mut().push(b"Via", VIA);
    }

    fn adapt_response(&self, response: &mut ResponseHead) {
        self.0.adapt_response(response);
        response.fields_mut().push(b"Via", VIA);
    }

    fn refused(&self, peer: Peer, request: Option<&RequestHead>) {
        self.0.refused(peer, request);
    }

    fn moved(&self, to_origin: u64, to_client: u64) {
        self.0.moved(to_origin, to_client);
    }
}

/// A host that no policy selects: parsed and written anew, neither judged nor recorded.
struct Unjudged<'a> {
    dialler: PlainDialler<'a>,
    guard: &'a ConnectionGuard,
}

impl Exchanges for Unjudged<'_> {
    type Origin = TcpStream;

    async fn dial(&self) -> Result<TcpStream, &'static str> {
        self.dialler.dial_once().await.map_err(|fault| fault.name())
    }

    fn request(&self, _: &RequestHead) -> Option<Answer> {
        None
    }

    fn response(&self, _: &RequestHead, _: &ResponseHead, _: &Sent, _: Option<Held<'_>>) -> Option<Answer> {
        None
    }

    fn moved(&self, to_origin: u64, to_client: u64) {
        count(self.guard, to_origin, to_client);
    }
}
