//! The lab: network namespaces, a cgroup, real servers and clients for tests and the demo.
//!
//! ```text
//!  namespace pcHOST<id>                     namespace pcORIG<id>
//!  ┌──────────────────────────┐  veth pc0   ┌─────────────────────────────┐
//!  │ clients, agent           ├─────────────┤ nginx (TLS), dnsmasq        │
//!  │ 198.18.0.2  fd18::2      │             │ 198.18.0.1 …  fd18::1 …     │
//!  └──────────────────────────┘             └─────────────────────────────┘
//!    cgroup pcHOST<id>/{clients,agent}        cgroup pcORIG<id>
//! ```
//! Everything has an owner that removes it on drop, also after a failure; what a killed run left is swept up by the
//! next one. Names carry the id of the process that made them, so several labs stand side by side.

pub mod agent;
pub mod attachment;
pub mod bpf;
pub mod browser;
mod cgroup;
pub mod client;
pub mod gateway;
pub mod interrupt;
mod lab;
mod netns;
mod origin;
pub mod pins;
mod pki;
mod process;
pub mod prometheus;
mod sweep;
pub mod syslog;
pub mod wait;

pub use cgroup::root as cgroup_root;
pub use lab::{Lab, NOBODY, address_of};
pub use origin::{OLD_SITE, OWN_SITE, RESOLVER};
pub use pki::ORIGIN_CA_NAME;
pub use process::{Daemon, Finished, Place, run, signal};

/// Whether this process may make namespaces, cgroups and kernel programs at all.
#[allow(unsafe_code, reason = "asks the kernel for a number")]
pub fn is_root() -> bool {
    // SAFETY: geteuid takes nothing, always succeeds.
    unsafe { libc::geteuid() == 0 }
}
