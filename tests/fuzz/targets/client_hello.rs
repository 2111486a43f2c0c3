//! The ClientHello against two other readers: one written straight from RFC 8446, and rustls.

use agent_common::client_hello::{self, Hello, Outcome, Span};
use agent_common::limits;
use rustls::server::Acceptor;

/// Largest fragment of a record (RFC 8446 section 5.1).
const FRAGMENT: usize = 1 << 14;

/// `data` is a handshake message. What is found lies inside of it, is what the other readers find, and every prefix of
/// a hello that is found needs more.
///
/// The kernel and the agent choose by this name whether a connection is decrypted, so a reader that finds another name,
/// or finds one where this one sees none, would be a way around the policies. To refuse what another accepts is allowed.
pub fn fuzz_client_hello(data: &[u8]) {
    let outcome = client_hello::parse(data);
    let name = match outcome {
        Outcome::Found(hello) => {
            check_found(data, &hello);
            Some(span(data, hello.server_name))
        }
        Outcome::NeedMore => {
            assert!(data.len() < limits::HELLO_BYTES, "more than the largest hello would be read");
            None
        }
        Outcome::NotHello => None,
    };
    if let Some((theirs, alpn)) = accepted(data) {
        let Some(ours) = name else {
            // rustls needs no more than these bytes, so asking for more would hang the client.
            assert_eq!(outcome, Outcome::NotHello, "asks for more than a whole hello");
            return;
        };
        let Outcome::Found(hello) = outcome else { return };
        match theirs {
            Some(theirs) => {
                let ours = ours.expect("rustls finds a name where there is said to be none");
                assert!(same_name(ours, theirs.as_bytes()), "{ours:?} is not {theirs:?}");
            }
            // An address is no server name to rustls (RFC 6066 section 3 forbids it); the agent refuses it later.
            None => assert!(ours.is_none_or(is_address), "a name that rustls does not find"),
        }
        let protocols: Vec<&[u8]> =
            span(data, hello.alpn).into_iter().flat_map(client_hello::protocols).collect();
        assert_eq!(protocols, alpn, "other protocols than rustls");
    }
}

fn check_found(data: &[u8], hello: &Hello) {
    let message = 4 + usize::from(data[1]) * 65536 + usize::from(data[2]) * 256 + usize::from(data[3]);
    assert!(message <= data.len() && message <= limits::HELLO_BYTES);
    for found in [hello.server_name, hello.alpn].into_iter().flatten() {
        assert!(found.length > 0 && found.at + found.length <= message, "{found:?} of {message}");
    }
    assert_eq!(
        second_opinion(&data[4..message]),
        Some((span(data, hello.server_name), span(data, hello.alpn), hello.encrypted))
    );
    for cut in (0..message).rev().take(64).chain(0..message.min(64)) {
        assert_eq!(client_hello::parse(&data[..cut]), Outcome::NeedMore, "cut at {cut}");
    }
    // What follows the message is not the parser's to judge.
    assert_eq!(client_hello::parse(&data[..message]), Outcome::Found(*hello));
}

fn span(data: &[u8], span: Option<Span>) -> Option<&[u8]> {
    span.map(|span| &data[span.at..span.at + span.length])
}

type Opinion<'a> = (Option<&'a [u8]>, Option<&'a [u8]>, bool);

/// Name, protocol list and ECH of a ClientHello's body, by taking vectors off its front.
fn second_opinion(body: &[u8]) -> Option<Opinion<'_>> {
    let rest = body.get(34..)?;
    let (_session, rest) = vector::<1>(rest)?;
    let (_ciphers, rest) = vector::<2>(rest)?;
    let (_compressions, rest) = vector::<1>(rest)?;
    let mut opinion = (None, None, false);
    if rest.is_empty() {
        return Some(opinion);
    }
    let (mut extensions, rest) = vector::<2>(rest)?;
    if !rest.is_empty() {
        return None;
    }
    while !extensions.is_empty() {
        let (kind, rest) = extensions.split_first_chunk::<2>()?;
        let (content, rest) = vector::<2>(rest)?;
        extensions = rest;
        match u16::from_be_bytes(*kind) {
            0 => {
                let (list, rest) = vector::<2>(content)?;
                let (name, more) = vector::<2>(list.strip_prefix(&[0])?)?;
                if !rest.is_empty() || !more.is_empty() || opinion.0.replace(name).is_some() {
                    return None;
                }
            }
            16 => {
                let (list, rest) = vector::<2>(content)?;
                if !rest.is_empty() || opinion.1.replace(list).is_some() {
                    return None;
                }
            }
            0xfe0d => opinion.2 = true,
            _ => {}
        }
    }
    Some(opinion)
}

/// A vector with its length in `N` octets in front, and what follows it.
fn vector<const N: usize>(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = data.split_first_chunk::<N>()?;
    let length = length.iter().fold(0, |length, octet| length << 8 | usize::from(*octet));
    rest.split_at_checked(length)
}

/// Name and protocols, when rustls takes `message` for a whole hello.
fn accepted(message: &[u8]) -> Option<(Option<String>, Vec<Vec<u8>>)> {
    let mut wire = Vec::new();
    for fragment in message.chunks(FRAGMENT) {
        wire.extend([22, 3, 1]);
        wire.extend((fragment.len() as u16).to_be_bytes());
        wire.extend(fragment);
    }
    let mut acceptor = Acceptor::default();
    let mut wire = wire.as_slice();
    while !wire.is_empty() {
        // An error here is an alert's cause, or a full buffer: not a hello it would take.
        if acceptor.read_tls(&mut wire).ok()? == 0 {
            return None;
        }
        if let Some(accepted) = acceptor.accept().ok()? {
            let hello = accepted.client_hello();
            let alpn = hello.alpn().map(|list| list.map(<[u8]>::to_vec).collect()).unwrap_or_default();
            return Some((hello.server_name().map(str::to_owned), alpn));
        }
    }
    None
}

/// Host names match in any case; a closing dot says the same name.
fn same_name(ours: &[u8], theirs: &[u8]) -> bool {
    ours.eq_ignore_ascii_case(theirs)
        || ours.strip_suffix(b".").is_some_and(|ours| ours.eq_ignore_ascii_case(theirs))
}

fn is_address(name: &[u8]) -> bool {
    std::str::from_utf8(name).is_ok_and(|name| name.parse::<std::net::IpAddr>().is_ok())
}
