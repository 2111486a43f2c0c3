//! Header blocks to field lines (RFC 7541 section 6). A block beyond the limits is decoded to its end, so that the
//! tables of both ends stay the same, but its lines are not kept.

use std::ops::Range;

use super::dynamic_table::{DynamicTable, ENTRY_OVERHEAD};
use super::text::Text;
use super::{HpackError, TABLE_SIZE, huffman, integer, static_table};

/// Decodes the header blocks of one direction of a connection, in their order.
#[derive(Debug)]
pub struct Decoder {
    table: DynamicTable,
    /// What the peer may set the table to.
    max_table: usize,
    /// Most octets of a field list, counted as RFC 9113 section 6.5.2 does.
    list_bytes: usize,
    fields: usize,
}

/// A field line in the text of its list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldLine {
    pub name: Range<usize>,
    pub value: Range<usize>,
    /// Marked as a secret that no table may hold (RFC 7541 section 7.1.3).
    pub never_indexed: bool,
}

/// The lines of one header block. Used again for the next one, it asks for no memory.
#[derive(Debug, Default)]
pub struct FieldList {
    text: Text,
    lines: Vec<FieldLine>,
    size: usize,
    too_large: bool,
}

impl FieldList {
    pub fn new() -> Self {
        Self::default()
    }

    fn clear(&mut self) {
        self.text.truncate(0);
        self.lines.clear();
        (self.size, self.too_large) = (0, false);
    }

    /// Whether the block was larger than the limits; then only its first lines are here.
    pub fn is_too_large(&self) -> bool {
        self.too_large
    }

    pub fn lines(&self) -> &[FieldLine] {
        &self.lines
    }

    pub fn name(&self, line: &FieldLine) -> &[u8] {
        self.text.get(line.name.clone())
    }

    pub fn value(&self, line: &FieldLine) -> &[u8] {
        self.text.get(line.value.clone())
    }

    /// Lines lie one behind the other in one text.
    pub(in crate::http::h2) fn text(&self, range: Range<usize>) -> &[u8] {
        self.text.get(range)
    }

    #[cfg(test)]
    pub(super) fn text_len(&self) -> usize {
        self.text.len()
    }

    /// Name and value of every line.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.lines.iter().map(|line| (self.name(line), self.value(line)))
    }
}

impl Decoder {
    /// With the table that RFC 7541 gives to every connection. Limits are those of one field list.
    pub fn new(list_bytes: usize, fields: usize) -> Self {
        Self { table: DynamicTable::new(TABLE_SIZE), max_table: TABLE_SIZE, list_bytes, fields }
    }

    /// Decodes one whole header block into `list`. After an error nothing more can be decoded.
    pub fn decode(&mut self, block: &[u8], list: &mut FieldList) -> Result<(), HpackError> {
        list.clear();
        let mut rest = block;
        while let Some(first) = rest.first() {
            rest = match first {
                0x80.. => self.indexed(rest, list)?,
                0x40..=0x7f => self.literal(rest, 6, list)?,
                0x20..=0x3f => {
                    // Lines that were not kept count as well.
                    if list.size > 0 {
                        return Err(HpackError::SizeUpdate);
                    }
                    let (size, rest) = integer::decode(rest, 5)?;
                    let size = size as usize;
                    if size > self.max_table {
                        return Err(HpackError::SizeUpdate);
                    }
                    self.table.resize(size);
                    rest
                }
                0x00..=0x1f => self.literal(rest, 4, list)?,
            };
        }
        Ok(())
    }

    fn entry(&self, index: usize) -> Result<(&[u8], &[u8]), HpackError> {
        static_table::entry(index)
            .or_else(|| self.table.entry(index.checked_sub(static_table::LEN + 1)?))
            .ok_or(HpackError::Index)
    }

    fn indexed<'a>(&self, input: &'a [u8], list: &mut FieldList) -> Result<&'a [u8], HpackError> {
        let (index, rest) = integer::decode(input, 7)?;
        let start = list.text.len();
        let dynamic = (index as usize).checked_sub(static_table::LEN + 1);
        // Name and value of a dynamic entry lie one behind the other.
        let (text, more, name_len) = match dynamic {
            Some(place) => {
                let (text, name_len) = self.table.text(place).ok_or(HpackError::Index)?;
                (text, &[][..], name_len)
            }
            None => {
                let (name, value) = static_table::entry(index as usize).ok_or(HpackError::Index)?;
                (name, value, name.len())
            }
        };
        list.size += text.len() + more.len() + ENTRY_OVERHEAD;
        if self.has_room(list) {
            list.text.push(text);
            list.text.push(more);
            list.push(start, name_len, false);
        }
        Ok(rest)
    }

    /// A literal: with incremental indexing behind a prefix of 6 bits, else with one of 4.
    fn literal<'a>(
        &mut self,
        input: &'a [u8],
        prefix: u32,
        list: &mut FieldList,
    ) -> Result<&'a [u8], HpackError> {
        let never_indexed = prefix == 4 && input.first().is_some_and(|first| first & 0x10 != 0);
        let start = list.text.len();
        let (index, mut rest) = integer::decode(input, prefix)?;
        if index == 0 {
            rest = string(rest, &mut list.text)?;
        } else {
            let (name, _) = self.entry(index as usize)?;
            list.text.push(name);
        }
        let value = list.text.len();
        let rest = string(rest, &mut list.text)?;
        list.size += list.text.len() - start + ENTRY_OVERHEAD;
        if prefix == 6 {
            let text = list.text.get(start..list.text.len());
            self.table.insert_text(text, value - start);
        }
        if self.has_room(list) {
            list.push(start, value - start, never_indexed);
        } else {
            list.text.truncate(start);
        }
        Ok(rest)
    }

    fn has_room(&self, list: &mut FieldList) -> bool {
        list.too_large |= list.size > self.list_bytes || list.lines.len() >= self.fields;
        !list.too_large
    }
}

impl FieldList {
    /// The text from `start` on is a name of `name_len` octets and a value.
    fn push(&mut self, start: usize, name_len: usize, never_indexed: bool) {
        let name = start..start + name_len;
        let value = name.end..self.text.len();
        self.lines.push(FieldLine { name, value, never_indexed });
    }
}

/// Appends a string literal (RFC 7541 section 5.2). It is part of the block, which bounds it.
fn string<'a>(input: &'a [u8], out: &mut Text) -> Result<&'a [u8], HpackError> {
    let coded = input.first().is_some_and(|first| first & 0x80 != 0);
    let (len, rest) = integer::decode(input, 7)?;
    let (text, rest) = rest.split_at_checked(len as usize).ok_or(HpackError::Truncated)?;
    if coded {
        huffman::decode(text, out)?;
    } else {
        out.push(text);
    }
    Ok(rest)
}
