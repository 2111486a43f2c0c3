//! What the proxy asks about the exchanges of a connection and tells of them, in both versions of HTTP.

use std::future::Future;

use tokio::io::{AsyncRead, AsyncWrite};

use super::enforce::Answer;
use crate::http::h1::Peer;
use crate::http::head::{RequestHead, ResponseHead};

/// What the proxy asks about each exchange, and tells it. Implemented by the pipeline, and by tests in memory.
pub trait Exchanges {
    type Origin: AsyncRead + AsyncWrite + Unpin;
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
    /// Before the first byte of the response reaches the client. `Some` is sent instead of it.
    fn response(&self, request: &RequestHead, response: &ResponseHead) -> Option<Answer>;
    /// What is taken out of a request before it is sent on.
    fn adapt_request(&self, _: &mut RequestHead) {}
    /// What is taken out of a response, interim ones included, before it is judged and sent on.
    fn adapt_response(&self, _: &mut ResponseHead) {}
    /// What `peer` sent in an exchange was refused, and its connection goes on. `request`: the exchange's, where it was
    /// read.
    fn refused(&self, _peer: Peer, _request: Option<&RequestHead>) {}
    /// Payload bytes moved: to the origin, to the client.
    fn moved(&self, to_origin: u64, to_client: u64);
}
