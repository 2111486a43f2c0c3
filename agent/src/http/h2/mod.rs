//! HTTP/2 (RFC 9113) between one client and one origin: frames relayed with their stream numbers and flow-control
//! windows, heads decoded, judged and written anew. No I/O, no clock: bytes and the time come in, bytes and events go out.
//!
//! [`relay::Relay`] is the way in. [`hpack`] reads and writes header blocks, [`frame`] frames, [`message`] makes field
//! lists the heads that HTTP/1.1 has too.

mod emit;
pub mod frame;
pub mod fuzz;
pub mod hpack;
mod limits;
pub mod message;
mod refusal;
pub mod relay;

pub use limits::Limits;
pub use refusal::{ErrorCode, Refusal};
pub use relay::{ConnectionError, Event, Outcome, Relay, Side, Step};

#[cfg(test)]
mod tests;
