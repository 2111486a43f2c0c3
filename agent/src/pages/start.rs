//! Where in an HTML page something goes that is to come first: behind what only describes it, before anything that acts.

/// Octets of a page within which its start is looked for.
pub const MAX_START: usize = 8 << 10;

/// How a page starts, as far as it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Start {
    /// Octets before the place. Between two tokens, whatever follows.
    pub at: usize,
    /// More octets would not move it.
    pub settled: bool,
    /// A byte order mark of UTF-16 (Encoding Standard section 6).
    pub utf16: bool,
}

impl Start {
    /// Goes over a byte order mark, blanks, comments, DOCTYPE, `<html>`, `<head>` and a `<meta>` that names the encoding
    /// (HTML Standard section 13.2.5). The place is in `<head>` where the page has one, because what comes first may
    /// neither take a page out of standards mode nor decide its encoding.
    pub fn of(page: &[u8]) -> Self {
        let unsettled = |at| Self { at, settled: false, utf16: false };
        let mut at = match page {
            [0xFE, 0xFF, ..] | [0xFF, 0xFE, ..] => return Self { at: 0, settled: true, utf16: true },
            [0xEF, 0xBB, 0xBF, ..] => 3,
            [] | [0xEF | 0xFE | 0xFF] | [0xEF, 0xBB] => return unsettled(0),
            _ => 0,
        };
        loop {
            let rest = page.get(at..).unwrap_or_default();
            let blank = rest.iter().take_while(|octet| is_blank(**octet)).count();
            let rest = rest.get(blank..).unwrap_or_default();
            match token(rest) {
                Token::Over(octets) => at += blank + octets,
                Token::Unfinished if page.len() < MAX_START => return unsettled(at),
                Token::Unfinished | Token::Other => return Self { at, settled: true, utf16: false },
            }
        }
    }
}

enum Token {
    /// One to go over, of so many octets.
    Over(usize),
    Unfinished,
    Other,
}

fn token(rest: &[u8]) -> Token {
    const COMMENT: &[u8] = b"<!--";
    const DOCTYPE: &[u8] = b"<!doctype";
    const TAGS: [&[u8]; 3] = [b"<html", b"<head", b"<meta"];
    let begins = |word: &[u8]| rest.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word));
    let may_begin = |word: &[u8]| {
        rest.len() < word.len()
            && word.get(..rest.len()).is_some_and(|start| start.eq_ignore_ascii_case(rest))
    };
    let end = |length: Option<usize>| length.map_or(Token::Unfinished, Token::Over);
    if begins(COMMENT) {
        return end(comment(rest));
    }
    if begins(DOCTYPE) {
        return end(rest.iter().position(|octet| *octet == b'>').map(|at| at + 1));
    }
    if let Some(name) = TAGS.into_iter().find(|name| begins(name)) {
        return match rest.get(name.len()) {
            None => Token::Unfinished,
            Some(next) if is_blank(*next) || matches!(next, b'/' | b'>') => match tag(rest, name.len()) {
                None => Token::Unfinished,
                Some(length)
                    if name == b"<meta" && !names_encoding(rest.get(..length).unwrap_or_default()) =>
                {
                    Token::Other
                }
                Some(length) => Token::Over(length),
            },
            Some(_) => Token::Other,
        };
    }
    let known = TAGS.into_iter().chain([COMMENT, DOCTYPE]);
    if known.into_iter().any(may_begin) { Token::Unfinished } else { Token::Other }
}

const fn is_blank(octet: u8) -> bool {
    matches!(octet, b' ' | b'\t' | b'\n' | 0x0C | b'\r')
}

/// Length of a comment with its delimiters (HTML Standard sections 13.2.5.43 to 13.2.5.51).
fn comment(rest: &[u8]) -> Option<usize> {
    let text = rest.get(4..)?;
    for abrupt in [&b">"[..], b"->"] {
        if text.starts_with(abrupt) {
            return Some(4 + abrupt.len());
        }
    }
    // Its end may share no dash with its beginning, but "--!>" ends it as well.
    let ends = |at: usize| {
        let rest = text.get(at..).unwrap_or_default();
        [&b"-->"[..], b"--!>"].into_iter().find(|end| rest.starts_with(end)).map(|end| 4 + at + end.len())
    };
    (0..text.len()).find_map(ends)
}

/// Length of a start tag: an end in quotes is none (HTML Standard sections 13.2.5.32 to 13.2.5.40).
fn tag(rest: &[u8], name: usize) -> Option<usize> {
    #[derive(Clone, Copy)]
    enum State {
        BeforeName,
        Name,
        AfterName,
        BeforeValue,
        Quoted(u8),
        Unquoted,
    }
    let mut state = State::BeforeName;
    for (at, octet) in rest.iter().copied().enumerate().skip(name) {
        let blank = is_blank(octet);
        state = match (state, octet) {
            (State::Quoted(quote), _) if octet == quote => State::BeforeName,
            (State::Quoted(_), _) => continue,
            (_, b'>') => return Some(at + 1),
            (State::BeforeValue, b'"' | b'\'') => State::Quoted(octet),
            (State::BeforeValue, _) if blank => State::BeforeValue,
            (State::BeforeValue, _) => State::Unquoted,
            (State::Unquoted, _) if blank => State::BeforeName,
            (State::Unquoted, _) => State::Unquoted,
            (_, b'/') => State::BeforeName,
            (State::Name | State::AfterName, b'=') => State::BeforeValue,
            (State::Name, _) if blank => State::AfterName,
            (State::BeforeName | State::AfterName, _) if blank => state,
            (State::BeforeName | State::Name | State::AfterName, _) => State::Name,
        };
    }
    None
}

/// Whether a `<meta>` does nothing but name the encoding. What could hold more in disguise does not.
fn names_encoding(tag: &[u8]) -> bool {
    let tag = tag.to_ascii_lowercase();
    let has = |word: &[u8]| tag.windows(word.len()).any(|found| found == word);
    has(b"charset") && !has(b"&") && !has(b"policy") && !has(b"refresh")
}
