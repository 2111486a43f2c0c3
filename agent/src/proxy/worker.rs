//! What a worker has at hand for its connections, and a connection as it was accepted.

use std::cell::RefCell;
use std::sync::Arc;

use agent_common::abi::Flow;
use arc_swap::ArcSwap;
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::dial::{Dialer, Ready};
use super::explicit::AskedFor;
use super::led::Led;
use super::notices::Notices;
use super::share::Shares;
use crate::addr::{ClientAddr, OriginalDst};
use crate::config::Limits;
use crate::identity::Identity;
use crate::inventory;
use crate::posture;
use crate::posture::inventory::Inventories;
use crate::record::Recorder;
use crate::reload;
use crate::session::{Device, Session};
use crate::steering::{Arrivals, Learned, Peeked};
use crate::tls::{ClientSide, KernelSealing, OriginConnector, PeekDeadlines, SessionOwner};

/// What all workers share. Everything in it is read without a lock that another core holds.
pub struct Shared {
    pub snapshot: reload::Current,
    pub device: posture::Current,
    pub checked: posture::Results,
    pub inventory: Inventories,
    pub identity: Identity,
    pub clients: ClientSide,
    pub origins: ArcSwap<OriginConnector>,
    pub recorder: Recorder,
    pub peek: PeekDeadlines,
    pub led: Led,
    pub notices: Notices,
    pub kernel_sealing: Arc<KernelSealing>,
}

impl Shared {
    /// The bounds of a connection that begins now. A reload changes those of later ones.
    pub fn limits(&self) -> Arc<Limits> {
        self.snapshot.load().config.limits.clone()
    }

    /// Who is offered to seal what a connection sends that begins now.
    pub fn kernel_sealing(&self) -> Option<&Arc<KernelSealing>> {
        self.snapshot.load().config.tls.kernel.then_some(&self.kernel_sealing)
    }

    /// The device that a session comes from, as it is now: this one, or what the inventory has for another host's address.
    /// What this device is says nothing about another.
    pub fn device_of(&self, session: &Session) -> DeviceNow {
        if !session.remote {
            return DeviceNow::Own(self.device.load());
        }
        DeviceNow::Other(match &*self.inventory.load() {
            Some(inventory) => inventory.device(session.client.0.ip()),
            None => inventory::device_without_inventory(),
        })
    }
}

/// A device's state at one moment.
pub enum DeviceNow {
    Own(arc_swap::Guard<Arc<Device>>),
    Other(Arc<Device>),
}

impl std::ops::Deref for DeviceNow {
    type Target = Device;

    fn deref(&self) -> &Device {
        match self {
            Self::Own(device) => device,
            Self::Other(device) => device,
        }
    }
}

/// One worker thread's own things.
pub struct Worker {
    pub shared: Arc<Shared>,
    /// Where accepted connections were going; absent where the kernel steers nothing and clients ask a proxy.
    pub arrivals: Option<RefCell<Arrivals>>,
    /// Which apps an address was learned for; absent where the kernel steers nothing.
    pub learned: Option<Learned>,
    /// Where nobody monitored was found; absent where the kernel steers nothing.
    pub peeked: Option<RefCell<Peeked>>,
    pub dialer: Dialer,
    pub shares: Shares,
    /// Turns true when the agent is about to end.
    pub stop: watch::Receiver<bool>,
}

impl Worker {
    /// Resolves when the agent is about to end.
    pub fn stopping(&self) -> impl Future<Output = ()> + use<> {
        let mut stop = self.stop.clone();
        async move {
            // A sender that is gone is a stop, too.
            let _ = stop.wait_for(|stop| *stop).await;
        }
    }

    /// Remembers that a connection that began with `words` is for nobody monitored.
    pub(super) fn note_unmonitored(&self, owner: Option<&Flow>, words: &[u8]) {
        if let (Some(peeked), Some(flow)) = (&self.peeked, owner) {
            peeked.borrow_mut().note(flow, words);
        }
    }
}

/// A steered connection as it was accepted.
pub struct Accepted {
    pub stream: TcpStream,
    pub client: ClientAddr,
    pub original_dst: OriginalDst,
    /// No DNS answer explains the address: it was steered to be looked at.
    pub unexplained: bool,
    /// Who made it, where the kernel knows: a gateway sees other hosts' connections.
    pub owner: Option<Flow>,
    /// A connection to the origin, where one was made already.
    pub ready: Ready,
    /// How long its first bytes may take.
    pub peek: PeekDeadlines,
    /// What the client told the proxy, where it uses one.
    pub asked: Option<AskedFor>,
}

impl Accepted {
    /// Whose TLS sessions this connection may resume.
    pub(super) fn session_owner(&self) -> SessionOwner {
        let uid = match (&self.asked, &self.owner) {
            (Some(asked), _) => asked.owner.map(|owner| owner.uid),
            (None, owner) => owner.as_ref().map(|flow| flow.uid),
        };
        uid.map_or(SessionOwner::Host(self.client.0.ip().to_canonical()), SessionOwner::User)
    }
}
