//! The inventory: which device and user stand behind the address of a client on another host. Read from JSON, asked by
//! address. No I/O, no clock.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use ipnet::IpNet;
use jiff::Timestamp;
use serde::Deserialize;

use crate::session::{Device, User};

/// Largest file that is read, and most networks in it.
pub const MAX_BYTES: u64 = 16 << 20;
pub const MAX_NETWORKS: usize = 65_536;

/// One inventory as it counts at one moment.
#[derive(Debug, Default)]
pub struct Inventory {
    clients: Vec<Client>,
    /// Index of the client by network, and the prefix lengths that occur, longest first.
    networks: HashMap<IpNet, usize>,
    lengths: Vec<(bool, u8)>,
    /// When the next entry expires.
    expires: Option<Timestamp>,
    /// Why there is nothing in it.
    fault: Option<Arc<str>>,
}

/// Who is behind an address.
#[derive(Debug)]
struct Client {
    device: Arc<Device>,
    user: Option<Arc<User>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    clients: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    addresses: Vec<String>,
    #[serde(default)]
    device: Option<DeviceEntry>,
    #[serde(default)]
    user: Option<UserEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DeviceEntry {
    id: String,
    compliant: bool,
    #[serde(default)]
    reason: Option<String>,
    #[serde(default)]
    tags: Vec<String>,
    #[serde(default)]
    os: Option<String>,
    #[serde(default)]
    expires: Option<Timestamp>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UserEntry {
    name: String,
    #[serde(default)]
    groups: Vec<String>,
}

impl Inventory {
    /// Reads `{"clients":[{"addresses":["10.0.0.7","fd00::/64"],"device":{"id","compliant","reason"?,"tags"?,"os"?,
    /// "expires"?}?,"user":{"name","groups"?}?}]}` as it counts at `now`. The longest network that holds an address decides.
    ///
    /// # Errors
    ///
    /// What is wrong, in words, when it is not that or when two entries claim the same network.
    pub fn parse(bytes: &[u8], now: Timestamp) -> Result<Self, String> {
        let file: File = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        let mut inventory = Self::default();
        for (index, entry) in file.clients.into_iter().enumerate() {
            for text in &entry.addresses {
                let network = network(text)
                    .ok_or_else(|| format!("client {index}: no address or network: {text:.60?}"))?;
                if inventory.networks.len() >= MAX_NETWORKS {
                    return Err(format!("more than {MAX_NETWORKS} networks"));
                }
                if inventory.networks.insert(network, index).is_some() {
                    return Err(format!("client {index}: {network} stands in the inventory twice"));
                }
            }
            let expires = entry.device.as_ref().and_then(|device| device.expires);
            if let Some(at) = expires.filter(|at| *at > now) {
                inventory.expires = Some(inventory.expires.map_or(at, |first| first.min(at)));
            }
            inventory.clients.push(Client { device: device(entry.device, now), user: entry.user.map(user) });
        }
        inventory.lengths = inventory.networks.keys().map(shape).collect();
        inventory.lengths.sort_unstable_by(|a, b| b.cmp(a));
        inventory.lengths.dedup();
        Ok(inventory)
    }

    /// One that knows nobody, and says why.
    pub fn unreadable(why: impl Into<Arc<str>>) -> Self {
        Self { fault: Some(why.into()), ..Self::default() }
    }

    /// Why it could not be read.
    pub fn fault(&self) -> Option<&str> {
        self.fault.as_deref()
    }

    /// Number of networks and addresses.
    pub fn len(&self) -> usize {
        self.networks.len()
    }

    pub fn is_empty(&self) -> bool {
        self.networks.is_empty()
    }

    /// Whether an entry has expired since it was read.
    pub fn is_outdated(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|at| at <= now)
    }

    /// The device behind an address; one that nobody knows is not compliant.
    pub fn device(&self, address: IpAddr) -> Arc<Device> {
        match self.client(address) {
            Some(client) => client.device.clone(),
            None => Arc::new(unknown(match &self.fault {
                Some(fault) => format!("the inventory cannot be read: {fault}"),
                None => format!("{} is not in the inventory", address.to_canonical()),
            })),
        }
    }

    /// The user behind an address, where the inventory names one.
    pub fn user(&self, address: IpAddr) -> Option<Arc<User>> {
        self.client(address)?.user.clone()
    }

    fn client(&self, address: IpAddr) -> Option<&Client> {
        let address = address.to_canonical();
        let lengths = self.lengths.iter().filter(|(v6, _)| *v6 == address.is_ipv6());
        lengths
            .filter_map(|(_, length)| IpNet::new(address, *length).ok())
            .find_map(|network| self.clients.get(*self.networks.get(&network.trunc())?))
    }
}

fn shape(network: &IpNet) -> (bool, u8) {
    (network.addr().is_ipv6(), network.prefix_len())
}

/// A network in its plain form, or a single address.
fn network(text: &str) -> Option<IpNet> {
    let network = text
        .parse::<IpNet>()
        .or_else(|_| text.parse::<IpAddr>().map(|ip| IpNet::from(ip.to_canonical())))
        .ok()?;
    let mapped = matches!(network.addr(), IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some());
    (!mapped && network == network.trunc()).then_some(network)
}

fn device(entry: Option<DeviceEntry>, now: Timestamp) -> Arc<Device> {
    let Some(entry) = entry else {
        return Arc::new(unknown("the inventory names no device for this address".to_owned()));
    };
    let said = entry.reason.unwrap_or_else(|| "by the inventory".to_owned());
    let (compliant, reason) = match entry.expires {
        Some(at) if at <= now => {
            (false, format!("its entry in the inventory expired at {at} (it said: {said})"))
        }
        _ => (entry.compliant, said),
    };
    let mut tags: Vec<Arc<str>> = Vec::with_capacity(entry.tags.len());
    for tag in entry.tags {
        if !tags.iter().any(|known| **known == *tag) {
            tags.push(tag.into());
        }
    }
    let os = entry.os.unwrap_or_else(|| "unknown".to_owned());
    Arc::new(Device { id: entry.id.into(), compliant, reason: reason.into(), tags, os: os.into() })
}

fn unknown(reason: String) -> Device {
    Device {
        id: "unknown".into(),
        compliant: false,
        reason: reason.into(),
        tags: Vec::new(),
        os: "unknown".into(),
    }
}

/// The device of a client on another host where there is no inventory at all: nothing is known of it.
pub fn device_without_inventory() -> Arc<Device> {
    static NOBODY: LazyLock<Arc<Device>> = LazyLock::new(|| {
        Arc::new(unknown("there is no [identity] inventory that knows the client".to_owned()))
    });
    NOBODY.clone()
}

fn user(entry: UserEntry) -> Arc<User> {
    let mut groups: Vec<Arc<str>> = entry.groups.into_iter().map(Arc::from).collect();
    groups.sort_unstable();
    groups.dedup();
    Arc::new(User { uid: None, name: Some(entry.name.into()), groups })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-01-01T12:00:00Z".parse().unwrap()
    }

