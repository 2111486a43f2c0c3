//! Field compression for HTTP/2 (RFC 7541): header blocks to field lines and back, with bounds on both.

mod decoder;
mod dynamic_table;
mod encoder;
mod huffman;
mod huffman_lengths;
mod integer;
mod static_table;
mod text;

use std::fmt;

pub use decoder::{Decoder, FieldLine, FieldList};
pub use encoder::{Encoder, Indexing};

/// Dynamic table that RFC 7541 gives every connection at its start; this one is neither raised nor lowered.
pub const TABLE_SIZE: usize = 4096;

/// A header block that cannot be decoded. The contexts of both ends differ from here on: the connection is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HpackError {
    /// The block ends within a field line.
    Truncated,
    /// An integer is larger than any size or index could be.
    Integer,
    /// A string is not in the Huffman code, or its padding is wrong.
    Huffman,
    /// No table has an entry at this index.
    Index,
    /// A table size update stands behind a field line, or is larger than was allowed.
    SizeUpdate,
}

impl fmt::Display for HpackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Truncated => "the header block ends within a field line",
            Self::Integer => "the header block has an integer out of bounds",
            Self::Huffman => "the header block has a string outside of the Huffman code",
            Self::Index => "the header block names a table entry that does not exist",
            Self::SizeUpdate => "the header block changes the table size in a wrong way",
        })
    }
}

impl std::error::Error for HpackError {}

#[cfg(test)]
mod tests;
