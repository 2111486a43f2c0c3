//! Which policies name a network that an address lies in: the address space cut where networks begin and end.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

use super::Sides;
use super::build::SidesBuilder;

/// Pieces of the address space, each from its first address to the next piece's, with the policies whose networks cover it.
#[derive(Debug, Clone, Default)]
pub(super) struct Locations {
    v4: Vec<(u128, Sides)>,
    v6: Vec<(u128, Sides)>,
}

/// A named location: its networks, and the policies that include or exclude it.
pub(super) type Named<'p> = (&'p [IpNet], SidesBuilder);

impl Locations {
    pub(super) fn new(named: &[Named<'_>], words: usize) -> Self {
        Self { v4: pieces(named, words, IpAddr::is_ipv4), v6: pieces(named, words, IpAddr::is_ipv6) }
    }

    /// The policies whose networks an address lies in. Canonical: no IPv4-mapped one.
    pub(super) fn at(&self, address: IpAddr) -> Option<&Sides> {
        let pieces = if address.is_ipv4() { &self.v4 } else { &self.v6 };
        let number = number(address);
        let after = pieces.partition_point(|(first, _)| *first <= number);
        pieces.get(after.checked_sub(1)?).map(|(_, sides)| sides)
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_bits().into(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

fn pieces(named: &[Named<'_>], words: usize, family: fn(&IpAddr) -> bool) -> Vec<(u128, Sides)> {
    // At an address: the named locations that begin to cover it, and those that cease to.
    let mut edges: BTreeMap<u128, Vec<(usize, bool)>> = BTreeMap::new();
    for (index, (nets, _)) in named.iter().enumerate() {
        for net in nets.iter().filter(|net| family(&net.addr())) {
            edges.entry(number(net.network())).or_default().push((index, true));
            // The last piece of the address space has no end.
            if let Some(end) = number(net.broadcast()).checked_add(1) {
                edges.entry(end).or_default().push((index, false));
            }
        }
    }
    // How many networks of each cover the piece: they may overlap.
    let mut covering: BTreeMap<usize, usize> = BTreeMap::new();
    let mut pieces = Vec::with_capacity(edges.len());
    for (first, changes) in edges {
        for (index, begins) in changes {
            let count = covering.entry(index).or_default();
            *count = if begins { *count + 1 } else { count.saturating_sub(1) };
            if *count == 0 {
                covering.remove(&index);
            }
        }
        let mut sides = SidesBuilder::default();
        for (_, builder) in covering.keys().filter_map(|index| named.get(*index)) {
            sides.extend(builder);
        }
        pieces.push((first, sides.build(words)));
    }
    pieces
}
