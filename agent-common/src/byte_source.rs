//! Where a parser's bytes come from: a slice in userspace, a per-CPU copy of the packet in the kernel.

/// Random access to the bytes of one message.
///
/// Reads beyond the end give zero rather than an answer to check: the parsers compare against [`ByteSource::len`]
/// before they believe a field, and the verifier wants one load without a branch.
pub trait ByteSource {
    fn len(&self) -> usize;

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn byte(&self, at: usize) -> u8;

    /// The same number, with everything the kernel's verifier knows about it forgotten.
    ///
    /// Loop exits with different exact values multiply every path behind the loop; a number of unknown origin does not.
    /// `slot` keeps two live numbers apart. Userspace returns the number as it is.
    fn forget(&self, _slot: Slot, value: usize) -> usize {
        value
    }

    fn u16(&self, at: usize) -> u16 {
        u16::from_be_bytes([self.byte(at), self.byte(at + 1)])
    }

    fn u32(&self, at: usize) -> u32 {
        u32::from_be_bytes([self.byte(at), self.byte(at + 1), self.byte(at + 2), self.byte(at + 3)])
    }
}

/// Names for the numbers that a parser launders through [`ByteSource::forget`].
#[derive(Debug, Clone, Copy)]
pub enum Slot {
    NameLength,
    Position,
    Next,
    Start,
    End,
    Code,
}

impl Slot {
    pub const COUNT: usize = 6;
}

impl ByteSource for [u8] {
    fn len(&self) -> usize {
        <[u8]>::len(self)
    }

    fn byte(&self, at: usize) -> u8 {
        self.get(at).copied().unwrap_or(0)
    }
}
