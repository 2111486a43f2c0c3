//! Host names as certificates and SNI carry them: lower case, no trailing dot, checked once at this border.

use std::net::IpAddr;

use rustls_pki_types::DnsName;

/// Why a text is not the host name of a leaf certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameFault {
    /// An IP address: the authority's constraints exclude every address.
    #[error("an address, not a name")]
    Address,
    /// Not a DNS name by RFC 1123 section 2.1 (underscores are let pass, as browsers do), or a wildcard.
    #[error("not a DNS name")]
    Malformed,
}

/// Brings a host name to the one spelling that caches and certificates use.
pub fn normalise(name: &str) -> Result<String, NameFault> {
    let bare = name.strip_suffix('.').unwrap_or(name);
    let address = bare.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(bare);
    if address.parse::<IpAddr>().is_ok() {
        return Err(NameFault::Address);
    }
    let name = bare.to_ascii_lowercase();
    if name.ends_with('.') || DnsName::try_from(name.as_str()).is_err() {
        return Err(NameFault::Malformed);
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_and_the_trailing_dot_go() {
        assert_eq!(normalise("Files.Corp.TEST.").as_deref(), Ok("files.corp.test"));
        assert_eq!(normalise("xn--bcher-kva.example").as_deref(), Ok("xn--bcher-kva.example"));
        assert_eq!(normalise("a_b.example").as_deref(), Ok("a_b.example"));
    }

    #[test]
    fn addresses_and_nonsense_are_named() {
        for address in ["192.0.2.1", "2001:db8::1", "[2001:db8::1]", "127.0.0.1."] {
            assert_eq!(normalise(address), Err(NameFault::Address), "{address}");
        }
        let long = format!("{}.test", "a".repeat(64));
        for bad in
            ["", ".", "..", "a..b", "*.corp.test", "a b", "a\0b", "bücher.example", "corp.test..", &long]
        {
            assert_eq!(normalise(bad), Err(NameFault::Malformed), "{bad:?}");
        }
    }
}
