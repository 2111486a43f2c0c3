//! The one pass over a text: a window that slides, and the octets at which something may stand.

use super::text::Text;
use super::{Counts, Detector, assigned, card, iban, identity, prose, token};

/// What a finding may depend on before and behind the octet that gives it away. A longer token counts by its part
/// within these bounds.
pub(super) const BEHIND: usize = 1024;
pub(super) const AHEAD: usize = 1024;
/// Octets held of a text: one allocation for its whole length.
const WINDOW: usize = 16 * 1024;

/// Reads a text piece by piece. The same text gives the same counts, however it was cut.
#[derive(Debug)]
pub struct Detectors {
    window: Box<[u8]>,
    filled: usize,
    /// The first octet of the window that was not looked at.
    next: usize,
    /// The end of the last finding: nothing within one is another.
    taken: usize,
    counts: Counts,
}

impl Default for Detectors {
    fn default() -> Self {
        Self::new()
    }
}

impl Detectors {
    pub fn new() -> Self {
        Self {
            window: vec![0; WINDOW].into_boxed_slice(),
            filled: 0,
            next: 0,
            taken: 0,
            counts: Counts::default(),
        }
    }

    /// Takes the next piece of the text.
    pub fn push(&mut self, mut piece: &[u8]) {
        while !piece.is_empty() {
            let room = self.window.get_mut(self.filled..).unwrap_or_default();
            let (now, later) = piece.split_at(room.len().min(piece.len()));
            if let Some(room) = room.get_mut(..now.len()) {
                room.copy_from_slice(now);
            }
            self.filled += now.len();
            piece = later;
            if self.filled == WINDOW {
                self.look(WINDOW - AHEAD);
                self.slide();
            }
        }
    }

    /// The text ended.
    pub fn finish(mut self) -> Counts {
        self.new_text();
        self.counts
    }

    /// The text ended, and another begins that has nothing to do with it.
    pub fn new_text(&mut self) {
        self.look(self.filled);
        (self.filled, self.next, self.taken) = (0, 0, 0);
    }

    /// Looks at what begins before `until`.
    fn look(&mut self, until: usize) {
        let filled = self.window.get(..self.filled).unwrap_or_default();
        let mut at = self.next;
        loop {
            at = at.max(self.taken);
            let rest = filled.get(at..until).unwrap_or_default();
            let Some(offset) = rest.iter().position(|octet| ANCHOR[usize::from(*octet)]) else { break };
            at += offset;
            let start = at.saturating_sub(BEHIND);
            let text = Text::new(filled.get(start..(at + AHEAD).min(filled.len())).unwrap_or_default());
            if let Some((detector, end)) = at_anchor(&text, at - start) {
                self.counts.count(detector);
                self.taken = start + end;
            }
            at += 1;
        }
        self.next = until.max(self.next);
    }

    /// Forgets what nothing can depend on any more.
    fn slide(&mut self) {
        let gone = self.next.saturating_sub(BEHIND);
        self.window.copy_within(gone..self.filled, 0);
        self.filled -= gone;
        self.next -= gone;
        self.taken = self.taken.saturating_sub(gone);
    }
}

/// A finding: what it is, and where it ends.
pub(super) type Found = Option<(Detector, usize)>;

/// What stands around an octet of [`ANCHOR`].
fn at_anchor(text: &Text<'_>, at: usize) -> Found {
    match text.at(at) {
        b'0'..=b'9' => {
            // A number is looked at where it begins; within a word only two letters may stand before it.
            let before = text.before(at, 1);
            if before.is_ascii_digit() {
                None
            } else if before == b'B' && text.before(at, 2) == b'%' {
                // The first track of a card's magnetic stripe (ISO/IEC 7813).
                card::number(text, at)
            } else if before.is_ascii_alphabetic() {
                iban::find(text, at).or_else(|| identity::nino(text, at)).or_else(|| token::hex_key(text, at))
            } else {
                card::find(text, at).or_else(|| identity::find(text, at))
            }
        }
        b'_' | b'-' | b'.' | b'~' | b'A' => token::find(text, at),
        b':' => assigned::find(text, at).or_else(|| assigned::in_address(text, at)),
        b'=' | b'>' => assigned::find(text, at),
        b'w' | b'W' => prose::find(text, at),
        _ => None,
    }
}

/// Every finding has one of these octets at a place its finder knows: a digit at the start of a number, the
/// punctuation within a token, the sign between a name and its value, the `w` of `password`.
static ANCHOR: [bool; 256] = {
    let mut table = [false; 256];
    let octets = b"0123456789_-.~A=:>wW";
    let mut index = 0;
    while index < octets.len() {
        table[octets[index] as usize] = true;
        index += 1;
    }
    table
};
