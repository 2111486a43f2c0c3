//! The DNS answer parser against a second one, written straight from RFC 1035 and 9460 without a thought for a verifier.

use std::net::IpAddr;

use agent_common::abi::Address;
use agent_common::dns::{self, Answers, NameBuffer, Skip};
use agent_common::domain::DomainKey;
use agent_common::limits;

/// What the parser handed out.
#[derive(Default)]
struct Told {
    key: Vec<u8>,
    addresses: Vec<(IpAddr, u32)>,
}

impl Answers for Told {
    fn question(&mut self, name: &NameBuffer) -> bool {
        let key = name.key();
        self.key = key.bytes[..key.bits as usize / 8].to_vec();
        true
    }

    fn address(&mut self, address: Address, ttl: u32) {
        self.addresses.push((address.to_ip(), ttl));
    }
}

/// `data` is a message. The addresses and the name are those that the second reader finds: none from outside the records
/// of the answer section, none left out, none with another record's TTL.
pub fn fuzz_dns_answer(data: &[u8]) {
    // The kernel reads no longer ones.
    if data.len() >= limits::DNS_MESSAGE {
        return;
    }
    let mut told = Told::default();
    let result = dns::parse(data, &mut NameBuffer::new(), &mut told);
    let Some(second) = read(data) else {
        assert!(matches!(result, Err(Skip::NotAnAnswer | Skip::Malformed)), "{result:?}");
        assert!(told.addresses.is_empty() && told.key.is_empty());
        return;
    };
    assert_eq!(result, Ok(()));
    assert_eq!(told.addresses, second.addresses);
    // Labels may hold any octet (RFC 2181 section 11); only of host names a key can be made elsewhere.
    if second.labels.iter().flatten().all(|octet| !matches!(octet, 0 | b'.')) {
        let name = second.labels.join(&b"."[..]);
        assert_eq!(DomainKey::name(&name).map(|key| key.as_bytes().to_vec()), Some(told.key));
    }
}

/// A message as it was read the second time.
struct Read {
    labels: Vec<Vec<u8>>,
    addresses: Vec<(IpAddr, u32)>,
}

/// `None` when it is no answer, or its question cannot be read.
fn read(data: &[u8]) -> Option<Read> {
    let mut message = Cursor { data, at: 12 };
    let header = data.get(..12)?;
    let (is_response, code) = (header[2] >> 7 == 1, header[3] & 15);
    let (questions, answers) =
        (u16::from_be_bytes([header[4], header[5]]), u16::from_be_bytes([header[6], header[7]]));
    if !is_response || code != 0 || questions != 1 || answers == 0 {
        return None;
    }
    let mut labels = Vec::new();
    loop {
        match message.take(1)?[0] {
            0 => break,
            length @ 1..=63 => labels.push(message.take(length.into())?.to_vec()),
            _ => return None,
        }
    }
    // 255 octets with all lengths and the root (RFC 1035 section 2.3.4).
    if labels.is_empty() || labels.iter().map(|label| label.len() + 1).sum::<usize>() > 254 {
        return None;
    }
    let mut found = Read { labels, addresses: Vec::new() };
    let _cut = message.take(4).and_then(|_| records(&mut message, answers.into(), &mut found.addresses));
    Some(found)
}

/// Adds the addresses of the records until the section ends or one cannot be read.
fn records(message: &mut Cursor<'_>, count: usize, found: &mut Vec<(IpAddr, u32)>) -> Option<()> {
    let mut hints = None;
    for _ in 0..count.min(limits::DNS_RECORDS) {
        let Some((kind, ttl, content)) = record(message) else { break };
        // With the topmost bit set it is zero (RFC 2181 section 8).
        let ttl = if ttl > i32::MAX as u32 { 0 } else { ttl };
        match (kind, content.len()) {
            (1, 4) => found.push((ip(content)?, ttl)),
            (28, 16) => found.push((ip(content)?, ttl)),
            (65, 4..) => hints = Some((content, ttl)),
            _ => {}
        }
    }
    let (content, ttl) = hints?;
    let mut service = Cursor { data: content, at: 2 };
    service.name()?;
    for _ in 0..limits::HTTPS_PARAMS {
        let (key, size) = (service.number()?, service.number()?);
        let whole = service.at + usize::from(size) <= content.len();
        let value = service.take_up_to(size.into());
        let step = match key {
            4 => 4,
            6 => 16,
            _ if whole => continue,
            _ => return None,
        };
        // The addresses of a list that is cut short are still addresses of this record.
        for hint in value.chunks_exact(step).take(limits::HTTPS_HINT_ADDRESSES) {
            found.push((ip(hint)?, ttl));
        }
        if !whole {
            return None;
        }
    }
    Some(())
}

fn record<'a>(message: &mut Cursor<'a>) -> Option<(u16, u32, &'a [u8])> {
    message.name()?;
    let (kind, _class) = (message.number()?, message.number()?);
    let ttl = u32::from(message.number()?) << 16 | u32::from(message.number()?);
    let size = message.number()?;
    Some((kind, ttl, message.take(size.into())?))
}

/// IPv4-mapped addresses are IPv4, as everywhere.
fn ip(octets: &[u8]) -> Option<IpAddr> {
    match octets.len() {
        4 => <[u8; 4]>::try_from(octets).ok().map(IpAddr::from),
        _ => <[u8; 16]>::try_from(octets).ok().map(|octets| IpAddr::from(octets).to_canonical()),
    }
}

struct Cursor<'a> {
    data: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let taken = self.data.get(self.at..self.at + count)?;
        self.at += count;
        Some(taken)
    }

    fn take_up_to(&mut self, count: usize) -> &'a [u8] {
        let end = (self.at + count).min(self.data.len());
        let taken = self.data.get(self.at..end).unwrap_or_default();
        self.at = end;
        taken
    }

    fn number(&mut self) -> Option<u16> {
        self.take(2).map(|octets| u16::from_be_bytes([octets[0], octets[1]]))
    }

    /// Goes past a name that may end in a pointer (RFC 1035 section 4.1.4).
    fn name(&mut self) -> Option<()> {
        for _ in 0..limits::DNS_OWNER_LABELS {
            match self.take(1)?[0] {
                0 => return Some(()),
                0xc0.. => return self.take(1).map(|_| ()),
                // The kinds 01 and 10 are no lengths (RFC 1035 section 4.1.4); taken for such, they name no address.
                length => self.take(length.into())?,
            };
        }
        None
    }
}
