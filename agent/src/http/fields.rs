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

/// Room for the lines of most heads.
const LINES: usize = 32;

#[derive(Clone, Copy)]
struct Line {
    name: Span,
    value: Span,
    tag: Tag,
    /// Its sender marked it as a secret that no HPACK table may hold. Not part of what makes two lines equal.
    never_indexed: bool,
    /// Its parser found the name to be a token, and the value to be free of controls.
    checked: bool,
}

impl Line {
    fn new(name: Span, value: Span, bytes: &[u8]) -> Self {
        let tag = Tag::of(name.of(bytes));
        Self { name, value, tag, never_indexed: false, checked: false }
    }
}

/// What is the same of equal names in either case, and differs for most others: nearly every look-up is for a field
/// that is not there, and needs no comparing of text to find that out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tag(u8);

impl Tag {
    pub(super) const fn of(name: &[u8]) -> Self {
        let (Some(first), Some(last)) = (name.first(), name.last()) else { return Self(0) };
        // The bit that letters differ by in case is set in both, whatever they are.
        let ends = (*first | 0x20) ^ (*last | 0x20).rotate_left(3);
        Self(ends.wrapping_add((name.len() as u8).wrapping_mul(37)))
    }
}

/// Tags, a bit each.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tags([u64; 4]);

impl Tags {
    pub(super) const fn of(names: &[&str]) -> Self {
        let (mut tags, mut at) = (Self([0; 4]), 0);
        while at < names.len() {
            tags.add(Tag::of(names[at].as_bytes()));
            at += 1;
        }
        tags
    }

    const fn add(&mut self, tag: Tag) {
        // Four words of 64 bits: any octet has its place.
        self.0[(tag.0 >> 6) as usize] |= 1 << (tag.0 & 63);
    }

    pub(super) const fn contain(&self, tag: Tag) -> bool {
        self.0[(tag.0 >> 6) as usize] >> (tag.0 & 63) & 1 == 1
    }
}

/// A field line on its way out.
pub(super) struct Leaving<'a> {
    pub(super) name: &'a [u8],
    pub(super) value: &'a [u8],
    pub(super) tag: Tag,
    pub(super) never_indexed: bool,
    /// Its parser found the name to be a token, and the value to be free of controls.
    pub(super) checked: bool,
    /// From the name to two octets behind the value, as they lie in memory.
    line: &'a [u8],
}

impl<'a> Leaving<'a> {
    /// `name: value` and CRLF, where a line that was checked lies in memory just like that.
    pub(super) fn as_line_of_http1(&self) -> Option<&'a [u8]> {
        let length = self.name.len() + self.value.len() + 4;
        let between = self.line.get(self.name.len()..self.name.len() + 2)?;
        (self.checked && self.line.len() == length && between == b": " && self.line.ends_with(b"\r\n"))
            .then_some(self.line)
    }
}

/// The field lines, in the order received. All text lies in one buffer, so building and dropping a head is cheap.
///
/// Nothing here checks syntax: the parsers do before, the serialiser does after, and values from elsewhere (a block
/// page's file name) therefore cannot break out of their line.
#[derive(Clone, Default)]
pub struct Fields {
    bytes: Vec<u8>,
    lines: Vec<Line>,
    /// Of all lines, and of some that are gone.
    tags: Tags,
}

impl Fields {
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes `bytes` as the backing buffer; lines are then named by their spans, without copying.
    pub(super) fn over(bytes: Vec<u8>, lines: usize) -> Self {
        Self { bytes, lines: Vec::with_capacity(lines), tags: Tags::default() }
    }

    fn add(&mut self, line: Line) {
        self.tags.add(line.tag);
        self.lines.push(line);
    }

    /// A line whose name is a token, and whose value holds no control, in a text that [`Self::in_text`] gives later.
    pub(super) fn note_checked(&mut self, name: Span, value: Span, tag: Tag) {
        if self.lines.is_empty() {
            self.lines.reserve(LINES);
        }
        self.add(Line { name, value, tag, never_indexed: false, checked: true });
    }

    /// With `text` as the backing buffer of the lines that were noted.
    pub(super) fn in_text(self, text: Vec<u8>) -> Self {
        Self { bytes: text, ..self }
    }

    /// A line of HTTP/2, otherwise the same, with the mark its sender gave it (RFC 7541 section 7.1.3).
    pub(super) fn push_marked_spans(&mut self, name: Span, value: Span, never_indexed: bool) {
        self.add(Line { never_indexed, checked: true, ..Line::new(name, value, &self.bytes) });
    }

    /// Every line as a serialiser takes it.
    pub(super) fn leaving(&self) -> impl Iterator<Item = Leaving<'_>> {
        self.lines.iter().map(|line| Leaving {
            name: line.name.of(&self.bytes),
            value: line.value.of(&self.bytes),
            tag: line.tag,
            never_indexed: line.never_indexed,
            checked: line.checked,
            line: self.bytes.get(line.name.start..line.value.end.saturating_add(2)).unwrap_or_default(),
        })
    }

    /// Octets of all lines, about.
    pub(super) fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Appends a field line. Bytes are taken as they are.
    pub fn push(&mut self, name: &[u8], value: &[u8]) {
        let (name, value) = (self.store(name), self.store(value));
        self.add(Line::new(name, value, &self.bytes));
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
        let tag = Tag::of(name.as_bytes());
        let lines = if self.tags.contain(tag) { self.lines.as_slice() } else { &[] };
        lines
            .iter()
            .filter(move |line| {
                line.tag == tag && line.name.of(&self.bytes).eq_ignore_ascii_case(name.as_bytes())
            })
            .map(|line| line.value.of(&self.bytes))
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
        let (name, value) = (self.store(name.as_bytes()), self.store(value));
        let line = Line::new(name, value, &self.bytes);
        self.tags.add(line.tag);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_either_case_and_not_by_their_tag_alone() {
        let twins = [("abc", "a-c"), ("date", "duke"), ("x-1", "x-2")];
        for (one, other) in twins {
            assert_eq!(Tag::of(one.as_bytes()) == Tag::of(other.as_bytes()), one != "x-1");
            let mut fields: Fields = [(one.to_ascii_uppercase(), "1")].into_iter().collect();
            assert_eq!(fields.get(one), Some(&b"1"[..]));
            assert_eq!(fields.get(other), None, "{other}");
            fields.set(other, b"2");
            assert_eq!((fields.get(one), fields.get(other)), (Some(&b"1"[..]), Some(&b"2"[..])));
            assert_eq!((fields.remove(one), fields.get(one)), (1, None));
            assert_eq!(fields.count(other), 1);
        }
    }

    #[test]
    fn equal_names_have_equal_tags() {
        for byte in 0..=u8::MAX {
            for name in [vec![byte], vec![byte, b'-', b'Z'], vec![b'q', byte]] {
                assert_eq!(Tag::of(&name), Tag::of(&name.to_ascii_lowercase()));
                assert_eq!(Tag::of(&name), Tag::of(&name.to_ascii_uppercase()));
            }
        }
        assert_eq!(Tag::of(b""), Tag::of(b""));
        assert!(!Tags::of(&["te", "connection"]).contain(Tag::of(b"server")));
    }
}
