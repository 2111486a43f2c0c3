//! How many connections one user, or one host behind a gateway, may hold at one worker, so that nobody can take them all from the others.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;

/// Bits of an IPv6 address that a host cannot choose by itself (RFC 4291 section 2.5.4).
const V6_NETWORK: u32 = 64;

/// Who has a share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Holder {
    User(u32),
    /// A host behind the gateway: its IPv4 address, or the /64 of its IPv6 address, in which it may have any number.
    Host(IpAddr),
}

impl Holder {
    pub fn of_host(address: IpAddr) -> Self {
        Self::Host(match address.to_canonical() {
            IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & (u128::MAX << (128 - V6_NETWORK))).into()),
            v4 => v4,
        })
    }
}

/// Connections held, by holder.
#[derive(Debug)]
pub struct Shares {
    most: usize,
    held: Rc<RefCell<HashMap<Holder, usize>>>,
}

/// One connection of a holder; given back on drop.
#[derive(Debug)]
pub struct Share {
    holder: Holder,
    held: Rc<RefCell<HashMap<Holder, usize>>>,
}

impl Shares {
    /// `most` is the share of each holder.
    pub fn new(most: usize) -> Self {
        Self { most, held: Rc::default() }
    }

    /// `None` when the holder has them all.
    pub fn take(&self, holder: Holder) -> Option<Share> {
        let mut held = self.held.borrow_mut();
        let count = held.entry(holder).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(Share { holder, held: self.held.clone() })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut held = self.held.borrow_mut();
        if let Some(count) = held.get_mut(&self.holder) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                held.remove(&self.holder);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_has_a_share_and_the_others_have_theirs() {
        let shares = Shares::new(2);
        let (one, two) = (Holder::User(1), Holder::User(2));
        let first = shares.take(one).unwrap();
        let _second = shares.take(one).unwrap();
        assert!(shares.take(one).is_none());
        let other = shares.take(two).unwrap();
        drop(first);
        let _third = shares.take(one).unwrap();
        assert!(shares.take(one).is_none());
        drop(other);
        assert_eq!(shares.held.borrow().len(), 1, "nothing is kept of users without connections");
    }

    #[test]
    fn a_host_has_one_share_for_all_addresses_it_can_give_itself() {
        let of = |text: &str| Holder::of_host(text.parse().unwrap());
        assert_eq!(of("fd77::1"), of("fd77::ffff:1:2:3"));
        assert_ne!(of("fd77::1"), of("fd77:0:0:1::1"));
        assert_ne!(of("10.77.0.2"), of("10.77.0.3"));
        assert_eq!(of("::ffff:10.77.0.2"), of("10.77.0.2"));
    }
}
