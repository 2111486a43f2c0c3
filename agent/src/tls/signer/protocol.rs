//! The packets between agent and signer (SOCK_SEQPACKET: one packet is one message). Both sides read hostile input.
//!
//! ```text
//!  ask     version, kind, issuer (32 octets: SHA-256 of the issuing certificate), length of the key (2), key, name
//!  answer  version, kind, end of the leaf (8: seconds since 1970), certificate
//! ```

use std::time::{Duration, SystemTime};

/// Changes with the layout; the two ends may be of different versions while a package is upgraded.
const VERSION: u8 = 1;
/// Largest packet in either direction. A leaf for the longest name is below 1 KiB.
pub(super) const PACKET_MAX: usize = 4096;
/// Largest SubjectPublicKeyInfo that is read; that of a P-256 key has 91 octets.
const KEY_MAX: usize = 512;
/// Longest name in DNS, as text (RFC 1035 section 2.3.4).
const NAME_MAX: usize = 253;
const FINGERPRINT: usize = 32;

const PING: u8 = 0;
const SIGN: u8 = 1;

/// What the agent asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask<'a> {
    /// Is anybody there, with this issuing certificate's key?
    Ping { issuer: [u8; FINGERPRINT] },
    /// A leaf for exactly `name`, for `key` (DER of SubjectPublicKeyInfo).
    Sign { issuer: [u8; FINGERPRINT], key: &'a [u8], name: &'a str },
}

/// Why there is no leaf.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denial {
    #[error("it does not understand the question; are both of the same version?")]
    Malformed,
    #[error("it does not hold the key of this authority; restart it")]
    OtherIssuer,
    #[error("the name is outside the authority's constraints")]
    NotPermitted,
    #[error("the authority has expired")]
    Expired,
    #[error("more names in a short time than it signs")]
    TooMany,
    #[error("signing failed")]
    Failed,
}

/// What the signer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reply<'a> {
    Ready,
    Leaf { not_after: SystemTime, certificate: &'a [u8] },
    Denied(Denial),
}

const READY: u8 = 0;
const LEAF: u8 = 1;
/// Denials by their number on the wire.
const DENIALS: [(u8, Denial); 6] = [
    (16, Denial::Malformed),
    (17, Denial::OtherIssuer),
    (18, Denial::NotPermitted),
    (19, Denial::Expired),
    (20, Denial::TooMany),
    (21, Denial::Failed),
];

impl<'a> Ask<'a> {
    pub(super) fn write(&self) -> Vec<u8> {
        let mut packet = vec![VERSION];
        match self {
            Self::Ping { issuer } => {
                packet.push(PING);
                packet.extend_from_slice(issuer);
            }
            Self::Sign { issuer, key, name } => {
                packet.push(SIGN);
                packet.extend_from_slice(issuer);
                packet.extend_from_slice(&u16::try_from(key.len()).unwrap_or(u16::MAX).to_be_bytes());
                packet.extend_from_slice(key);
                packet.extend_from_slice(name.as_bytes());
            }
        }
        packet
    }

    /// Nothing when the packet is not one of ours.
    pub(super) fn read(packet: &'a [u8]) -> Option<Self> {
        let (&[version, kind], rest) = packet.split_first_chunk::<2>()?;
        let (issuer, rest) = rest.split_first_chunk::<FINGERPRINT>()?;
        match (version, kind) {
            (VERSION, PING) if rest.is_empty() => Some(Self::Ping { issuer: *issuer }),
            (VERSION, SIGN) => {
                let (length, rest) = rest.split_first_chunk::<2>()?;
                let length = usize::from(u16::from_be_bytes(*length));
                if length > KEY_MAX {
                    return None;
                }
                let (key, name) = rest.split_at_checked(length)?;
                let name = std::str::from_utf8(name).ok().filter(|name| name.len() <= NAME_MAX)?;
                Some(Self::Sign { issuer: *issuer, key, name })
            }
            _ => None,
        }
    }
}

