//! The strict HTTP/1.1 codec (RFC 9112): bytes in; heads, body extents and canonical bytes out. No I/O, no clock.
//!
//! Parsers accept shapes on which two implementations can disagree: a bare LF, two lengths, a length beside a transfer
//! coding. Between two parties such a message is an attack, or is treated like one. So the codec takes one reading only
//! ([`head`]), decides the extent of the body itself ([`framing`], [`chunked`]), and what leaves ([`serialise`]) is written
//! anew from the model that was judged.
//!
//! Every parser has three answers: complete, need more, refused with a [`Refusal`].

pub mod body;
pub mod chunked;
pub mod connection;
pub mod framing;
pub mod fuzz;
pub mod head;
mod limits;
mod refusal;
mod scan;
pub mod serialise;
mod start_line;
pub(super) mod syntax;
pub mod trailer;

pub use body::{Body, Piece};
pub use framing::{Framing, request_body, response_body};
pub use head::{RequestReader, ResponseReader, Target, parse_request_head, parse_response_head};
pub use limits::{Limits, MAX_FIELDS};
pub use refusal::{Peer, Refusal};
pub use serialise::{Emit, write_request, write_response};

/// What a parser says about the bytes it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parsed<T> {
    /// A whole value, and how many bytes from the start of the input it took.
    Complete(T, usize),
    /// Well-formed so far; ask again with the same bytes and more behind them.
    More,
    Refused(Refusal),
}

#[cfg(test)]
mod tests;
