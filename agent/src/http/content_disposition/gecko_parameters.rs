//! The parameters of a Content-Disposition value as Gecko collects them: plain, extended (RFC 8187) and continued
//! (RFC 2231) file names, and which of them wins.

use super::encoding;

/// Continuations above this number are refused, and with them all that follow.
const MAX_SEGMENT: usize = 999;

pub(super) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// Drops every backslash that protects something.
fn undo_all_quoted_pairs(octets: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(octets.len());
    let mut rest = octets.iter().copied();
    while let Some(byte) = rest.next() {
        out.push(if byte == b'\\' { rest.next().unwrap_or(byte) } else { byte });
    }
    out
}

fn until_zero(mut octets: Vec<u8>) -> Vec<u8> {
    octets.truncate(octets.iter().position(|&b| b == 0).unwrap_or(octets.len()));
    octets
}

/// One `filename*N` or `filename*N*` piece.
struct Segment<'a> {
    value: &'a [u8],
    percent: bool,
    quoted: bool,
}

/// What the parameters of one value say about the file name, by the form that says it.
#[derive(Default)]
pub(super) struct Parameters<'a> {
    /// `filename=`
    pub(super) plain: Option<Vec<u8>>,
    /// `filename*=`, percent-decoded
    extended: Option<Vec<u8>>,
    extended_charset: &'a [u8],
    /// `filename*0=`, `filename*0*=` …
    segments: Vec<Option<Segment<'a>>>,
    segments_charset: &'a [u8],
    /// Set by the first bad continuation: later ones do not count.
    segments_closed: bool,
    /// Where the single quotes of the whole text are: extended values look for theirs beyond their own end.
    quotes: Vec<usize>,
}

/// Where a parameter's value lies in the text.
struct Value {
    start: usize,
    end: usize,
    quoted: bool,
}

impl<'a> Parameters<'a> {
    pub(super) fn of(text: &'a [u8]) -> Self {
        let mut found = Self { quotes: memchr::memchr_iter(b'\'', text).collect(), ..Self::default() };
        let at = |i: usize| text.get(i).copied().unwrap_or(0);
        let skip = |mut i: usize, wanted: fn(u8) -> bool| {
            while i < text.len() && wanted(at(i)) {
                i += 1;
            }
            i
        };
        let start = skip(0, is_space);
        // Past the type: to the first separator. A value without one is read as parameters from its beginning.
        let mut pos = skip(start, |b| b != b';' && b != b',');
        pos = skip((pos + 1).min(text.len()), is_space);
        if pos == text.len() {
            pos = start;
        }
        while pos < text.len() {
            let name_start = pos;
            let name_end = skip(pos, |b| !is_space(b) && b != b'=' && b != b';');
            let name = text.get(name_start..name_end).unwrap_or_default();
            pos = skip(name_end, is_space);
            if pos == text.len() {
                break;
            }
            if at(pos) == b'=' {
                pos = skip(pos + 1, is_space);
                let value;
                (value, pos) = read_value(text, pos);
                found.take(text, name, &value);
            }
            pos = skip(pos, is_space);
            if at(pos) != b';' {
                break;
            }
            pos = skip(pos + 1, is_space);
        }
        found
    }

    fn take(&mut self, text: &'a [u8], name: &[u8], value: &Value) {
        let Some((head, tail)) = name.split_at_checked(8) else { return };
        if !head.eq_ignore_ascii_case(b"filename") {
            return;
        }
        let content = text.get(value.start..value.end).unwrap_or_default();
        let Some((b'*', number)) = tail.split_first() else {
            if tail.is_empty() && self.plain.is_none() {
                let line: Vec<u8> = content.iter().copied().filter(|b| !matches!(b, b'\r' | b'\n')).collect();
                self.plain = Some(if value.quoted { undo_all_quoted_pairs(&line) } else { line });
            }
            return;
        };
        if number.is_empty() {
            self.take_extended(text, value);
            return;
        }
        let (digits, percent) = match number.strip_suffix(b"*") {
            Some(digits) => (digits, true),
            None => (number, false),
        };
        let Some(index) = segment_number(digits) else {
            self.segments_closed = true;
            return;
        };
        if self.segments_closed {
            return;
        }
        if percent && number.first() == Some(&b'0') {
            let ext = ExtValue::of(text, value, &self.quotes);
            self.segments_charset = ext.charset;
            if let Some(raw) = ext.raw {
                self.add_segment(0, Segment { value: raw, percent, quoted: value.quoted });
            }
        } else {
            self.add_segment(index, Segment { value: content, percent, quoted: value.quoted });
        }
    }

