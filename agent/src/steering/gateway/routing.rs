//! Where marked packets go: a rule for each inside interface and mark, and one table that calls every address local.
//!
//! Everything made here carries [`PROTOCOL`]; nothing else is ever removed. The rules name the interface, so that a mark
//! counts only for what came in there: answers of the agent that inherit the mark (net.ipv4.tcp_fwmark_accept) find their
//! way, and reverse path filters that look at marks (src_valid_mark) are not misled.

use std::io;
use std::sync::Arc;

use agent_common::abi::{GATEWAY_MARK_MASK, GATEWAY_MARK_REFUSE, GATEWAY_MARK_STEER};
use agent_common::limits::{INSIDE_INTERFACES, OUTSIDE_INTERFACES};
use anyhow::{Context, Result};

use super::netlink::{Body, CREATE, EXCLUSIVE, Netlink};

/// Who made a rule or a route (`proto` of ip(8)): a number that iproute2 gives to nobody.
const PROTOCOL: u8 = 80;
/// The table that calls every address local.
const TABLE: u32 = 20_547;
/// Before the tables of this host and of most programs that route by marks, behind the table of local addresses.
const PRIORITY: u32 = 90;
/// Interface `lo`, in every network namespace.
const LOOPBACK: u32 = 1;

const NEW_ROUTE: u16 = 24;
const DELETE_ROUTE: u16 = 25;
const NEW_RULE: u16 = 32;
const DELETE_RULE: u16 = 33;
// linux/fib_rules.h
const RULE_INTERFACE: u16 = 3;
const RULE_PRIORITY: u16 = 6;
const RULE_MARK: u16 = 10;
const RULE_TABLE: u16 = 15;
const RULE_MASK: u16 = 16;
const RULE_PROTOCOL: u16 = 21;
const TO_TABLE: u8 = 1;
const PROHIBIT: u8 = 8;
// linux/rtnetlink.h
const ROUTE_INTERFACE: u16 = 4;
const ROUTE_TABLE: u16 = 15;
const LOCAL: u8 = 2;
const SCOPE_HOST: u8 = 254;

const FAMILIES: [u8; 2] = [libc::AF_INET as u8, libc::AF_INET6 as u8];
/// Rules of a crashed agent that are looked for: as many as one can have made, and the one that is not there.
const LEFTOVERS: usize = 2 * INSIDE_INTERFACES as usize + OUTSIDE_INTERFACES + 1;

/// The rules and routes in force. Dropping it removes them, unless they still serve an earlier agent's programs.
#[derive(Debug)]
pub(super) struct Routing {
    shared: bool,
}

impl Routing {
    /// Makes rules and routes in both families, as far as the kernel has them. What an earlier agent left is removed
    /// before, but where its programs still rely on it (`shared`): then it is taken over.
    pub(super) fn install(interfaces: &[Arc<str>], shared: bool) -> Result<Self> {
        if !shared {
            remove().context("removing an earlier agent's routing rules")?;
        }
        let routing = Self { shared };
        let mut netlink = Netlink::open().context("opening a netlink socket")?;
        for family in FAMILIES {
            match existing(netlink.ask(NEW_ROUTE, CREATE | EXCLUSIVE, &route(family), |_| ())) {
                Err(error) if family == libc::AF_INET6 as u8 && has_no_ipv6(&error) => {
                    tracing::warn!("this kernel has no IPv6: only IPv4 is steered");
                    continue;
                }
                result => result.context("making a local route (needs CAP_NET_ADMIN)")?,
            }
            for interface in interfaces {
                for body in [steer(family, interface), refuse(family, interface)] {
                    existing(netlink.ask(NEW_RULE, CREATE | EXCLUSIVE, &body, |_| ()))
                        .with_context(|| format!("making a routing rule for {interface}"))?;
                }
            }
        }
        Ok(routing)
    }

    /// From here on nobody else relies on them.
    pub(super) fn settle(&mut self) {
        self.shared = false;
    }
}

/// Has marked packets that come in on an interface delivered here, in both families.
pub(super) fn add_steered(netlink: &mut Netlink, interface: &str) -> io::Result<()> {
    for family in FAMILIES {
        match existing(netlink.ask(NEW_RULE, CREATE | EXCLUSIVE, &steer(family, interface), |_| ())) {
            Err(error) if family == libc::AF_INET6 as u8 && has_no_ipv6(&error) => {}
            result => result?,
        }
    }
    Ok(())
}

/// Takes that back.
pub(super) fn remove_steered(netlink: &mut Netlink, interface: &str) {
    for family in FAMILIES {
        if let Err(error) = removed(netlink.ask(DELETE_RULE, 0, &steer(family, interface), |_| ())) {
            tracing::warn!(interface, "a routing rule could not be removed: {error}");
        }
    }
}

impl Drop for Routing {
    fn drop(&mut self) {
        if self.shared {
            return;
        }
        if let Err(error) = remove() {
            tracing::warn!("routing rules could not be removed: {error}");
        }
    }
}

/// Removes every rule and route that an agent made, in both families.
pub(super) fn remove() -> io::Result<bool> {
    let mut any = false;
    let mut netlink = Netlink::open()?;
    for family in FAMILIES {
        // A request to delete names what must be equal; the interface is left open.
        for action in [TO_TABLE, PROHIBIT] {
            let rule = any_rule(family, action);
            for _ in 0..LEFTOVERS {
                if !removed(netlink.ask(DELETE_RULE, 0, &rule, |_| ()))? {
                    break;
                }
                any = true;
            }
        }
        any |= removed(netlink.ask(DELETE_ROUTE, 0, &route(family), |_| ()))?;
    }
    Ok(any)
}

/// What is there already is as good as made.
fn existing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        result => result,
    }
}

/// Whether there was something to remove.
fn removed(result: io::Result<()>) -> io::Result<bool> {
    match result {
        Ok(()) => Ok(true),
        Err(error) if is_absent(&error) || has_no_ipv6(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESRCH | libc::ENODEV))
}

fn has_no_ipv6(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EOPNOTSUPP))
}

fn steer(family: u8, interface: &str) -> Body {
    marked(family, TO_TABLE, GATEWAY_MARK_STEER).text(RULE_INTERFACE, interface).number(RULE_TABLE, TABLE)
}

fn refuse(family: u8, interface: &str) -> Body {
    marked(family, PROHIBIT, GATEWAY_MARK_REFUSE).text(RULE_INTERFACE, interface)
}

fn any_rule(family: u8, action: u8) -> Body {
    let mark = if action == TO_TABLE { GATEWAY_MARK_STEER } else { GATEWAY_MARK_REFUSE };
    marked(family, action, mark)
}

/// struct fib_rule_hdr and what all our rules have.
fn marked(family: u8, action: u8, mark: u32) -> Body {
    Body::new(&[family, 0, 0, 0, 0, 0, 0, action, 0, 0, 0, 0])
        .number(RULE_PRIORITY, PRIORITY)
        .number(RULE_MARK, mark)
        .number(RULE_MASK, GATEWAY_MARK_MASK)
        .attribute(RULE_PROTOCOL, &[PROTOCOL])
}

/// `local default dev lo`: struct rtmsg with its attributes.
fn route(family: u8) -> Body {
    Body::new(&[family, 0, 0, 0, 0, PROTOCOL, SCOPE_HOST, LOCAL, 0, 0, 0, 0])
        .number(ROUTE_INTERFACE, LOOPBACK)
        .number(ROUTE_TABLE, TABLE)
}
