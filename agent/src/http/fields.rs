//! Field lines of a head or a trailer section: ordered, names as received, values as bytes (RFC 9110 section 5).

use std::fmt;

/// A piece of a backing buffer. Reading one never fails: out of bounds is empty.
#[derive(Clone, Copy, Default)]
pub(super) struct Span {
    pub(super) start: usize,
    pub(super) end: usize,
}

impl Span {
    fn of(self, bytes: &[u8]) -> &[u8] {
        bytes.get(self.start..self.end).unwrap_or_default()
    }
}

#[derive(Clone, Copy)]
struct Line {
    name: Span,
    value: Span,
    /// Its sender marked it as a secret that no HPACK table may hold. Not part of what makes two lines equal.
    never_indexed: bool,
}

/// The field lines, in the order received. All text lies in one buffer, so building and dropping a head is cheap.
///
/// Nothing here checks syntax: the parsers do before, the serialiser does after, and values from elsewhere (a block
/// page's file name) therefore cannot break out of their line.
#[derive(Clone, Default)]
pub struct Fields {
    bytes: Vec<u8>,
    lines: Vec<Line>,
}

impl Fields {
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes `bytes` as the backing buffer; lines are then named by [`Fields::push_spans`] without copying.
    pub(super) fn over(bytes: Vec<u8>, lines: usize) -> Self {
        Self { bytes, lines: Vec::with_capacity(lines) }
    }

    pub(super) fn push_spans(&mut self, name: Span, value: Span) {
        self.lines.push(Line { name, value, never_indexed: false });
    }

    /// A line of HTTP/2, with the mark its sender gave it (RFC 7541 section 7.1.3).
    pub(super) fn push_marked_spans(&mut self, name: Span, value: Span, never_indexed: bool) {
        self.lines.push(Line { name, value, never_indexed });
    }

    /// Every line with its mark.
    pub(super) fn iter_marked(&self) -> impl Iterator<Item = (&[u8], &[u8], bool)> {
        self.lines
            .iter()
            .map(|line| (line.name.of(&self.bytes), line.value.of(&self.bytes), line.never_indexed))
    }

    /// Appends a field line. Bytes are taken as they are.
    pub fn push(&mut self, name: &[u8], value: &[u8]) {
        let line = Line { name: self.store(name), value: self.store(value), never_indexed: false };
        self.lines.push(line);
    }

    fn store(&mut self, text: &[u8]) -> Span {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(text);
        Span { start, end: self.bytes.len() }
    }

    /// Name and value of every line.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.lines.iter().map(|line| (line.name.of(&self.bytes), line.value.of(&self.bytes)))
    }

    /// The first value with this name, compared without ASCII case.
    pub fn get<'a>(&'a self, name: &str) -> Option<&'a [u8]> {
        self.get_all(name).next()
    }

    /// Every value with this name, in order.
    pub fn get_all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.iter().filter(move |(n, _)| n.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| value)
    }

    /// Number of lines with this name.
    pub fn count(&self, name: &str) -> usize {
        self.get_all(name).count()
    }

    /// The members of a comma-separated list of tokens over all lines with this name (RFC 9110 section 5.6.1), empty
    /// members left out. Only for fields whose members cannot be quoted strings.
    pub fn tokens<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.get_all(name)
            .flat_map(|value| value.split(|byte| *byte == b','))
            .map(trim)
            .filter(|token| !token.is_empty())
    }

    /// Whether the list field `name` has the member `token`, without ASCII case.
    pub fn has_token(&self, name: &str, token: &str) -> bool {
        self.tokens(name).any(|member| member.eq_ignore_ascii_case(token.as_bytes()))
    }

    /// Takes out every line with this name; returns how many there were.
    pub fn remove(&mut self, name: &str) -> usize {
        let before = self.lines.len();
        let bytes = &self.bytes;
        self.lines.retain(|line| !line.name.of(bytes).eq_ignore_ascii_case(name.as_bytes()));
        before - self.lines.len()
    }

    /// Makes `value` the only one with this name, in the place of the first line that had it, else at the end.
    pub fn set(&mut self, name: &str, value: &[u8]) {
        let at = self.iter().position(|(n, _)| n.eq_ignore_ascii_case(name.as_bytes()));
        self.remove(name);
        let line = Line { name: self.store(name.as_bytes()), value: self.store(value), never_indexed: false };
        // Lines before the first match all have other names, so its place did not move.
        self.lines.insert(at.unwrap_or(self.lines.len()), line);
    }

    /// Number of lines.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }
}

/// Same lines in the same order, byte for byte.
impl PartialEq for Fields {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Fields {}

/// Values that are secrets: a head that ends up in a log line or a panic message must not carry them.
const SECRET: [&str; 4] = ["authorization", "proxy-authorization", "cookie", "set-cookie"];

impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(self.iter().map(|(name, value)| {
                let secret = SECRET.iter().any(|s| name.eq_ignore_ascii_case(s.as_bytes()));
                (
                    name.escape_ascii().to_string(),
                    if secret { "…".to_owned() } else { value.escape_ascii().to_string() },
                )
            }))
            .finish()
    }
}

impl<N: AsRef<[u8]>, V: AsRef<[u8]>> FromIterator<(N, V)> for Fields {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(lines: I) -> Self {
        let mut fields = Self::new();
        for (name, value) in lines {
            fields.push(name.as_ref(), value.as_ref());
        }
        fields
    }
}

/// Without optional whitespace (space, tab) at both ends.
pub(super) fn trim(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}
