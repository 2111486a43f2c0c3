//! Address roles as types, so that a client's address is never taken for an origin's.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// Where the client's socket stands (as the agent's listener sees it).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClientAddr(pub SocketAddr);

/// Where the client wanted to go before the kernel steered it: the only address the agent ever dials for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct OriginalDst(pub SocketAddr);

/// The address by which named locations are decided: on a host, the local address that reaches the origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LocationAddr(pub IpAddr);

impl fmt::Display for ClientAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for OriginalDst {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
