//! The character rules that parsing and serialising share (RFC 9110 section 5.6, RFC 3986 section 3.2).

use std::net::Ipv6Addr;

use crate::http::head::split_port;

/// Longest host in a Host field: what DNS allows in text form (RFC 1035 section 2.3.4), with a trailing dot.
const MAX_HOST: usize = 254;

/// One or more token characters: field names and methods.
pub(super) fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|byte| is_token_char(*byte))
}

pub(super) const fn is_token_char(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}

/// Free of controls but TAB: what may stand in a field value or reason phrase without ending its line.
pub(super) fn is_field_text(text: &[u8]) -> bool {
    text.iter().all(|byte| matches!(byte, b'\t' | b' '..=0x7e | 0x80..))
}

/// Free of controls and spaces, and without a fragment, which never belongs on the wire.
pub(super) fn is_target(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| matches!(byte, b'!'..=0x7e | 0x80..) && byte != b'#')
}

/// A host name, IPv4 address or bracketed IPv6 address, with an optional port. Stricter than the URI grammar: no
/// percent-encoding, no user information, no empty port, no empty label but the last.
pub(super) fn is_authority(text: &str) -> bool {
    let (host, port) = split_port(text);
    is_host(host) && port.is_none_or(is_port)
}

fn is_host(host: &str) -> bool {
    if let Some(address) = host.strip_prefix('[') {
        return address.strip_suffix(']').is_some_and(|address| address.parse::<Ipv6Addr>().is_ok());
    }
    let name = host.strip_suffix('.').unwrap_or(host);
    host.len() <= MAX_HOST
        && name.split('.').all(|label| {
            !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        })
}

pub(super) fn is_port(port: &str) -> bool {
    port.len() <= 5 && port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok()
}
