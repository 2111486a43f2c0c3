//! The settings of portcullis.toml as types that cannot be wrong, with their defaults.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::{Export, Limits};
use crate::catalog::HostPattern;
use crate::policy::Networks;

/// Most inside interfaces of a gateway: what the kernel's map of them holds.
pub const MAX_INTERFACES: usize = agent_common::limits::INSIDE_INTERFACES as usize;
/// Most ports that are looked at: the kernel compares them one by one.
pub const MAX_PORTS: usize = 8;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    pub steering: Steering,
    pub tls: Tls,
    pub device: Device,
    pub identity: Identity,
    /// Named locations.
    pub networks: Networks,
    pub content: Content,
    pub notice: Notice,
    /// Shared with the connections that began under them.
    pub limits: Arc<Limits>,
    pub activity: Activity,
    pub metrics: Metrics,
    pub console: Console,
    pub exports: Vec<Export>,
    pub paths: Paths,
}

/// `[steering]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Steering {
    pub mode: Mode,
    pub guard: Guard,
    /// TCP ports that are looked at: 1 to [`MAX_PORTS`], without duplicates.
    pub ports: Vec<u16>,
    pub quic: Quic,
    pub fail: Fail,
    /// Where the hooks attach; `None`: found by the agent.
    pub cgroup: Option<PathBuf>,
    /// The inside interfaces of a gateway: at most [`MAX_INTERFACES`].
    pub interfaces: Vec<Arc<str>>,
    pub dial: Dial,
    /// The agent's listener; in explicit mode the proxy's address.
    pub listen: SocketAddr,
    pub existing: Existing,
    /// Whether exact host names of selected apps are looked up ahead of any client.
    pub resolve: bool,
    /// Who may use the proxy of explicit mode, by address.
    pub clients: Vec<IpNet>,
}

impl Default for Steering {
    fn default() -> Self {
        Self {
            mode: Mode::Host,
            guard: Guard::Peek,
            ports: vec![443, 80],
            quic: Quic::Refuse,
            fail: Fail::Closed,
            cgroup: None,
            interfaces: Vec::new(),
            dial: Dial::Gateway,
            listen: local(0),
            existing: Existing::Close,
            resolve: true,
            clients: vec![
                IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8)),
                IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128)),
            ],
        }
    }
}

impl Steering {
    /// What a mode needs that is not set: the command line may override the mode after the file was checked.
    pub fn missing_for(&self, mode: Mode) -> Option<&'static str> {
        match mode {
            Mode::Gateway if self.interfaces.is_empty() => Some("gateway mode needs `steering.interfaces`"),
            Mode::Gateway | Mode::Host | Mode::Explicit => None,
        }
    }
}

/// How connections come to the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Cgroup hooks on this machine.
    Host,
    /// TC on interfaces.
    Gateway,
    /// CONNECT proxy, no privileges.
    Explicit,
}

impl Mode {
    /// As the settings write it.
    pub const fn name(self) -> &'static str {
        match self {
            Mode::Host => "host",
            Mode::Gateway => "gateway",
            Mode::Explicit => "explicit",
        }
    }
}

/// Whose address origins see of the connections that a gateway's agent makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dial {
    /// The gateway's own.
    Gateway,
    /// The client's.
    Client,
}

/// What happens with addresses that no DNS answer explains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Guard {
    /// Steered and peeked once.
    Peek,
    /// The kernel's net over first segments alone.
    Sni,
    /// Every connection to the ports is steered.
    All,
    Off,
}

/// UDP 443 to monitored addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Quic {
    Refuse,
    Pass,
}

/// Monitored apps while the agent is down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fail {
    Closed,
    Open,
}

/// Connections to monitored apps from before they could be steered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Existing {
    Close,
    /// Recorded, and left to go on.
    Report,
    Leave,
}

/// `[tls]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    pub upstream_roots: UpstreamRoots,
    /// Never decrypted. [`HostMap`](crate::catalog::HostMap) collects them for look-ups.
    pub bypass: Vec<HostPattern>,
    /// Names that stand outside an encrypted ClientHello and say only who the provider is: lower case, without
    /// duplicates.
    pub ech_public_names: Vec<String>,
    pub signer: SignerPlace,
    /// What inspected connections send is offered to the kernel to be sealed.
    pub kernel: bool,
}

/// Where the issuing key is, unless `run --signer` names a signer that runs already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum SignerPlace {
    /// In a process that the agent starts.
    #[default]
    Process,
    /// In the agent, which parses what comes from the network.
    InProcess,
}

/// The public names of providers that are known to publish ECH configurations.
const ECH_PUBLIC_NAMES: [&str; 1] = ["cloudflare-ech.com"];

impl Default for Tls {
    fn default() -> Self {
        Self {
            upstream_roots: UpstreamRoots::default(),
            bypass: Vec::new(),
            ech_public_names: ECH_PUBLIC_NAMES.map(str::to_owned).to_vec(),
            signer: SignerPlace::default(),
            kernel: false,
        }
    }
}