impl<'a> Reply<'a> {
    pub(super) fn write(&self) -> Vec<u8> {
        let mut packet = vec![VERSION];
        match self {
            Self::Ready => packet.push(READY),
            Self::Leaf { not_after, certificate } => {
                let seconds = not_after.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
                packet.push(LEAF);
                packet.extend_from_slice(&seconds.to_be_bytes());
                packet.extend_from_slice(certificate);
            }
            Self::Denied(denial) => {
                packet.extend(DENIALS.iter().find(|(_, own)| own == denial).map(|(number, _)| *number));
            }
        }
        packet
    }

    pub(super) fn read(packet: &'a [u8]) -> Option<Self> {
        let (&[version, kind], rest) = packet.split_first_chunk::<2>()?;
        if version != VERSION {
            return None;
        }
        match kind {
            READY if rest.is_empty() => Some(Self::Ready),
            LEAF => {
                let (seconds, certificate) = rest.split_first_chunk::<8>()?;
                let since = Duration::from_secs(u64::from_be_bytes(*seconds));
                let not_after = SystemTime::UNIX_EPOCH.checked_add(since)?;
                Some(Self::Leaf { not_after, certificate })
            }
            _ => {
                let (_, denial) = DENIALS.iter().find(|(number, _)| *number == kind)?;
                rest.is_empty().then_some(Self::Denied(*denial))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_no_part_of_it_is() {
        let issuer = [7; FINGERPRINT];
        let asks = [
            Ask::Ping { issuer },
            Ask::Sign { issuer, key: b"a key", name: "files.corp.test" },
            Ask::Sign { issuer, key: &[9; KEY_MAX], name: &"a".repeat(NAME_MAX) },
        ];
        for ask in asks {
            let packet = ask.write();
            assert!(packet.len() <= PACKET_MAX);
            assert_eq!(Ask::read(&packet), Some(ask));
            for end in 0..packet.len() {
                // A name that is cut is another name, and nothing else is.
                let part = Ask::read(&packet[..end]);
                assert!(matches!(part, None | Some(Ask::Sign { .. })), "{part:?}");
                assert_ne!(part, Some(ask));
            }
        }
        let not_after = SystemTime::UNIX_EPOCH + Duration::from_secs(1_900_000_000);
        let leaf = Reply::Leaf { not_after, certificate: b"DER" };
        let denials = DENIALS.map(|(_, denial)| Reply::Denied(denial));
        for reply in denials.into_iter().chain([Reply::Ready, leaf]) {
            let packet = reply.write();
            assert_eq!(Reply::read(&packet), Some(reply));
            for end in 0..packet.len().min(10) {
                assert_ne!(Reply::read(&packet[..end]), Some(reply));
            }
        }
    }

    #[test]
    fn packets_of_another_shape_are_none() {
        let issuer = [7; FINGERPRINT];
        let long_key = Ask::Sign { issuer, key: &[9; KEY_MAX + 1], name: "a.test" };
        let long_name = Ask::Sign { issuer, key: b"k", name: &"a".repeat(NAME_MAX + 1) };
        for packet in [long_key.write(), long_name.write(), vec![], vec![VERSION], vec![VERSION + 1; 60]] {
            assert_eq!(Ask::read(&packet), None);
        }
        let mut beyond = Ask::Sign { issuer, key: b"k", name: "a.test" }.write();
        beyond[2 + FINGERPRINT] = 1;
        assert_eq!(Ask::read(&beyond), None);
        let mut octets = Ask::Sign { issuer, key: b"k", name: "a.test" }.write();
        octets.push(0xff);
        assert_eq!(Ask::read(&octets), None);
        for packet in [&[][..], &[VERSION], &[VERSION, 99], &[VERSION, READY, 0], &[VERSION, LEAF, 0]] {
            assert_eq!(Reply::read(packet), None, "{packet:?}");
        }
        let mut far = vec![VERSION, LEAF];
        far.extend([0xff; 12]);
        assert_eq!(Reply::read(&far), None);
    }
}
