//! Plaintext on its way to a kernel that seals it: where it lies in a buffer, in as many pieces as records were opened there.

use std::io::IoSlice;
use std::ops::Range;

use super::buffers::{BUFFER, Queue};

/// Pieces shorter than this are moved to the end of the one before: it costs less than a piece more.
const MOVED: usize = 4096;
/// Pieces of a buffer of which all but the first are at least so long.
const MOST: usize = BUFFER / MOVED + 2;

/// Where plaintext lies in a buffer, in order.
#[derive(Debug, Default)]
pub struct Pieces(Vec<Range<usize>>);

impl Pieces {
    pub(super) fn is_full(&self) -> bool {
        self.0.len() >= MOST
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds what stands at `piece` of `buffer`, behind all others.
    pub(super) fn push(&mut self, buffer: &mut [u8], piece: Range<usize>) {
        if let Some(last) = self.0.last_mut()
            && (last.end == piece.start
                || (piece.len() < MOVED && last.end < piece.start && piece.end <= buffer.len()))
        {
            let length = piece.len();
            if last.end != piece.start {
                buffer.copy_within(piece, last.end);
            }
            last.end += length;
        } else {
            self.0.push(piece);
        }
    }
}

/// A buffer with plaintext in pieces.
#[derive(Debug, Default)]
pub struct Plaintext {
    queue: Queue,
    pieces: Pieces,
}

impl Plaintext {
    pub(super) fn new(queue: Queue, pieces: Pieces) -> Self {
        Self { queue, pieces }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.pieces.0.iter().map(Range::len).sum()
    }

    /// Adds copies at the end; `false`, and nothing is added, where they do not fit.
    pub(super) fn append(&mut self, octets: &[IoSlice<'_>]) -> bool {
        let before = self.queue.front().len();
        // Behind the last piece may stand what was a record's end.
        let follows = self.pieces.0.last().map_or(0, |last| last.end) == before;
        let length = octets.iter().map(|piece| piece.len()).sum();
        let Some(mut to) = self.queue.room().get_mut(..length).filter(|_| follows) else { return false };
        for piece in octets {
            let Some((now, rest)) = to.split_at_mut_checked(piece.len()) else { return false };
            now.copy_from_slice(piece);
            to = rest;
        }
        self.queue.filled(length);
        self.pieces.push(&mut [], before..before + length);
        true
    }

    /// Everything, behind it `more`, as far as there is room in `into`; gives how many slices that are.
    pub(super) fn gather<'a>(&'a self, more: &[IoSlice<'a>], into: &mut [IoSlice<'a>]) -> usize {
        let front = self.queue.front();
        let piece = |piece: &Range<usize>| IoSlice::new(front.get(piece.clone()).unwrap_or_default());
        let own = self.pieces.0.iter().map(piece);
        let mut count = 0;
        for (to, slice) in into.iter_mut().zip(own.chain(more.iter().copied())) {
            *to = slice;
            count += 1;
        }
        count
    }

    /// Room that [`Self::gather`] may want, for so many slices more.
    pub(super) const fn slices(more: usize) -> usize {
        MOST + more
    }

    /// Takes what was sent from the front; gives how much of `count` was none of this.
    pub(super) fn consume(&mut self, mut count: usize) -> usize {
        self.pieces.0.retain_mut(|piece| {
            let now = count.min(piece.len());
            piece.start += now;
            count -= now;
            piece.start < piece.end
        });
        if self.is_empty() {
            self.queue.consume(self.queue.front().len());
        }
        count
    }

    /// Before a wait; see [`Queue::settle`].
    pub(super) fn settle(&mut self) {
        // What was sent, or lies in front of the first piece, need not be kept.
        if let Some(gone) = self.pieces.0.first().map(|piece| piece.start) {
            self.queue.consume(gone);
            for piece in &mut self.pieces.0 {
                *piece = piece.start - gone..piece.end - gone;
            }
        }
        self.queue.settle();
    }

    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.queue.held()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// All that is there, in order.
    fn whole(plaintext: &Plaintext) -> Vec<u8> {
        let mut slices = [IoSlice::new(&[]); Plaintext::slices(0)];
        let count = plaintext.gather(&[], &mut slices);
        slices[..count].iter().flat_map(|slice| slice.iter().copied()).collect()
    }

    proptest! {
        /// Records of any length, sent in parts of any length with waits between them.
        #[test]
        fn every_octet_is_sent_once_and_in_order(
            records in prop::collection::vec((0usize..30, 1usize..9000), 1..30),
            parts in prop::collection::vec((1usize..20_000, any::<bool>()), 1..30),
        ) {
            let mut queue = Queue::default();
            let (mut pieces, mut sent, mut at) = (Pieces::default(), Vec::new(), 0);
            for (gap, length) in records {
                if at + gap + length > BUFFER || pieces.is_full() {
                    break;
                }
                let buffer = queue.room();
                buffer[..gap].fill(0xff);
                for (number, octet) in buffer[gap..gap + length].iter_mut().enumerate() {
                    *octet = ((at + number) % 251) as u8;
                    sent.push(*octet);
                }
                queue.filled(gap + length);
                pieces.push(queue.front_mut(), at + gap..at + gap + length);
                at += gap + length;
            }
            let mut plaintext = Plaintext::new(queue, pieces);
            prop_assert_eq!(plaintext.len(), sent.len());
            let mut left = &sent[..];
            for (part, waits) in parts {
                prop_assert_eq!(&whole(&plaintext), left);
                let part = part.min(left.len());
                prop_assert_eq!(plaintext.consume(part), 0);
                left = &left[part..];
                if waits {
                    plaintext.settle();
                }
            }
            prop_assert_eq!(plaintext.len(), left.len());
            prop_assert_eq!(plaintext.consume(left.len() + 7), 7);
            prop_assert!(plaintext.is_empty());
            plaintext.settle();
            prop_assert_eq!(plaintext.held(), 0);
        }
    }

    #[test]
    fn what_is_appended_stands_behind_what_is_there_and_never_behind_what_is_none_of_it() {
        let mut plaintext = Plaintext::default();
        assert!(plaintext.append(&[IoSlice::new(b"o"), IoSlice::new(b"ne")]));
        assert!(plaintext.append(&[IoSlice::new(b"two")]));
        assert_eq!((whole(&plaintext), plaintext.pieces.0.len()), (b"onetwo".to_vec(), 1));
        assert_eq!(plaintext.consume(2), 0);
        plaintext.settle();
        assert!(plaintext.append(&[IoSlice::new(b"three")]));
        assert_eq!(whole(&plaintext), b"etwothree");
        assert!(!plaintext.append(&[IoSlice::new(b"x"), IoSlice::new(&[0; BUFFER])]));
        assert_eq!(whole(&plaintext), b"etwothree");
        let mut queue = Queue::default();
        queue.room()[..20].copy_from_slice(b"headplaintexttagtagt");
        queue.filled(20);
        let mut pieces = Pieces::default();
        pieces.push(queue.front_mut(), 4..13);
        let mut plaintext = Plaintext::new(queue, pieces);
        assert!(!plaintext.append(&[IoSlice::new(b"more")]));
        assert_eq!(whole(&plaintext), b"plaintext");
        let mut slices = [IoSlice::new(&[]); Plaintext::slices(1)];
        let count = plaintext.gather(&[IoSlice::new(b"more")], &mut slices);
        assert_eq!((count, &*slices[0], &*slices[1]), (2, &b"plaintext"[..], &b"more"[..]));
        assert_eq!(plaintext.consume(11), 2);
    }
}
