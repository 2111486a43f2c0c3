//! HTML and XML: what a reader sees, and what stands in the tags.

use super::sink::Sink;

/// Tags that do not separate: what stands on both sides reads as one word. In Office files these are those of a run of
/// text and of how it looks.
const INLINE: [&[u8]; 27] = [
    b"a",
    b"abbr",
    b"b",
    b"bdi",
    b"bdo",
    b"cite",
    b"code",
    b"em",
    b"font",
    b"i",
    b"kbd",
    b"mark",
    b"s",
    b"small",
    b"span",
    b"strong",
    b"sub",
    b"sup",
    b"tt",
    b"u",
    b"wbr",
    b"r",
    b"t",
    b"rPr",
    b"text:span",
    b"text:a",
    b"tspan",
];
/// Prefixes of word processing and drawing (ECMA-376 part 1), of whose tags only those below separate.
const OFFICE: [&[u8]; 2] = [b"w:", b"a:"];
const SEPARATING: [&[u8]; 8] = [b"p", b"br", b"cr", b"tab", b"tc", b"tr", b"tbl", b"sectPr"];
/// Tags of a run of text in workbooks, which say how it looks.
const RUN_PROPERTIES: [&[u8]; 10] = [
    b"sz",
    b"color",
    b"rFont",
    b"family",
    b"scheme",
    b"charset",
    b"vertAlign",
    b"strike",
    b"outline",
    b"shadow",
];

fn separates(name: &[u8], inside: &[u8]) -> bool {
    let among = |list: &[&[u8]], name: &[u8]| list.iter().any(|known| known.eq_ignore_ascii_case(name));
    if let Some(local) = OFFICE.iter().find_map(|prefix| name.strip_prefix(*prefix)) {
        return among(&SEPARATING, local);
    }
    let is_property = inside.ends_with(b"/") && among(&RUN_PROPERTIES, name);
    !is_property && !among(&INLINE, name)
}

/// Longer is no name of a tag, but text behind its sign.
const LONGEST_NAME: usize = 12;
/// Longest reference to a character.
const LONGEST_REFERENCE: usize = 12;

/// Whether a text is worth reading as markup: it ends a tag, or refers to a character.
pub(super) fn plausible(text: &[u8]) -> bool {
    let has = |sign: &[u8]| memchr::memmem::find(text, sign).is_some();
    let tags = || memchr::memchr(b'<', text).is_some() && (has(b"</") || has(b"/>") || has(b"<wbr"));
    let refers = |at: usize| {
        let near = text.get(at + 1..).unwrap_or_default();
        let name = near.iter().take(LONGEST_REFERENCE);
        let len = name.take_while(|octet| octet.is_ascii_alphanumeric() || **octet == b'#').count();
        len > 0 && near.get(len) == Some(&b';')
    };
    tags() || memchr::memchr_iter(b'&', text).any(refers)
}

/// Text goes to the sink as it comes, tags and comments behind it.
pub(super) fn read(octets: &[u8], sink: &mut Sink) {
    let mut tags = Vec::new();
    text(octets, sink, &mut tags);
    aside(&tags, sink);
}

/// Text goes to the sink, what stands in tags to `tags`.
pub(super) fn text(octets: &[u8], sink: &mut Sink, tags: &mut Vec<u8>) {
    let mut rest = octets;
    while let Some(at) = memchr::memchr2(b'<', b'&', rest) {
        let (before, from) = rest.split_at(at);
        sink.octets(before);
        rest = match from {
            [b'<', behind @ ..] if matches!(behind, [b'a'..=b'z' | b'A'..=b'Z' | b'/' | b'!' | b'?', ..]) => {
                tag(behind, tags, sink)
            }
            [b'&', behind @ ..] => reference(behind, sink),
            [other, behind @ ..] => {
                sink.octet(*other);
                behind
            }
            [] => from,
        };
    }
    sink.octets(rest);
}

