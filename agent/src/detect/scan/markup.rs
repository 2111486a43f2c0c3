//! HTML and XML: what a reader sees, and what stands in the tags.

use super::sink::Sink;

/// Tags that do not separate: what stands on both sides reads as one word. In Office files these are those of a run of
/// text and of how it looks.
const INLINE: [&[u8]; 26] = [
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

/// Longest reference to a character.
const LONGEST_REFERENCE: usize = 12;

/// Text goes to the sink as it comes, tags and comments behind it.
pub(super) fn read(octets: &[u8], sink: &mut Sink) {
    let mut tags = Vec::new();
    let mut rest = octets;
    while let Some((octet, behind)) = rest.split_first() {
        rest = match octet {
            b'<' if matches!(behind, [b'a'..=b'z' | b'A'..=b'Z' | b'/' | b'!' | b'?', ..]) => {
                tag(behind, &mut tags, sink)
            }
            b'&' => reference(behind, sink),
            other => {
                sink.octet(*other);
                behind
            }
        };
    }
    sink.new_text();
    for tag in tags {
        let mut rest = tag;
        while let Some((octet, behind)) = rest.split_first() {
            rest = match octet {
                b'&' => reference(behind, sink),
                other => {
                    sink.octet(*other);
                    behind
                }
            };
        }
        sink.octet(b'\n');
    }
}

/// Steps over a tag or a comment, and remembers what is in it. Returns what follows.
fn tag<'a>(octets: &'a [u8], tags: &mut Vec<&'a [u8]>, sink: &mut Sink) -> &'a [u8] {
    let end = if let Some(comment) = octets.strip_prefix(b"!--") {
        let end = comment.windows(3).position(|window| window == b"-->");
        end.map_or(octets.len(), |end| end + b"!--".len() + b"--".len())
    } else {
        closing(octets)
    };
    let inside = octets.get(..end).unwrap_or(octets);
    let name = inside.strip_prefix(b"/").unwrap_or(inside);
    let name = name.split(|octet| octet.is_ascii_whitespace() || *octet == b'/').next().unwrap_or_default();
    if separates(name, inside) {
        sink.octet(b'\n');
    }
    // A tag without attributes says nothing.
    if inside.contains(&b'=') || inside.starts_with(b"!") {
        tags.push(inside);
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
        b"nbsp" => Some(' '),
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