    fn read(text: &str) -> Result<Inventory, String> {
        Inventory::parse(text.as_bytes(), now())
    }

    const TWO: &str = r#"{"clients":[
        {"addresses":["10.0.0.7","fd00::7"],
         "device":{"id":"laptop-7","compliant":true,"tags":["kiosk","kiosk"],"os":"Fedora 43"},
         "user":{"name":"alice","groups":["staff","admins","staff"]}},
        {"addresses":["10.0.0.0/24"],"device":{"id":"lab","compliant":false,"reason":"lent out"}}]}"#;

    #[test]
    fn the_longest_network_that_holds_the_address_decides() {
        let inventory = read(TWO).unwrap();
        for (address, id, compliant) in [
            ("10.0.0.7", "laptop-7", true),
            ("::ffff:10.0.0.7", "laptop-7", true),
            ("fd00::7", "laptop-7", true),
            ("10.0.0.8", "lab", false),
            ("10.0.1.7", "unknown", false),
            ("fd00::8", "unknown", false),
        ] {
            let device = inventory.device(address.parse().unwrap());
            assert_eq!((&*device.id, device.compliant), (id, compliant), "{address}");
        }
        let alice = inventory.user("10.0.0.7".parse().unwrap()).unwrap();
        assert_eq!((alice.uid, alice.name.as_deref()), (None, Some("alice")));
        assert_eq!(alice.groups, ["admins".into(), "staff".into()]);
        assert!(inventory.user("10.0.0.8".parse().unwrap()).is_none());
        assert_eq!(inventory.device("10.0.0.7".parse().unwrap()).tags, ["kiosk".into()]);
        assert_eq!(&*inventory.device("10.0.0.8".parse().unwrap()).reason, "lent out");
    }

    #[test]
    fn without_an_inventory_another_host_is_an_unknown_device() {
        let device = device_without_inventory();
        assert_eq!((&*device.id, device.compliant, device.tags.len()), ("unknown", false, 0));
    }

    #[test]
    fn an_entry_counts_until_it_expires() {
        let until = |at: &str| {
            read(&format!(
                r#"{{"clients":[{{"addresses":["10.0.0.7"],"device":{{"id":"a","compliant":true,"expires":"{at}"}}}}]}}"#
            ))
            .unwrap()
        };
        let address = "10.0.0.7".parse().unwrap();
        let later = until("2026-01-01T12:00:01Z");
        assert!(later.device(address).compliant);
        assert!(!later.is_outdated(now()));
        assert!(later.is_outdated("2026-01-01T12:00:01Z".parse().unwrap()));
        let over = until("2026-01-01T12:00:00Z");
        assert!(!over.device(address).compliant);
        assert!(over.device(address).reason.contains("expired"));
        // It has counted for nothing from the start: there is nothing to wait for.
        assert!(!over.is_outdated(now()));
    }

    #[test]
    fn what_cannot_be_read_knows_nobody() {
        for (text, why) in [
            ("", "EOF"),
            ("{}", "missing field `clients`"),
            (r#"{"clients":[{"addresses":["x"]}]}"#, "client 0: no address or network: \"x\""),
            (r#"{"clients":[{"addresses":["10.0.0.1/24"]}]}"#, "no address or network"),
            (r#"{"clients":[{"addresses":["::ffff:10.0.0.0/120"]}]}"#, "no address or network"),
            (r#"{"clients":[{"addresses":["10.0.0.1","10.0.0.1/32"]}]}"#, "stands in the inventory twice"),
            (r#"{"clients":[{"addresses":[],"colour":1}]}"#, "unknown field"),
            (r#"{"clients":[{"addresses":[],"device":{"id":"a"}}]}"#, "missing field `compliant`"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
        let broken = Inventory::unreadable("it is gone");
        let device = broken.device("10.0.0.7".parse().unwrap());
        assert!(!device.compliant);
        assert_eq!(&*device.reason, "the inventory cannot be read: it is gone");
        assert!(broken.is_empty() && broken.fault().is_some());
    }

    #[test]
    fn an_address_without_a_device_is_not_compliant_and_may_have_a_user() {
        let inventory = read(r#"{"clients":[{"addresses":["0.0.0.0/0"],"user":{"name":"guest"}}]}"#).unwrap();
        let address = "192.0.2.1".parse().unwrap();
        assert!(!inventory.device(address).compliant);
        assert_eq!(inventory.user(address).unwrap().name.as_deref(), Some("guest"));
        assert!(inventory.user("2001:db8::1".parse().unwrap()).is_none());
    }
}
