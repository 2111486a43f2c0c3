//! Where the proxy lets a client go: nowhere that only this host can reach, for others, and never to itself.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::proxy::refused::address_towards;

/// Why an address is not dialled. The words are for the client's user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Barred {
    NoHost,
    Ourselves,
    ThisHost,
    LinkLocal,
}

impl Barred {
    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::NoHost => "that is not the address of a host",
            Self::Ourselves => "that is the proxy itself",
            Self::ThisHost => "addresses of the proxy's own host are not for other hosts",
            Self::LinkLocal => "link-local addresses are not for other hosts",
        }
    }
}

/// Who asks, and where the proxy itself listens.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asker {
    /// The client runs on this host: it can go there by itself.
    pub on_this_host: bool,
    pub listener_port: u16,
}

/// Asks the kernel's routes which addresses are this host's.
pub(super) fn check(to: SocketAddr, asker: Asker) -> Result<(), Barred> {
    judge(to, asker, |ip| address_towards(SocketAddr::new(ip, to.port())) == Some(ip))
}

fn judge(to: SocketAddr, asker: Asker, is_own: impl Fn(IpAddr) -> bool) -> Result<(), Barred> {
    let ip = to.ip().to_canonical();
    if ip.is_unspecified() || ip.is_multicast() || is_no_host(ip) || to.port() == 0 {
        return Err(Barred::NoHost);
    }
    if is_link_local(ip) {
        return if asker.on_this_host { Ok(()) } else { Err(Barred::LinkLocal) };
    }
    if ip.is_loopback() || is_own(ip) {
        if to.port() == asker.listener_port {
            return Err(Barred::Ourselves);
        }
        return if asker.on_this_host { Ok(()) } else { Err(Barred::ThisHost) };
    }
    Ok(())
}

fn is_no_host(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => v4 == Ipv4Addr::BROADCAST || v4.octets()[0] == 0 || v4.octets()[0] >= 240,
        IpAddr::V6(_) => false,
    }
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local() || is_embedded_local(v6),
    }
}

/// Forms of IPv6 that gateways turn into IPv4 addresses of the near: `::a.b.c.d`, `64:ff9b::127.0.0.1`.
fn is_embedded_local(v6: Ipv6Addr) -> bool {
    let [a, b, c, d, e, f, g, h] = v6.segments();
    let prefixed = [a, b, c, d, e, f] == [0x64, 0xff9b, 0, 0, 0, 0];
    let compatible = [a, b, c, d, e, f] == [0; 6] && !v6.is_loopback();
    let v4 = Ipv4Addr::from(u32::from(g) << 16 | u32::from(h));
    (prefixed || compatible) && (v4.is_loopback() || v4.is_link_local() || v4.is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "198.51.100.7";

    fn asked(to: &str, on_this_host: bool) -> Result<(), Barred> {
        let asker = Asker { on_this_host, listener_port: 3128 };
        judge(to.parse().unwrap(), asker, |ip| ip == OWN.parse::<IpAddr>().unwrap())
    }

    #[test]
    fn other_hosts_reach_nothing_through_us_that_is_near_only_to_us() {
        for to in ["192.0.2.1:443", "10.0.0.1:22", "[2001:db8::1]:443", "[fd00::1]:80"] {
            assert_eq!(asked(to, false), Ok(()), "{to}");
        }
        for to in ["127.0.0.1:443", "127.9.9.9:80", "[::1]:443", "[::ffff:127.0.0.1]:443", "198.51.100.7:22"]
        {
            assert_eq!(asked(to, false), Err(Barred::ThisHost), "{to}");
            assert_eq!(asked(to, true), Ok(()), "{to}");
        }
        for to in
            ["169.254.169.254:80", "[fe80::1]:80", "[64:ff9b::7f00:1]:80", "[::ffff:169.254.169.254]:80"]
        {
            assert_eq!(asked(to, false), Err(Barred::LinkLocal), "{to}");
        }
    }

    #[test]
    fn nobody_reaches_the_proxy_through_itself_or_what_is_no_host() {
        for to in ["127.0.0.1:3128", "[::1]:3128", "198.51.100.7:3128"] {
            assert_eq!(asked(to, true), Err(Barred::Ourselves), "{to}");
        }
        for to in
            ["0.0.0.0:3128", "[::]:443", "224.0.0.1:443", "255.255.255.255:80", "[ff02::1]:80", "192.0.2.1:0"]
        {
            assert_eq!(asked(to, true), Err(Barred::NoHost), "{to}");
        }
    }
}
