//! Which policies name a network that an address lies in: the address space cut where networks begin and end.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

use super::Sides;
use super::build::SidesBuilder;

/// Pieces of the address space by family, and the named locations whose networks cover them.
#[derive(Debug, Clone, Default)]
pub(super) struct Locations {
    /// The policies that name each.
    named: Box<[Sides]>,
    v4: Pieces<u32>,
    v6: Pieces<u128>,
}

/// A named location: its networks, and the policies that include or exclude it.
pub(super) type Named<'p> = (&'p [IpNet], SidesBuilder);

/// Pieces in order, each from its first address to the next piece's. First addresses stand together, so that a search
/// touches few lines of memory.
#[derive(Debug, Clone, Default)]
struct Pieces<A> {
    first: Box<[A]>,
    /// Numbers of named locations.
    covered_by: Box<[Box<[u32]>]>,
}

impl<A: Ord> Pieces<A> {
    fn at(&self, address: &A) -> &[u32] {
        let after = self.first.partition_point(|first| first <= address);
        after.checked_sub(1).and_then(|piece| self.covered_by.get(piece)).map_or(&[], |named| named)
    }
}

impl Locations {
    pub(super) fn new(named: Vec<Named<'_>>, policies: usize) -> Self {
        let (nets, sides): (Vec<&[IpNet]>, Vec<SidesBuilder>) = named.into_iter().unzip();
        Self {
            named: sides.into_iter().map(|sides| sides.build(policies)).collect(),
            v4: pieces(&nets, |address| match address {
                IpAddr::V4(v4) => Some(v4.to_bits()),
                IpAddr::V6(_) => None,
            }),
            v6: pieces(&nets, |address| match address {
                IpAddr::V4(_) => None,
                IpAddr::V6(v6) => Some(v6.to_bits()),
            }),
        }
    }

    /// The policies that name a location in which an address lies, by location. Canonical: no IPv4-mapped address.
    pub(super) fn at(&self, address: IpAddr) -> impl Iterator<Item = &Sides> {
        let covering = match address {
            IpAddr::V4(v4) => self.v4.at(&v4.to_bits()),
            IpAddr::V6(v6) => self.v6.at(&v6.to_bits()),
        };
        covering.iter().filter_map(|named| self.named.get(*named as usize))
    }
}

trait Address: Ord + Copy {
    /// `None`: it is the last.
    fn next(self) -> Option<Self>;
}

impl Address for u32 {
    fn next(self) -> Option<Self> {
        self.checked_add(1)
    }
}

impl Address for u128 {
    fn next(self) -> Option<Self> {
        self.checked_add(1)
    }
}

/// `number`: of an address of the family that is cut.
fn pieces<A: Address>(named: &[&[IpNet]], number: impl Fn(IpAddr) -> Option<A>) -> Pieces<A> {
    // At an address: the named locations that begin to cover it, and those that cease to.
    let mut edges: BTreeMap<A, Vec<(u32, bool)>> = BTreeMap::new();
    for (nets, location) in named.iter().zip(0..) {
        for net in *nets {
            let (Some(first), Some(last)) = (number(net.network()), number(net.broadcast())) else {
                continue;
            };
            edges.entry(first).or_default().push((location, true));
            // The last piece of the address space has no end.
            if let Some(end) = last.next() {
                edges.entry(end).or_default().push((location, false));
            }
        }
    }
    // How many networks of each cover the piece: they may overlap.
    let mut covering: BTreeMap<u32, usize> = BTreeMap::new();
    let (mut first, mut covered_by) = (Vec::new(), Vec::new());
    for (address, changes) in edges {
        for (location, begins) in changes {
            let count = covering.entry(location).or_default();
            *count = if begins { *count + 1 } else { count.saturating_sub(1) };
            if *count == 0 {
                covering.remove(&location);
            }
        }
        first.push(address);
        covered_by.push(covering.keys().copied().collect());
    }
    Pieces { first: first.into(), covered_by: covered_by.into() }
}