impl Tls {
    /// The public names as patterns: an authority has to vouch for them too.
    pub fn ech_patterns(&self) -> impl Iterator<Item = HostPattern> {
        self.ech_public_names.iter().map(|name| HostPattern::Exact(name.as_str().into()))
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum UpstreamRoots {
    #[default]
    System,
    /// A PEM file; absolute.
    File(PathBuf),
}

/// `[device]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    pub posture: Posture,
    /// For [`Posture::Checks`]: those that must pass.
    pub checks: Vec<Check>,
    /// For [`Posture::File`]; absolute.
    pub file: PathBuf,
    /// For [`Posture::Command`]: program (absolute) and arguments.
    pub command: Vec<Arc<str>>,
    /// How often the checks or the command run.
    pub every: Duration,
    /// How long one may run; not longer than `every`.
    pub deadline: Duration,
    pub tags: Vec<Arc<str>>,
}

impl Default for Device {
    fn default() -> Self {
        Self {
            posture: Posture::Checks,
            checks: Check::ALL.to_vec(),
            file: "/run/mdm/compliance.json".into(),
            command: Vec::new(),
            every: Duration::from_secs(60),
            deadline: Duration::from_secs(10),
            tags: Vec::new(),
        }
    }
}

/// Where the device's state comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Posture {
    Checks,
    File,
    Command,
}

/// A built-in check of the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Check {
    DiskEncryption,
    Firewall,
    OsVersion,
    SecurityUpdates,
    ScreenLock,
    SecureBoot,
}

impl Check {
    pub const ALL: [Self; 6] = [
        Self::DiskEncryption,
        Self::Firewall,
        Self::OsVersion,
        Self::SecurityUpdates,
        Self::ScreenLock,
        Self::SecureBoot,
    ];

    /// What it is called in `[device] checks` and in `status`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::DiskEncryption => "disk-encryption",
            Self::Firewall => "firewall",
            Self::OsVersion => "os-version",
            Self::SecurityUpdates => "security-updates",
            Self::ScreenLock => "screen-lock",
            Self::SecureBoot => "secure-boot",
        }
    }
}

/// `[identity]`
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// Groups beyond those of the host's user database: group to names of users.
    pub groups: BTreeMap<Arc<str>, Vec<Arc<str>>>,
    /// Devices and users by the address of a client on another host; absolute.
    pub inventory: Option<PathBuf>,
}

/// `[content]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// Octets of a body, as transferred, that are held and looked at where a rule asks for content.
    pub scan: usize,
}

impl Default for Content {
    fn default() -> Self {
        Self { scan: 1 << 20 }
    }
}

/// `[notice]`
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Notice {
    /// A page says that an app is monitored before the first page of the app.
    pub show: bool,
    /// What stands on it, `{app}` for the app's name. `None`: the standard text.
    pub text: Option<Arc<str>>,
}

/// `[activity]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Activity {
    pub retention: Duration,
    /// Bytes of the database beyond which the oldest records go, with a gap; `None`: as much as the disk has.
    pub max_size: Option<u64>,
    pub durability: Durability,
}

/// When the record of a download that is let pass has to be on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Durability {
    /// Within milliseconds; a power cut can take the last ones, a killed agent leaves their number.
    #[default]
    Normal,
    /// Before the first byte of the body reaches the client.
    Strict,
}

impl Default for Activity {
    fn default() -> Self {
        Self {
            retention: Duration::from_secs(90 * 86_400),
            max_size: None,
            durability: Durability::default(),
        }
    }
}

/// `[metrics]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metrics {
    pub listen: SocketAddr,
}

impl Default for Metrics {
    fn default() -> Self {
        Self { listen: local(9464) }
    }
}

impl Metrics {
    /// Whether it would want the port that another listener wants. Port 0 is any free one.
    pub fn meets(&self, other: SocketAddr) -> bool {
        let (a, b) = (self.listen.ip(), other.ip());
        self.listen.port() == other.port()
            && other.port() != 0
            && (a == b || a.is_unspecified() || b.is_unspecified())
    }
}

/// `[console]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Console {
    /// A loopback address: pages and the cookie that opens them travel in clear text. `None`: there is no console.
    pub listen: Option<SocketAddr>,
}

impl Default for Console {
    fn default() -> Self {
        Self { listen: Some(local(9465)) }
    }
}

/// `[paths]`, absolute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    pub state: PathBuf,
    pub run: PathBuf,
    /// On a BPF file system: where the kernel keeps programs and maps while no agent runs.
    pub pins: PathBuf,
}

impl Default for Paths {
    fn default() -> Self {
        Self {
            state: "/var/lib/portcullis".into(),
            run: "/run/portcullis".into(),
            pins: "/sys/fs/bpf/portcullis".into(),
        }
    }
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}
