//! Where readers put the text they find: octet by octet without a cost for each.

use super::{MAX_DECODED, MAX_ENTRIES};
use crate::detect::{Counts, Detectors};

/// Octets gathered before the detectors are given them.
const GATHERED: usize = 4096;

#[derive(Debug, Default)]
pub(super) struct Sink {
    detectors: Detectors,
    gathered: Vec<u8>,
    pub(super) room: Room,
}

/// What archives within one body may still give.
#[derive(Debug)]
pub(super) struct Room {
    octets: usize,
    entries: usize,
}

impl Default for Room {
    fn default() -> Self {
        Self { octets: MAX_DECODED, entries: MAX_ENTRIES }
    }
}

impl Room {
    pub(super) fn octets(&self) -> usize {
        self.octets
    }

    pub(super) fn take_octets(&mut self, count: usize) {
        self.octets = self.octets.saturating_sub(count);
    }

    /// `false`: there have been enough.
    pub(super) fn take_entry(&mut self) -> bool {
        let taken = self.entries.checked_sub(1);
        self.entries = taken.unwrap_or_default();
        taken.is_some()
    }
}

impl Sink {
    pub(super) fn octet(&mut self, octet: u8) {
        self.gathered.push(octet);
        if self.gathered.len() >= GATHERED {
            self.pass();
        }
    }

    /// A stretch of text, short as most are.
    pub(super) fn octets(&mut self, octets: &[u8]) {
        if octets.len() > GATHERED.saturating_sub(self.gathered.len()) {
            self.text(octets);
        } else {
            self.gathered.extend_from_slice(octets);
        }
    }

    pub(super) fn text(&mut self, text: &[u8]) {
        self.pass();
        self.detectors.push(text);
    }

    pub(super) fn character(&mut self, character: char) {
        let mut utf8 = [0; 4];
        for octet in character.encode_utf8(&mut utf8).bytes() {
            self.octet(octet);
        }
    }

    /// What follows has nothing to do with what came before.
    pub(super) fn new_text(&mut self) {
        self.pass();
        self.detectors.new_text();
    }

    pub(super) fn finish(mut self) -> Counts {
        self.pass();
        self.detectors.finish()
    }

    fn pass(&mut self) {
        self.detectors.push(&self.gathered);
        self.gathered.clear();
    }
}
