//! Where an accepted connection was going, by the way it came: a record of the host's hooks, or the address of the
//! gateway's transparent socket.

use std::net::SocketAddr;

use agent_common::abi::Flow;

use super::flow::{FlowMiss, Flows};
use super::gateway::Destinations;

/// A steered connection.
#[derive(Debug, Clone, Copy)]
pub struct Arrival {
    pub original_dst: SocketAddr,
    /// No DNS answer explains the address: it was steered to be looked at.
    pub unexplained: bool,
    /// Who made it. `None` for what was forwarded: the client is another host.
    pub owner: Option<Flow>,
}

/// One worker's way to learn about accepted connections.
pub enum Arrivals {
    Host(Flows),
    Gateway(Destinations),
}

impl Arrivals {
    /// About the connection from `client` that was accepted on the listener's `port`, and whose own address is `local`.
    ///
    /// # Errors
    /// Nobody steered it, or the kernel cannot be asked. It must be dropped then.
    pub fn take(&mut self, client: SocketAddr, local: SocketAddr, port: u16) -> Result<Arrival, FlowMiss> {
        match self {
            Arrivals::Host(flows) => {
                let flow = flows.take(client, port)?;
                Ok(Arrival {
                    original_dst: flow.original_dst(),
                    unexplained: flow.is_unexplained(),
                    owner: Some(flow),
                })
            }
            Arrivals::Gateway(destinations) => {
                let (original_dst, unexplained) = destinations.of(local)?;
                Ok(Arrival { original_dst, unexplained, owner: None })
            }
        }
    }
}