/// What stood in tags, as another text.
pub(super) fn aside(tags: &[u8], sink: &mut Sink) {
    if tags.is_empty() {
        return;
    }
    sink.new_text();
    let mut rest = tags;
    while let Some(at) = memchr::memchr(b'&', rest) {
        let (before, from) = rest.split_at(at);
        sink.octets(before);
        rest = reference(from.get(1..).unwrap_or_default(), sink);
    }
    sink.octets(rest);
}

/// Steps over a tag or a comment, and remembers what is in it. Returns what follows.
fn tag<'a>(octets: &'a [u8], tags: &mut Vec<u8>, sink: &mut Sink) -> &'a [u8] {
    let end = if let Some(comment) = octets.strip_prefix(b"!--") {
        let end = memchr::memmem::find(comment, b"-->");
        end.map_or(octets.len(), |end| end + b"!--".len() + b"--".len())
    } else {
        closing(octets)
    };
    let inside = octets.get(..end).unwrap_or(octets);
    let name = inside.strip_prefix(b"/").unwrap_or(inside);
    let name = name.split(|octet| octet.is_ascii_whitespace() || *octet == b'/').next().unwrap_or_default();
    if name == b"text:s" {
        // A blank of OpenDocument.
        sink.octet(b' ');
    } else if separates(name, inside) {
        sink.octet(b'\n');
    }
    // A name alone says nothing.
    if name.len() > LONGEST_NAME || inside.len() > name.len() + 2 {
        tags.extend_from_slice(inside);
        tags.push(b'\n');
    }
    octets.get(end + 1..).unwrap_or_default()
}

/// The place of the `>` that ends a tag: not one in quotes.
fn closing(octets: &[u8]) -> usize {
    let mut quote = None;
    for (index, octet) in octets.iter().enumerate() {
        match (quote, octet) {
            (None, b'>') => return index,
            (None, b'"' | b'\'') => quote = Some(octet),
            (Some(open), close) if open == close => quote = None,
            _ => {}
        }
    }
    // A quote that is never closed: the tag ends as if there were none.
    octets.iter().position(|octet| *octet == b'>').unwrap_or(octets.len())
}

/// `&amp;`, `&#52;`, `&#x34;`. Returns what follows.
fn reference<'a>(octets: &'a [u8], sink: &mut Sink) -> &'a [u8] {
    let near = octets.get(..LONGEST_REFERENCE).unwrap_or(octets);
    let name_end = near.iter().position(|octet| !octet.is_ascii_alphanumeric() && *octet != b'#');
    let (name, behind) = octets.split_at(name_end.unwrap_or(near.len()));
    let number = |digits: &[u8], radix| {
        let text = std::str::from_utf8(digits).ok()?;
        char::from_u32(u32::from_str_radix(text, radix).ok()?)
    };
    let character = match name {
        b"amp" => Some('&'),
        b"lt" => Some('<'),
        b"gt" => Some('>'),
        b"quot" => Some('"'),
        b"apos" => Some('\''),
        b"nbsp" | b"ensp" | b"emsp" | b"thinsp" | b"numsp" | b"puncsp" | b"hairsp" => Some(' '),
        b"hyphen" | b"dash" | b"ndash" | b"mdash" | b"minus" => Some('-'),
        b"period" => Some('.'),
        b"shy" => Some('\u{AD}'),
        b"zwnj" | b"zwj" => Some('\u{200B}'),
        b"equals" => Some('='),
        b"colon" => Some(':'),
        b"commat" => Some('@'),
        b"lowbar" => Some('_'),
        b"excl" => Some('!'),
        b"num" => Some('#'),
        b"dollar" => Some('$'),
        b"percnt" => Some('%'),
        [b'#', b'x' | b'X', digits @ ..] => number(digits, 16),
        [b'#', digits @ ..] => number(digits, 10),
        _ => None,
    };
    match character {
        Some(character) => {
            sink.character(character);
            behind.strip_prefix(b";").unwrap_or(behind)
        }
        None => {
            sink.octet(b'&');
            octets
        }
    }
}
