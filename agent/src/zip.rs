//! Local headers of ZIP archives (APPNOTE.TXT 6.3.10, section 4.3.7), for readers that see the beginning of a file only.

/// What a local header begins with.
pub const LOCAL_HEADER: &[u8] = b"PK\x03\x04";
/// Octets of a local header before the name.
const FIXED: usize = 30;
/// Flag: the content is encrypted.
const ENCRYPTED: u16 = 1;
/// Flag: sizes stand behind the content, not in the header.
const DATA_DESCRIPTOR: u16 = 1 << 3;

/// How the content of an entry is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    Stored,
    Deflate,
    Other,
}

#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    pub name: &'a [u8],
    pub encrypted: bool,
    pub method: Method,
    /// The content and all that follows.
    pub rest: &'a [u8],
    /// Octets of the content, where the header says it.
    pub size: Option<usize>,
}

impl<'a> Entry<'a> {
    /// Reads the entry that `octets` begin with. `None` when they are no local header, or cut within it.
    pub fn read(octets: &'a [u8]) -> Option<Self> {
        let head = octets.strip_prefix(LOCAL_HEADER)?;
        let number = |at: usize| head.get(at - 4..at - 2)?.try_into().ok().map(u16::from_le_bytes);
        let (flags, method, name, extra) = (number(6)?, number(8)?, number(26)?, number(28)?);
        let size = head.get(18 - 4..22 - 4)?.try_into().ok().map(u32::from_le_bytes)?;
        let (name, rest) = octets.get(FIXED..)?.split_at_checked(usize::from(name))?;
        let rest = rest.get(usize::from(extra)..)?;
        let told = flags & DATA_DESCRIPTOR == 0 && size != u32::MAX;
        let method = match method {
            0 => Method::Stored,
            8 => Method::Deflate,
            _ => Method::Other,
        };
        let size = usize::try_from(size).ok().filter(|_| told);
        Some(Self { name, encrypted: flags & ENCRYPTED != 0, method, rest, size })
    }

    /// The content; where its size is not said, all that follows. Shorter where the archive is cut.
    pub fn content(&self) -> &'a [u8] {
        self.size.and_then(|size| self.rest.get(..size)).unwrap_or(self.rest)
    }
}

/// The next local header in `octets`, and all that follows it.
pub fn next_header(octets: &[u8]) -> Option<&[u8]> {
    memchr::memmem::find(octets, LOCAL_HEADER).and_then(|at| octets.get(at..))
}
