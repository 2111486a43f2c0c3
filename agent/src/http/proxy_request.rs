//! What a client asks of a forward proxy: a tunnel to an authority, or a request in absolute form (RFC 9112 section 3.2).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::head::{RequestHead, absolute, split_port};

/// Where to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority {
    pub host: Host,
    /// Never 0.
    pub port: u16,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// Lower case, no trailing dot.
    Name(String),
    /// A literal; IPv4-mapped ones as IPv4.
    Address(IpAddr),
}

/// The wish of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    /// CONNECT: bytes both ways.
    Tunnel(Authority),
    /// A request in clear text, to be sent on.
    Forward(Authority),
}

/// Why a request is none for a proxy. The words are for its user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotForUs {
    /// Origin form: the client took the proxy for a server.
    OriginForm,
    /// `https://` in absolute form: the client would have the proxy see what it encrypts.
    Scheme,
    /// No port, port 0, or no host.
    Authority,
}

impl fmt::Display for NotForUs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OriginForm => "this is a proxy: send CONNECT host:port, or a request for http://host/path",
            Self::Scheme => "send CONNECT host:port for anything but http://",
            Self::Authority => "name a host, and a port from 1 to 65535",
        })
    }
}

/// Reads the wish of a head that was parsed for a proxy: its authority has no user information and no odd characters.
pub fn wish(head: &RequestHead) -> Result<Wish, NotForUs> {
    let target = head.target();
    if head.method() == "CONNECT" {
        return authority(target, None).map(Wish::Tunnel);
    }
    let (of, _) = absolute(target).ok_or(NotForUs::OriginForm)?;
    if !target.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("http://")) {
        return Err(NotForUs::Scheme);
    }
    authority(of, Some(80)).map(Wish::Forward)
}

fn authority(text: &str, default: Option<u16>) -> Result<Authority, NotForUs> {
    let (host, port) = split_port(text);
    let port = match port {
        Some(port) => port.parse().ok(),
        None => default,
    };
    let port = port.filter(|port| *port != 0).ok_or(NotForUs::Authority)?;
    let host = match host.strip_prefix('[') {
        Some(address) => {
            let address = address.strip_suffix(']').and_then(|address| address.parse::<Ipv6Addr>().ok());
            Host::Address(IpAddr::V6(address.ok_or(NotForUs::Authority)?).to_canonical())
        }
        None => {
            let name = host.strip_suffix('.').unwrap_or(host);
            match name.parse::<Ipv4Addr>() {
                Ok(address) => Host::Address(address.into()),
                Err(_) if name.is_empty() => return Err(NotForUs::Authority),
                Err(_) => Host::Name(name.to_ascii_lowercase()),
            }
        }
    };
    Ok(Authority { host, port })
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(address) => address.fmt(f),
        }
    }
}

/// Fields between a client and its proxy, which no origin is to see (RFC 9110 section 11.7, RFC 9112 appendix C.2.2).
pub const FOR_THE_PROXY: [&str; 3] = ["proxy-authorization", "proxy-connection", "proxy-authenticate"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::h1::{Limits, Parsed, RequestReader, Target};

    fn read(text: &str) -> Option<Result<Wish, NotForUs>> {
        match RequestReader::new(Target::Proxy).read(text.as_bytes(), &Limits::default()) {
            Parsed::Complete(head, _) => Some(wish(&head)),
            Parsed::Refused(_) => None,
            Parsed::More => panic!("{text:?} is not whole"),
        }
    }

    fn tunnel(host: Host, port: u16) -> Option<Result<Wish, NotForUs>> {
        Some(Ok(Wish::Tunnel(Authority { host, port })))
    }

    fn name(text: &str) -> Host {
        Host::Name(text.to_owned())
    }

    #[test]
    fn tunnels() {
        let connect = |target: &str| read(&format!("CONNECT {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert_eq!(connect("Files.Corp.Test.:443"), tunnel(name("files.corp.test"), 443));
        assert_eq!(
            connect("[2001:db8::1]:8443"),
            tunnel(Host::Address("2001:db8::1".parse().unwrap()), 8443)
        );
        assert_eq!(connect("[::ffff:192.0.2.1]:1"), tunnel(Host::Address("192.0.2.1".parse().unwrap()), 1));
        assert_eq!(connect("192.0.2.1:443"), tunnel(Host::Address("192.0.2.1".parse().unwrap()), 443));
        assert_eq!(connect("a:0"), Some(Err(NotForUs::Authority)));
        // What the codec refuses already: no port, user information, a path, odd characters.
        for refused in [
            "a",
            "a:",
            "a:65536",
            "u@a:443",
            "u:p@a:443",
            "http://a:443",
            "a:443/",
            "[::1:443",
            "a%2e:443",
            ":443",
            "a b:443",
        ] {
            assert_eq!(connect(refused), None, "{refused}");
        }
    }

    #[test]
    fn requests_in_absolute_form() {
        let get = |target: &str, host: &str| read(&format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        let forward = |host, port| Some(Ok(Wish::Forward(Authority { host, port })));
        assert_eq!(get("http://A.test/x?y", "a.test"), forward(name("a.test"), 80));
        assert_eq!(get("HTTP://a.test:8080", "a.test:8080"), forward(name("a.test"), 8080));
        assert_eq!(get("/x", "a.test"), Some(Err(NotForUs::OriginForm)));
        assert_eq!(get("https://a.test/", "a.test"), Some(Err(NotForUs::Scheme)));
        assert_eq!(get("http://a.test:0/", "a.test:0"), Some(Err(NotForUs::Authority)));
        assert_eq!(get("ftp://a.test/", "a.test"), None);
        // Host and target differ (RFC 9112 section 3.2.2: the target counts; two readers may not know that).
        assert_eq!(get("http://a.test/", "b.test"), None);
        assert_eq!(get("http://u@a.test/", "a.test"), None);
    }
}