    fn take_extended(&mut self, text: &'a [u8], value: &Value) {
        let ext = ExtValue::of(text, value, &self.quotes);
        // The charset of the last one counts, although the value of the first does.
        self.extended_charset = ext.charset;
        let Some(raw) = ext.raw else { return };
        if self.extended.is_some() {
            self.add_segment(0, Segment { value: raw, percent: true, quoted: value.quoted });
        } else if escapes_are_valid(text, ext.raw_start, raw.len()) {
            self.extended = Some(until_zero(encoding::percent_decode(raw)));
        }
    }

    fn add_segment(&mut self, index: usize, segment: Segment<'a>) {
        let taken = self.segments.get(index).is_some_and(Option::is_some);
        if taken || index > MAX_SEGMENT || (segment.percent && segment.quoted) {
            self.segments_closed = true;
            return;
        }
        if self.segments.len() <= index {
            self.segments.resize_with(index + 1, || None);
        }
        if let Some(slot) = self.segments.get_mut(index) {
            *slot = Some(segment);
        }
    }

    /// Octets and charset of the form that wins: extended, then continuations, then plain.
    pub(super) fn chosen(self) -> Option<(Vec<u8>, Vec<u8>)> {
        let mut joined = Vec::new();
        // A gap ends the series.
        for segment in self.segments.iter().map_while(Option::as_ref) {
            let octets = if segment.percent {
                encoding::percent_decode(segment.value)
            } else {
                segment.value.to_vec()
            };
            joined.extend(until_zero(if segment.quoted { undo_all_quoted_pairs(&octets) } else { octets }));
        }
        let extended = self.extended.filter(|octets| decodes(octets, self.extended_charset));
        let joined =
            Some(joined).filter(|octets| !octets.is_empty() && decodes(octets, self.segments_charset));
        extended
            .map(|octets| (octets, self.extended_charset.to_vec()))
            .or_else(|| joined.map(|octets| (octets, self.segments_charset.to_vec())))
            .or_else(|| self.plain.map(|octets| (octets, Vec::new())))
    }
}

/// Reads a value at `pos` and says where reading goes on. Unquoted values run to the next `;`.
fn read_value(text: &[u8], pos: usize) -> (Value, usize) {
    if text.get(pos) != Some(&b'"') {
        let mut end = text.iter().skip(pos).position(|&b| b == b';').map_or(text.len(), |n| pos + n);
        while end > pos && text.get(end - 1).copied().is_some_and(is_space) {
            end -= 1;
        }
        return (Value { start: pos, end, quoted: false }, end);
    }
    let start = pos + 1;
    let mut end = start;
    while let Some(&byte) = text.get(end) {
        match byte {
            b'\\' if end + 1 < text.len() => end += 2,
            b'"' => return (Value { start, end, quoted: true }, end + 1),
            _ => end += 1,
        }
    }
    (Value { start, end, quoted: true }, end)
}

/// `charset'language'value`, as leniently as Gecko takes it: quotes may be missing.
struct ExtValue<'a> {
    charset: &'a [u8],
    /// `None` when nothing is left for the value.
    raw: Option<&'a [u8]>,
    raw_start: usize,
}

impl<'a> ExtValue<'a> {
    fn of(text: &'a [u8], value: &Value, quotes: &[usize]) -> Self {
        // A quote found past the value's end leaves no value.
        let mut following = quotes.iter().skip(quotes.partition_point(|&quote| quote < value.start)).copied();
        let (first, second) = (following.next(), following.next());
        let raw_start = second.or(first).map_or(value.start, |quote| quote + 1);
        let charset = first.and_then(|first| text.get(value.start..first)).unwrap_or_default();
        let raw = text.get(raw_start..value.end).filter(|raw| !raw.is_empty());
        Self { charset, raw, raw_start }
    }
}

/// Whether every `%` in the value begins an escape. Digits may lie past the value's end, as in Gecko.
fn escapes_are_valid(text: &[u8], start: usize, len: usize) -> bool {
    (start..start + len)
        .filter(|&i| text.get(i) == Some(&b'%'))
        .all(|i| text.get(i..).and_then(encoding::percent_octet).is_some())
}

/// Whether octets can be what their charset says. Valid UTF-8 always can; no charset is no claim.
fn decodes(octets: &[u8], charset: &[u8]) -> bool {
    charset.is_empty()
        || std::str::from_utf8(octets).is_ok()
        || encoding::encoding_for(charset)
            .is_some_and(|e| e.decode_without_bom_handling_and_without_replacement(octets).is_some())
}

/// A decimal number without leading zeros, up to [`MAX_SEGMENT`].
fn segment_number(digits: &[u8]) -> Option<usize> {
    if digits.is_empty() || (digits.len() > 1 && digits.first() == Some(&b'0')) {
        return None;
    }
    digits.iter().try_fold(0usize, |number, &digit| {
        let digit = digit.is_ascii_digit().then(|| usize::from(digit - b'0'))?;
        Some(number * 10 + digit).filter(|&n| n <= MAX_SEGMENT)
    })
}
