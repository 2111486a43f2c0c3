//! Where readers put the text they find: octet by octet without a cost for each.

use crate::detect::{Counts, Detectors};

/// Octets gathered before the detectors are given them.
const GATHERED: usize = 4096;

#[derive(Debug, Default)]
pub(super) struct Sink {
    detectors: Detectors,
    gathered: Vec<u8>,
    /// Of texts that ended.
    counts: Counts,
}

impl Sink {
    pub(super) fn octet(&mut self, octet: u8) {
        self.gathered.push(octet);
        if self.gathered.len() == GATHERED {
            self.pass();
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
        self.counts.add(&std::mem::take(&mut self.detectors).finish());
    }

    pub(super) fn finish(mut self) -> Counts {
        self.new_text();
        self.counts
    }

    fn pass(&mut self) {
        self.detectors.push(&self.gathered);
        self.gathered.clear();
    }
}
