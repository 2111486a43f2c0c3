//! Text that is written piece by piece and used again, whose room is made once: octets that were written before are
//! written over, and not cleared first.

use std::ops::Range;

#[derive(Debug, Default)]
pub(super) struct Text {
    /// Beyond `len` what was there before.
    octets: Vec<u8>,
    len: usize,
}

impl Text {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// Empty where the range is not within the text.
    pub(super) fn get(&self, range: Range<usize>) -> &[u8] {
        self.octets.get(..self.len).and_then(|octets| octets.get(range)).unwrap_or_default()
    }

    pub(super) fn push(&mut self, octets: &[u8]) {
        if let Some(room) = self.room(octets.len()).get_mut(..octets.len()) {
            room.copy_from_slice(octets);
            self.take(octets.len());
        }
    }

    /// Room for `most` octets behind the text, and maybe more. What is in it means nothing.
    pub(super) fn room(&mut self, most: usize) -> &mut [u8] {
        let end = self.len + most;
        if self.octets.len() < end {
            // As a vector grows, so that many short pieces do not make it grow each time.
            self.octets.resize(end.max(2 * self.octets.len()), 0);
        }
        self.octets.get_mut(self.len..).unwrap_or_default()
    }

    /// Makes the first `written` octets of the room text.
    pub(super) fn take(&mut self, written: usize) {
        self.len = self.octets.len().min(self.len + written);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_lie_one_behind_the_other_and_old_ones_are_no_text() {
        let mut text = Text::default();
        text.push(b"name");
        text.room(9)[..5].copy_from_slice(b"value");
        text.take(5);
        assert_eq!((text.len(), text.get(0..4), text.get(4..9)), (9, &b"name"[..], &b"value"[..]));
        assert_eq!(text.get(8..10), b"", "not within the text");
        text.truncate(4);
        assert_eq!(text.get(0..9), b"");
        text.truncate(0);
        text.push(b"");
        text.push(b"x");
        assert_eq!(text.get(0..1), b"x");
        assert!(text.room(10_000).len() >= 10_000);
        assert_eq!(text.len(), 1);
    }
}
