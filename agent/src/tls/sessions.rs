//! Whose TLS sessions belong together: they are resumed within one owner and one server name, never across.

use std::net::IpAddr;
use std::time::Duration;

/// Sessions kept of one owner with one name, on each side: a browser's parallel connections, and one to spare.
pub(super) const SESSIONS: usize = 8;
/// Longest that sessions with an origin are kept. A resumption does not verify the origin again, so nobody goes by a
/// verification that is older.
pub(super) const LIFE: Duration = Duration::from_secs(600);

/// Who resumes its own sessions and nobody else's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SessionOwner {
    /// A user of this host.
    User(u32),
    /// A host behind the gateway, or one that uses the proxy.
    Host(IpAddr),
}

/// Owner, name and protocols as one key; the parts with their lengths in front, so that no two lists read alike.
pub(super) fn key<'a>(owner: SessionOwner, name: &str, alpn: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut key = Vec::with_capacity(name.len() + 48);
    match owner {
        SessionOwner::User(uid) => {
            key.push(0);
            key.extend(uid.to_be_bytes());
        }
        SessionOwner::Host(IpAddr::V4(v4)) => {
            key.push(4);
            key.extend(v4.octets());
        }
        SessionOwner::Host(IpAddr::V6(v6)) => {
            key.push(6);
            key.extend(v6.octets());
        }
    }
    let mut part = |part: &[u8]| {
        key.extend_from_slice(&part.len().to_be_bytes());
        key.extend_from_slice(part);
    };
    part(name.to_ascii_lowercase().as_bytes());
    alpn.into_iter().for_each(part);
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_owners_names_or_lists_read_alike() {
        let hosts = ["10.0.0.1", "::1", "::a00:1"].map(|text| SessionOwner::Host(text.parse().unwrap()));
        let owners = hosts.into_iter().chain([0, 1, 0x0a00_0001].map(SessionOwner::User));
        let mut keys = std::collections::HashSet::new();
        let lists: [&[&[u8]]; 4] = [&[], &[b"b", b"c"], &[b"bc"], &[b"b"]];
        for owner in owners {
            for name in ["a", "ab"] {
                for list in lists {
                    assert!(keys.insert(key(owner, name, list.iter().copied())), "{owner:?} {name} {list:?}");
                }
            }
        }
        assert_eq!(
            key(SessionOwner::User(1), "A.test", [&b"h2"[..]]),
            key(SessionOwner::User(1), "a.test", [&b"h2"[..]])
        );
    }
}
