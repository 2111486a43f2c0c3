//! Hosts that an exchange names beside its own: where a request came from, where a response or a sign-in leads.
//!
//! All of it is what a client or an origin claims. It says which sites stand near an app, and proves nothing.

use std::net::IpAddr;

use crate::http::head::{RequestHead, ResponseHead};

/// Longest host name (RFC 1035 section 2.3.4).
const MAX_NAME: usize = 253;
/// Query parameters looked at in one request.
const MAX_PARAMETERS: usize = 64;
/// Where a sign-in returns to: OAuth 2.0 (RFC 6749 section 4.1.1) and WS-Federation.
const RETURN_PARAMETERS: [&str; 2] = ["redirect_uri", "wreply"];

/// How a host came to be named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Via {
    /// A page of that host made the request: `Referer` or `Origin`.
    Referrer,
    /// The response sends the client there: `Location`.
    Redirect,
    /// The sign-in that was asked for returns there.
    SignIn,
}

impl Via {
    pub const ALL: [Self; 3] = [Self::Referrer, Self::Redirect, Self::SignIn];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Referrer => "referrer",
            Self::Redirect => "redirect",
            Self::SignIn => "sign-in",
        }
    }
}

/// Calls `found` with each host name, lower case, that the exchange names and that is not `own`.
pub fn related_hosts(
    request: &RequestHead,
    response: &ResponseHead,
    own: &str,
    mut found: impl FnMut(Via, &str),
) {
    let mut look = |via, url: &[u8]| {
        if let Some(host) = host_of(url)
            && host != own
        {
            found(via, &host);
        }
    };
    let fields = request.fields();
    // One page names itself in both; it is one sighting.
    if let Some(url) = fields.get("referer").or_else(|| fields.get("origin")) {
        look(Via::Referrer, url);
    }
    if (300..400).contains(&response.status())
        && let Some(url) = response.fields().get("location")
    {
        look(Via::Redirect, url);
    }
    for parameter in request.query().unwrap_or_default().split('&').take(MAX_PARAMETERS) {
        if let Some((name, value)) = parameter.split_once('=')
            && RETURN_PARAMETERS.contains(&name)
        {
            look(Via::SignIn, &percent_decoded(value));
        }
    }
}

/// The host of an absolute http(s) URL as the catalog knows names; `None` for addresses and for what is no name.
fn host_of(url: &[u8]) -> Option<String> {
    let (scheme, rest) = url.split_at_checked(url.iter().position(|byte| *byte == b':')?)?;
    if !scheme.eq_ignore_ascii_case(b"https") && !scheme.eq_ignore_ascii_case(b"http") {
        return None;
    }
    let rest = rest.strip_prefix(b"://")?;
    let authority = rest.split(|byte| b"/?#\\".contains(byte)).next()?;
    let host = authority.rsplit(|byte| *byte == b'@').next()?;
    let host = host.split(|byte| *byte == b':').next()?;
    let host = host.strip_suffix(b".").unwrap_or(host);
    let plain = host.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(byte));
    let dotted = host.split(|byte| *byte == b'.').all(|label| !label.is_empty() && label.len() < 64);
    if !plain || !dotted || host.len() > MAX_NAME || !host.contains(&b'.') {
        return None;
    }
    let host = std::str::from_utf8(host).ok()?.to_ascii_lowercase();
    host.parse::<IpAddr>().is_err().then_some(host)
}

/// As much of a query value as the host of a URL needs. A broken escape stays as it is.
fn percent_decoded(value: &str) -> Vec<u8> {
    /// A scheme, user information that nobody needs, a host and a port.
    const ENOUGH: usize = 1024;
    let mut decoded = Vec::new();
    let mut bytes = value.bytes().take(ENOUGH);
    while let Some(byte) = bytes.next() {
        let mut ahead = bytes.clone();
        let hex = |byte: u8| char::from(byte).to_digit(16);
        match (byte, ahead.next().and_then(hex), ahead.next().and_then(hex)) {
            (b'%', Some(high), Some(low)) => {
                decoded.push((high * 16 + low) as u8);
                bytes = ahead;
            }
            _ => decoded.push(byte),
        }
    }
    decoded
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::head::Version;

    #[track_caller]
    fn check(url: &str, expected: Option<&str>) {
        assert_eq!(host_of(url.as_bytes()).as_deref(), expected, "{url}");
    }

    #[test]
    fn a_host_is_taken_from_absolute_urls_only() {
        check("https://Portal.Example.COM/x?y=https://evil.test", Some("portal.example.com"));
        check("http://a.test:8080", Some("a.test"));
        check("https://a.test.#x", Some("a.test"));
        check("https://user:pw@b.test/", Some("b.test"));
        check("https://a.test\\@b.test/", Some("a.test"));
        for url in ["/relative", "//a.test/", "null", "https:a.test", "ftp://a.test/", "https://localhost/"] {
            check(url, None);
        }
        for url in ["https://192.0.2.1/", "https://[2001:db8::1]/", "https://a..test/", "https://ä.test/", ""]
        {
            check(url, None);
        }
        check(&format!("https://{}.test/", "a".repeat(64)), None);
        check(&format!("https://{}test/", "a.".repeat(200)), None);
    }

    #[test]
    fn referrer_redirect_and_sign_in_are_told_apart_and_the_own_host_is_none() {
        let request = RequestHead::new(
            "GET",
            "/authorize?client_id=1&redirect_uri=https%3A%2F%2Fcrm.example%2Fcallback&redirect_uri=%ZZ",
            Version::Http11,
        )
        .with("Referer", "https://portal.example/start")
        .with("Origin", "https://portal.example");
        let response = ResponseHead::new(302, Version::Http11).with("Location", "https://login.test/next");
        let mut found = Vec::new();
        related_hosts(&request, &response, "login.test", |via, host| found.push((via, host.to_owned())));
        assert_eq!(
            found,
            [(Via::Referrer, "portal.example".to_owned()), (Via::SignIn, "crm.example".to_owned())]
        );
        let response = ResponseHead::new(200, Version::Http11).with("Location", "https://elsewhere.test/");
        let plain = RequestHead::new("GET", "/", Version::Http11);
        related_hosts(&plain, &response, "login.test", |via, host| panic!("{via:?} {host}: no redirect"));
    }

    #[test]
    fn every_prefix_of_a_url_is_read_without_harm() {
        let url = b"https://user:pw@[b.test:443/x%";
        for end in 0..url.len() {
            let _ = host_of(&url[..end]);
            let _ = percent_decoded(std::str::from_utf8(&url[..end]).unwrap());
        }
    }
}
