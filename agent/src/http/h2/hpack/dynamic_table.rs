//! The dynamic table (RFC 7541 sections 2.3.2 and 4): entries of one buffer, the oldest evicted first.

use std::collections::VecDeque;

/// What an entry counts beside its text (RFC 7541 section 4.1).
pub(super) const ENTRY_OVERHEAD: usize = 32;

#[derive(Debug, Clone, Copy)]
struct Entry {
    start: usize,
    name_len: usize,
    value_len: usize,
    /// Of name and value, and of the name alone: what an encoder compares first. Nothing in a decoder's table, which is
    /// asked by place only.
    hash: u32,
    name_hash: u32,
}

/// Entries in one buffer that grows to a quarter more than the table's size at most, then is compacted: four tables
/// belong to every connection, also to an idle one.
#[derive(Debug, Default)]
pub(super) struct DynamicTable {
    text: Vec<u8>,
    /// Newest first, as the indices count.
    entries: VecDeque<Entry>,
    size: usize,
    max_size: usize,
    /// Entries that there have been. Counting from the first of them all, an entry keeps its number.
    inserted: u64,
    /// Number of the entry behind the one that was asked for last: messages of a connection say the same in the same order.
    expected: u64,
}

impl DynamicTable {
    pub(super) fn new(max_size: usize) -> Self {
        Self { max_size, ..Self::default() }
    }

    pub(super) fn max_size(&self) -> usize {
        self.max_size
    }

    /// Evicts what no longer fits.
    pub(super) fn resize(&mut self, max_size: usize) {
        self.max_size = max_size;
        self.evict(max_size);
    }

    fn evict(&mut self, room: usize) {
        while self.size > room
            && let Some(entry) = self.entries.pop_back()
        {
            self.size -= entry.name_len + entry.value_len + ENTRY_OVERHEAD;
        }
        if self.entries.is_empty() {
            self.text.clear();
            self.size = 0;
        }
    }

    /// Name and value of the entry at `place`, counted from 0 for the newest.
    pub(super) fn entry(&self, place: usize) -> Option<(&[u8], &[u8])> {
        self.text_of(self.entries.get(place)?)
    }

    /// The same as one text, and how much of it is the name.
    pub(super) fn text(&self, place: usize) -> Option<(&[u8], usize)> {
        let entry = self.entries.get(place)?;
        let text = self.text.get(entry.start..)?.get(..entry.name_len + entry.value_len)?;
        Some((text, entry.name_len))
    }

    fn text_of(&self, entry: &Entry) -> Option<(&[u8], &[u8])> {
        self.text
            .get(entry.start..)?
            .get(..entry.name_len + entry.value_len)?
            .split_at_checked(entry.name_len)
    }

    /// Adds an entry that is to be found. One that is larger than the table empties it, which is no error (RFC 7541
    /// section 4.4).
    pub(super) fn insert(&mut self, name: &[u8], value: &[u8]) {
        let name_hash = hash(0, name);
        let hash = hash(name_hash, value);
        let (start, name_len, value_len) = (0, name.len(), value.len());
        self.add(&[name, value], Entry { start, name_len, value_len, hash, name_hash });
    }

    /// The same for a decoder: `text` is the name and behind it the value, and neither is to be found.
    pub(super) fn insert_text(&mut self, text: &[u8], name_len: usize) {
        let value_len = text.len().saturating_sub(name_len);
        self.add(&[text], Entry { start: 0, name_len, value_len, hash: 0, name_hash: 0 });
    }

    /// `entry` but for its start is that of the text that `parts` make.
    #[inline]
    fn add(&mut self, parts: &[&[u8]], entry: Entry) {
        let added = entry.name_len + entry.value_len;
        let size = added + ENTRY_OVERHEAD;
        if size > self.max_size {
            return self.evict(0);
        }
        self.evict(self.max_size - size);
        let most = self.max_size + self.max_size / 4;
        if self.text.len() + added > most {
            self.compact();
        }
        let (len, capacity) = (self.text.len(), self.text.capacity());
        if len + added > capacity {
            let room = (2 * capacity).clamp(len + added, most.max(len + added));
            self.text.reserve_exact(room - len);
        }
        for part in parts {
            self.text.extend_from_slice(part);
        }
        self.entries.push_front(Entry { start: len, ..entry });
        self.size += size;
        self.inserted += 1;
        self.expected = self.inserted;
    }

    /// The place of this field, if it is the one that follows what was found or added last.
    pub(super) fn find_expected(&mut self, name: &[u8], value: &[u8]) -> Option<usize> {
        let place = usize::try_from(self.inserted.checked_sub(self.expected)?.checked_sub(1)?).ok()?;
        let entry = self.entries.get(place)?;
        if entry.name_len != name.len() || entry.value_len != value.len() {
            return None;
        }
        let same = self.text_of(entry) == Some((name, value));
        self.expected += u64::from(same);
        same.then_some(place)
    }

    /// Moves the text that is still named to the front; it lies in the order of insertion.
    fn compact(&mut self) {
        let first = self.entries.back().map_or(0, |entry| entry.start);
        self.text.drain(..first);
        for entry in &mut self.entries {
            entry.start -= first;
        }
    }

