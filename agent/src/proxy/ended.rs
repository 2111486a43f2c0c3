//! How an inspected connection can end, in words and kinds.

use std::fmt;

use crate::http::h1::{Peer, Refusal};
use crate::http::h2;
use crate::proxy::relay::Relayed;

/// How an inspected connection ended. Each has a stable name for the log.
#[derive(Debug)]
pub enum Ended {
    /// The client closed between two requests, or asked to close.
    Done,
    /// The client was idle for too long.
    Idle,
    ClientBroken,
    /// A request head did not arrive in time.
    SlowRequest,
    /// A request body came too slowly.
    SlowBody,
    /// What a peer sent could not be read safely.
    Refused(Peer, Refusal),
    /// A peer broke the rules of HTTP/2 for the whole connection.
    Violated(Peer, h2::Refusal),
    OriginBroken(&'static str),
    Stalled,
    /// The client took too little of what waited for it.
    Unread,
    /// The connection was upgraded and both sides have ended.
    Upgraded(Relayed),
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ended::Done => f.write_str("done"),
            Ended::Idle => f.write_str("the client was idle"),
            Ended::ClientBroken => f.write_str("the client's connection broke"),
            Ended::SlowRequest => f.write_str("the request head did not arrive in time"),
            Ended::Refused(Peer::Client, refusal) => write!(f, "the request was refused: {refusal}"),
            Ended::Refused(Peer::Origin, refusal) => write!(f, "the response was refused: {refusal}"),
            Ended::Violated(Peer::Client, refusal) => {
                write!(f, "the client's connection was refused: {refusal}")
            }
            Ended::Violated(Peer::Origin, refusal) => {
                write!(f, "the origin's connection was refused: {refusal}")
            }
            Ended::OriginBroken(why) => write!(f, "the origin failed: {why}"),
            Ended::SlowBody => f.write_str("the request body came too slowly"),
            Ended::Unread => f.write_str("the client took too little of what waited for it"),
            Ended::Stalled => f.write_str("nothing moved for too long"),
            Ended::Upgraded(relayed) => {
                write!(f, "upgraded ({} bytes up, {} down)", relayed.to_origin, relayed.to_client)
            }
        }
    }
}
