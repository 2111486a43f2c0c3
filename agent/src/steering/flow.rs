//! Per worker: the record of an accepted connection, and the mark on the agent's own sockets.

use std::fmt;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;

use agent_common::abi::{Flow, FlowKey, OWN_CONNECTION, OWN_LISTENER};
use anyhow::Result;
use aya::maps::{HashMap, Map, MapData, MapError, SkStorage};

/// Records of steered connections, written by the kernel before the SYN.
pub struct Flows {
    map: HashMap<MapData, FlowKey, Flow>,
}

/// Why an accepted connection has no record. There is no fallback: such a connection is dropped.
#[derive(Debug)]
pub enum FlowMiss {
    /// Nobody steered it: something connected to the listener by itself.
    NotSteered,
    Kernel(MapError),
}

impl fmt::Display for FlowMiss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FlowMiss::NotSteered => f.write_str("the kernel did not steer this connection"),
            FlowMiss::Kernel(error) => write!(f, "reading the flow record: {error}"),
        }
    }
}

impl Flows {
    pub(super) fn new(data: MapData) -> Result<Self> {
        Ok(Self { map: HashMap::try_from(Map::LruHashMap(data))? })
    }

    /// Takes the record of the connection that `client` made to the listener's `port`. A record serves once, so a
    /// later connection from the same port cannot borrow it.
    pub fn take(&mut self, client: SocketAddr, port: u16) -> Result<Flow, FlowMiss> {
        let key = FlowKey::new(client, port);
        let flow = self.map.get(&key, 0).map_err(|error| match error {
            MapError::KeyNotFound => FlowMiss::NotSteered,
            error => FlowMiss::Kernel(error),
        })?;
        self.map.remove(&key).map_err(FlowMiss::Kernel)?;
        Ok(flow)
    }
}

/// Marks sockets as the agent's own, so that the kernel leaves their connections alone.
pub struct OwnSockets {
    map: SkStorage<MapData, u32>,
}

impl OwnSockets {
    pub(super) fn new(data: MapData) -> Result<Self> {
        Ok(Self { map: SkStorage::try_from(Map::SkStorage(data))? })
    }

    /// To be called before connect().
    pub fn mark(&mut self, socket: &impl AsRawFd) -> Result<(), MapError> {
        self.map.insert(socket, OWN_CONNECTION, 0)
    }

    /// Says that steered connections are accepted on this listening socket. None is steered to another.
    pub fn mark_listener(&mut self, socket: &impl AsRawFd) -> Result<(), MapError> {
        self.map.insert(socket, OWN_LISTENER, 0)
    }
}
