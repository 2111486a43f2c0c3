//! A network namespace, removed on drop.

use std::fs::File;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::process::tool;

/// Owner of one named namespace.
#[derive(Debug)]
pub(crate) struct NetNs {
    name: String,
}

impl NetNs {
    pub(crate) fn create(name: String) -> Result<Self> {
        ip(&["netns", "add", &name])?;
        let created = Self { name };
        created.ip(&["link", "set", "lo", "up"])?;
        Ok(created)
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn path(&self) -> PathBuf {
        Path::new("/run/netns").join(&self.name)
    }

    /// `ip` inside this namespace. It changes only the namespace, never mounts (unlike `ip netns exec`).
    pub(crate) fn ip(&self, arguments: &[&str]) -> Result<()> {
        let mut all = vec!["-netns", &self.name];
        all.extend(arguments);
        ip(&all)
    }

    /// A pair of interfaces between this namespace and another.
    pub(crate) fn connect(&self, interface: &str, other: &NetNs, others: &str) -> Result<()> {
        self.ip(&["link", "add", interface, "type", "veth", "peer", "name", others, "netns", &other.name])?;
        self.ip(&["link", "set", interface, "up"])?;
        other.ip(&["link", "set", others, "up"])
    }

    /// Gives the interface addresses that are usable at once (no duplicate address detection).
    pub(crate) fn address(&self, interface: &str, cidrs: &[&str]) -> Result<()> {
        for cidr in cidrs {
            if cidr.contains(':') {
                self.ip(&["address", "add", cidr, "dev", interface, "nodad"])?;
            } else {
                self.ip(&["address", "add", cidr, "dev", interface])?;
            }
        }
        Ok(())
    }
}

impl Drop for NetNs {
    fn drop(&mut self) {
        if let Err(error) = ip(&["netns", "delete", &self.name]) {
            eprintln!("lab: {error:#}");
        }
    }
}

/// Runs `work` in a thread of its own that has entered the namespace.
#[allow(unsafe_code, reason = "the standard library has no namespaces")]
pub(crate) fn inside<T: Send>(namespace: &Path, work: impl FnOnce() -> T + Send) -> Result<T> {
    let file = File::open(namespace).with_context(|| format!("cannot open {}", namespace.display()))?;
    std::thread::scope(|scope| {
        let thread = scope.spawn(move || {
            // SAFETY: a valid descriptor of a namespace; only this thread, which ends right after, changes.
            if unsafe { libc::setns(file.as_raw_fd(), libc::CLONE_NEWNET) } != 0 {
                return Err(std::io::Error::last_os_error()).context("cannot enter the network namespace");
            }
            Ok(work())
        });
        match thread.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

pub(crate) fn ip(arguments: &[&str]) -> Result<()> {
    let output = tool("ip").args(arguments).output().context("cannot run ip (package iproute2)")?;
    if !output.status.success() {
        bail!("ip {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