    /// The place of an entry with this name, and whether it has the value too; the exact one if there is any.
    pub(super) fn find(&mut self, name: &[u8], value: &[u8]) -> Option<(usize, bool)> {
        if self.entries.is_empty() {
            return None;
        }
        let name_hash = hash(0, name);
        let whole = hash(name_hash, value);
        let mut named = None;
        for (place, entry) in self.entries.iter().enumerate() {
            if entry.hash == whole && self.text_of(entry) == Some((name, value)) {
                self.expected = self.inserted - place as u64;
                return Some((place, true));
            }
            if named.is_none()
                && entry.name_hash == name_hash
                && self.text_of(entry).is_some_and(|(n, _)| n == name)
            {
                named = Some((place, false));
            }
        }
        named
    }

    #[cfg(test)]
    pub(super) fn size(&self) -> usize {
        self.size
    }
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
}

/// A quick mix of eight bytes at a time. Collisions cost one comparison: who makes them gains nothing.
fn hash(seed: u32, text: &[u8]) -> u32 {
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut state = u64::from(seed) ^ (text.len() as u64);
    let (words, rest) = text.as_chunks::<8>();
    for word in words {
        state = (state ^ u64::from_le_bytes(*word)).wrapping_mul(FACTOR).rotate_left(29);
    }
    for byte in rest {
        state = (state ^ u64::from(*byte)).wrapping_mul(FACTOR).rotate_left(29);
    }
    (state.wrapping_mul(FACTOR) >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_go_first_and_the_buffer_stays_bounded() {
        let mut table = DynamicTable::new(200);
        for number in 0..10_000_u32 {
            let value = vec![b'v'; number as usize % 90];
            table.insert(&number.to_be_bytes(), &value);
            assert!(table.size() <= 200 && table.text.capacity() <= 250);
            assert_eq!(table.entry(0), Some((&number.to_be_bytes()[..], &value[..])));
            for place in 0..table.len() {
                let (name, value) = table.entry(place).unwrap();
                assert_eq!(name, (number - place as u32).to_be_bytes());
                assert_eq!(value.len(), (number as usize - place) % 90);
            }
        }
        assert_eq!(table.entry(table.len()), None);
        table.resize(40);
        assert!(table.size() <= 40);
        table.insert(b"name", &[b'x'; 9]);
        assert_eq!(table.len(), 0, "an entry larger than the table empties it");
        table.resize(0);
        table.insert(b"", b"");
        assert_eq!((table.len(), table.size()), (0, 0));
    }

    #[test]
    fn what_a_decoder_inserts_is_what_an_encoder_does_but_for_the_search() {
        let (mut encoder, mut decoder) = (DynamicTable::new(200), DynamicTable::new(200));
        let value = [b'v'; 250];
        for (name_len, value_len) in [(0, 0), (4, 5), (5, 4), (0, 90), (90, 0), (3, 165), (3, 166), (1, 1)] {
            let (name, value) = (&[b'n'; 90][..name_len], &value[..value_len]);
            encoder.insert(name, value);
            decoder.insert_text(&[name, value].concat(), name_len);
            assert_eq!((decoder.len(), decoder.size()), (encoder.len(), encoder.size()));
            for place in 0..=encoder.len() {
                assert_eq!(decoder.entry(place), encoder.entry(place));
                assert_eq!(decoder.text(place), encoder.text(place));
            }
        }
    }

    #[test]
    fn what_was_inserted_is_found_by_name_and_by_value() {
        let mut table = DynamicTable::new(4096);
        for (name, value) in [("a", "1"), ("b", "2"), ("a", "3"), ("", "a1")] {
            table.insert(name.as_bytes(), value.as_bytes());
        }
        let mut find = |name: &str, value: &str| table.find(name.as_bytes(), value.as_bytes());
        assert_eq!(find("a", "1"), Some((3, true)));
        assert_eq!(find("a", "3"), Some((1, true)));
        assert_eq!(find("a", "2"), Some((1, false)));
        assert_eq!(find("", "a1"), Some((0, true)));
        assert_eq!(find("a1", ""), None);
    }

    #[test]
    fn what_comes_in_the_order_of_its_first_time_is_found_without_a_search() {
        let mut table = DynamicTable::new(4096);
        let fields = [("a", "1"), ("b", "2"), ("c", ""), ("d", "4")];
        for (name, value) in fields {
            assert_eq!(table.find_expected(name.as_bytes(), value.as_bytes()), None);
            table.insert(name.as_bytes(), value.as_bytes());
        }
        for _ in 0..2 {
            assert_eq!(table.find(b"a", b"1"), Some((3, true)));
            assert_eq!(table.find_expected(b"b", b"2"), Some(2));
            assert_eq!(table.find_expected(b"x", b"y"), None, "one between them moves nothing");
            assert_eq!(table.find_expected(b"c", b"4"), None);
            assert_eq!(table.find_expected(b"c", b""), Some(1));
            assert_eq!(table.find_expected(b"d", b"4"), Some(0));
            assert_eq!(table.find_expected(b"a", b"1"), None, "behind the newest there is nothing");
        }
        table.find(b"c", b"");
        table.resize(2 * (ENTRY_OVERHEAD + 2));
        assert_eq!(table.find_expected(b"d", b"4"), Some(0), "what is left keeps its number");
        table.find(b"c", b"");
        table.resize(0);
        assert_eq!(table.find_expected(b"d", b"4"), None);
    }
}
