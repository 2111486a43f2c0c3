//! Field lines to header blocks (RFC 7541 section 6), with a dynamic table of our own towards each peer.

use super::dynamic_table::DynamicTable;
use super::{TABLE_SIZE, huffman, integer, static_table};

/// What may remember a field line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Indexing {
    /// The dynamic table, so that the next one like it takes a byte or two.
    Table,
    /// Nothing: it will hardly come again.
    Without,
    /// Nothing, here or at any later hop: it is a secret (RFC 7541 section 7.1.3).
    Never,
}

/// Values that differ from message to message: they would only evict what comes again.
#[rustfmt::skip]
const VOLATILE: [&str; 17] = [
    ":path", "age", "content-disposition", "content-length", "content-location", "content-range", "etag", "expires",
    "grpc-message", "if-match", "if-modified-since", "if-none-match", "last-modified", "location", "range",
    "request-id", "x-request-id",
];

/// Credentials.
const SECRET: [&str; 3] = ["authorization", "proxy-authorization", "set-cookie"];

/// A cookie shorter than this could be guessed by trying: the table would tell.
const GUESSABLE_COOKIE: usize = 20;

/// Share of the table that one entry may take: a larger one evicts more than it is worth.
const LARGEST_SHARE: usize = 4;

impl Indexing {
    /// The policy for a field that its sender did not mark.
    pub fn of(name: &[u8], value: &[u8]) -> Self {
        let is = |other: &&str| name == other.as_bytes();
        match name.first() {
            Some(b'a' | b'p' | b's') if SECRET.iter().any(is) => Self::Never,
            Some(b'c') if name == b"cookie" && value.len() < GUESSABLE_COOKIE => Self::Never,
            Some(b':' | b'a' | b'c' | b'e' | b'g' | b'i' | b'l' | b'r' | b'x') if VOLATILE.iter().any(is) => {
                Self::Without
            }
            _ => Self::Table,
        }
    }
}

/// Encodes the header blocks of one direction of a connection, in their order.
#[derive(Debug)]
pub struct Encoder {
    table: DynamicTable,
    /// What the peer allows; no more than [`TABLE_SIZE`] of it is used.
    allowed: usize,
    /// The smallest size since the last block, if the size has changed: the peer must hear of it.
    smallest: Option<usize>,
    huffman: bool,
    /// A name in lower case.
    lower: Vec<u8>,
}

impl Encoder {
    /// `huffman`: strings are made shorter, which costs time on both ends.
    pub fn new(huffman: bool) -> Self {
        Self {
            table: DynamicTable::new(TABLE_SIZE),
            allowed: TABLE_SIZE,
            smallest: None,
            huffman,
            lower: Vec::new(),
        }
    }

    /// Takes over SETTINGS_HEADER_TABLE_SIZE of the peer. The next block says so.
    pub fn allow(&mut self, size: usize) {
        self.allowed = size.min(TABLE_SIZE);
        if self.allowed == self.table.max_size() {
            return;
        }
        self.table.resize(self.allowed);
        self.smallest = Some(self.smallest.map_or(self.allowed, |smallest| smallest.min(self.allowed)));
    }

    /// Takes over a smaller size ahead of its time.
    pub fn lower(&mut self, size: usize) {
        if size < self.allowed {
            self.allow(size);
        }
    }

    /// The size updates that a block has to begin with, if any. Call before the first field of every block.
    pub fn begin(&mut self, out: &mut Vec<u8>) {
        if let Some(smallest) = self.smallest.take() {
            if smallest < self.allowed {
                integer::encode(smallest, 5, 0x20, out);
            }
            integer::encode(self.allowed, 5, 0x20, out);
        }
    }

    /// Appends a field line that the table has at the place where the one before it suggests, which takes no search.
    /// `false` when it is not there, and nothing was appended. Whatever is in the table was to be remembered, so only the
    /// sender's own mark can forbid it.
    pub fn repeated(&mut self, name: &[u8], value: &[u8], out: &mut Vec<u8>) -> bool {
        let place = self.table.find_expected(name, value);
        if let Some(place) = place {
            integer::encode(static_table::LEN + 1 + place, 7, 0x80, out);
        }
        place.is_some()
    }

    /// Appends a field line. The name goes out in lower case.
    pub fn field(&mut self, name: &[u8], value: &[u8], indexing: Indexing, out: &mut Vec<u8>) {
        if name.iter().any(u8::is_ascii_uppercase) {
            let mut lower = std::mem::take(&mut self.lower);
            lower.clear();
            lower.extend(name.iter().map(u8::to_ascii_lowercase));
            self.lower_case_field(&lower, value, indexing, out);
            self.lower = lower;
        } else {
            self.lower_case_field(name, value, indexing, out);
        }
    }

    fn lower_case_field(&mut self, name: &[u8], value: &[u8], indexing: Indexing, out: &mut Vec<u8>) {
        let known = static_table::find(name, value);
        if let (Some((index, true)), Indexing::Table | Indexing::Without) = (known, indexing) {
            return integer::encode(index, 7, 0x80, out);
        }
        let size = name.len() + value.len();
        let table = indexing == Indexing::Table && size * LARGEST_SHARE <= self.allowed;
        let mut index = known.map(|(index, _)| index);
        if table || index.is_none() {
            match self.table.find(name, value) {
                Some((place, true)) if table => {
                    return integer::encode(static_table::LEN + 1 + place, 7, 0x80, out);
                }
                Some((place, _)) => index = index.or(Some(static_table::LEN + 1 + place)),
                None => {}
            }
        }
        let (prefix, flags) = match indexing {
            _ if table => (6, 0x40),
            Indexing::Never => (4, 0x10),
            _ => (4, 0),
        };
        integer::encode(index.unwrap_or(0), prefix, flags, out);
        if index.is_none() {
            self.string(name, out);
        }
        self.string(value, out);
        if table {
            self.table.insert(name, value);
        }
    }

    fn string(&self, text: &[u8], out: &mut Vec<u8>) {
        if self.huffman {
            let len = huffman::encoded_len(text);
            if len < text.len() {
                integer::encode(len, 7, 0x80, out);
                return huffman::encode(text, out);
            }
        }
        integer::encode(text.len(), 7, 0, out);
        out.extend_from_slice(text);
    }
}
