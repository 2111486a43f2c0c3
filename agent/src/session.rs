//! Who talks to what, from which process and device: the facts a decision may look at. Plain data, no look-ups.

use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::addr::{ClientAddr, LocationAddr, OriginalDst};
use crate::catalog::App;

/// The user that owns the connecting socket. `name` is absent when the uid has no entry in NSS.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct User {
    pub uid: Option<u32>,
    pub name: Option<Arc<str>>,
    /// Group names: from NSS and from `[identity] groups`, without duplicates.
    pub groups: Vec<Arc<str>>,
}

/// The process that called connect(). Unknown parts are absent, never invented.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Process {
    pub pid: Option<u32>,
    /// Absolute path of the executable.
    pub exe: Option<Arc<str>>,
    pub name: Option<Arc<str>>,
    /// Path of the cgroup below the cgroup root, for example `/system.slice/cron.service`.
    pub cgroup: Option<Arc<str>>,
    /// The systemd unit it runs in, and the container (`runtime://id`), as the cgroup's path names them.
    pub unit: Option<Arc<str>>,
    pub container: Option<Arc<str>>,
}

impl Process {
    /// Whether there is one on this host at all: behind a gateway the client's process is another host's.
    pub const fn is_known(&self) -> bool {
        self.pid.is_some()
    }
}

/// A browser or any other program, as policies distinguish them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ClientKind {
    Browser,
    Native,
}

impl ClientKind {
    pub const fn name(self) -> &'static str {
        match self {
            ClientKind::Browser => "browser",
            ClientKind::Native => "native",
        }
    }
}

/// State of the device at one moment. Unknown or stale state is `compliant: false` with the reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Stable id (machine-id derived) or an inventory id.
    pub id: Arc<str>,
    pub compliant: bool,
    /// Why: "reported by /run/mdm/compliance.json", "file missing", "expired at …".
    pub reason: Arc<str>,
    pub tags: Vec<Arc<str>>,
    pub os: Arc<str>,
}

/// Everything known about one connection to a monitored app. Made when the app is known, shared by its exchanges.
#[derive(Debug, Clone)]
pub struct Session {
    pub app: Arc<App>,
    pub user: Arc<User>,
    pub process: Arc<Process>,
    /// By the process. Where that is not known each request says it anew, and this is what a silent client is.
    pub kind: ClientKind,
    pub client: ClientAddr,
    /// The client is on another host: a gateway's, or one that uses the explicit proxy.
    pub remote: bool,
    pub location: LocationAddr,
    pub original_dst: OriginalDst,
    /// Host name of the app as SNI or Host said it: lower case, no trailing dot.
    pub server_name: Arc<str>,
}

/// Whom something is remembered of from one connection to the next: a user of this host, or another host behind a gateway
/// or at the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Whom {
    User(u32),
    Host(IpAddr),
}

impl Whom {
    /// By the uid where it is known, else by the client's address.
    pub fn new(uid: Option<u32>, client: ClientAddr) -> Self {
        uid.map_or_else(|| Self::Host(client.0.ip().to_canonical()), Self::User)
    }
}

impl Session {
    pub fn whom(&self) -> Whom {
        Whom::new(self.user.uid, self.client)
    }
}
