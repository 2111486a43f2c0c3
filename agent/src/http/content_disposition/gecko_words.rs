//! RFC 2047 encoded words as Gecko decodes them inside parameter values: anywhere in the text, adjacent ones of the same
//! kind joined before decoding, blanks between them dropped.

use super::encoding::{self, Padding};

/// Characters that end a charset name.
const ESPECIALS: &[u8] = b"()<>@,;:\\\"/[]?.=";

/// Decodes all encoded words of `text`. What is no encoded word is kept; CR and LF go.
pub(super) fn decode(text: &[u8]) -> Vec<u8> {
    let folded = text.iter().any(|b| matches!(b, b'\r' | b'\n'));
    let has_words = find(text, b"=?", 0).is_some();
    if !has_words && !folded {
        return text.to_vec();
    }
    let decoded = if has_words { Decoder::run(text) } else { text.to_vec() };
    // An empty result counts as none: the text then stays as it was.
    let unfolded = unfold(&decoded);
    if unfolded.is_empty() { text.to_vec() } else { unfolded }
}

/// Line breaks before a tab become one space with it, other line breaks vanish.
fn unfold(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.iter().copied().peekable();
    while let Some(byte) = rest.next() {
        match byte {
            b'\r' | b'\n' => {
                if rest.next_if_eq(&b'\t').is_some() {
                    out.push(b' ');
                }
            }
            other => out.push(other),
        }
    }
    out
}

fn find(text: &[u8], wanted: &[u8], from: usize) -> Option<usize> {
    memchr::memmem::find(text.get(from..)?, wanted).map(|at| from + at)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Scheme {
    Quoted,
    Base64,
}

/// A well-formed `=?charset?scheme?content?=`.
struct Word<'a> {
    charset: &'a [u8],
    scheme: Scheme,
    content: &'a [u8],
    /// Behind the closing `?=`.
    end: usize,
}

/// Encoded text that waits for more of its kind.
struct Pending<'a> {
    charset: &'a [u8],
    scheme: Scheme,
    content: Vec<u8>,
}

#[derive(Default)]
struct Decoder<'a> {
    out: Vec<u8>,
    pending: Option<Pending<'a>>,
}

impl<'a> Decoder<'a> {
    fn run(text: &'a [u8]) -> Vec<u8> {
        let mut decoder = Self::default();
        let mut begin = 0;
        let mut after_word = false;
        while let Some(start) = find(text, b"=?", begin) {
            let between = text.get(begin..start).unwrap_or_default();
            let blanks_only = between.iter().all(|b| matches!(b, b' ' | b'\t' | b'\r' | b'\n'));
            if !after_word || !blanks_only {
                decoder.flush();
                decoder.out.extend_from_slice(between);
                begin = start;
            }
            match word_at(text, start) {
                Some(word) => {
                    begin = word.end;
                    after_word = true;
                    if !word.content.is_empty() {
                        decoder.push(word);
                    }
                }
                None => {
                    decoder.flush();
                    decoder.out.extend_from_slice(text.get(begin..start + 2).unwrap_or_default());
                    begin = start + 2;
                    after_word = false;
                }
            }
        }
        decoder.flush();
        decoder.out.extend_from_slice(text.get(begin..).unwrap_or_default());
        decoder.out.iter().map(|&b| if b == b'\t' { b' ' } else { b }).collect()
    }

    /// Takes a word. One that ends in `=` is complete in itself; any other waits for its successor.
    fn push(&mut self, word: Word<'a>) {
        let complete = word.content.ends_with(b"=");
        let same = |p: &Pending| p.charset == word.charset && p.scheme == word.scheme;
        match self.pending.take() {
            Some(mut pending) if same(&pending) => {
                pending.content.extend_from_slice(word.content);
                self.pending = Some(pending);
                if complete {
                    self.flush();
                }
            }
            None if !complete => {
                self.pending = Some(Pending {
                    charset: word.charset,
                    scheme: word.scheme,
                    content: word.content.to_vec(),
                });
            }
            other => {
                self.pending = other;
                self.flush();
                // A word on its own that does not decode is lost, unlike a series.
                self.out.extend(decoded(word.charset, word.scheme, word.content).unwrap_or_default());
            }
        }
    }

    /// Decodes what waits; text that does not decode is kept as it is.
    fn flush(&mut self) {
        let Some(pending) = self.pending.take() else { return };
        match decoded(pending.charset, pending.scheme, &pending.content) {
            Some(text) => self.out.extend_from_slice(&text),
            None => self.out.extend_from_slice(&pending.content),
        }
    }
}

/// The word that begins with the `=?` at `start`, if it is well-formed up to its `?=`.
fn word_at(text: &[u8], start: usize) -> Option<Word<'_>> {
    let rest = text.get(start + 2..)?;
    let charset_len = rest.iter().position(|&b| b == b'?')?;
    let (label, rest) = rest.split_at(charset_len);
    if label.iter().any(|&b| b <= b' ' || b >= 0x80 || ESPECIALS.contains(&b)) {
        return None;
    }
    // RFC 2231 section 5: a language may follow the charset.
    let charset = label.split(|&b| b == b'*').next().unwrap_or_default();
    let ([_, scheme, b'?'], rest) = rest.split_first_chunk::<3>()? else { return None };
    let scheme = match scheme {
        b'q' | b'Q' => Scheme::Quoted,
        b'b' | b'B' => Scheme::Base64,
        _ => return None,
    };
    let len = memchr::memmem::find(rest, b"?=")?;
    let content = rest.get(..len)?;
    if content.iter().any(|b| !(b' '..0x80).contains(b)) {
        return None;
    }
    let end = start + 2 + charset_len + 3 + len + 2;
    let surplus = scheme == Scheme::Base64 && len % 4 == 1 && content.ends_with(b"===");
    let content = if surplus { content.get(..len - 1)? } else { content };
    Some(Word { charset, scheme, content, end })
}

fn decoded(charset: &[u8], scheme: Scheme, content: &[u8]) -> Option<Vec<u8>> {
    let mut octets = match scheme {
        Scheme::Quoted => {
            let mut octets = encoding::q_decode(content, |b| b < 0x80)?;
            octets.iter_mut().filter(|b| **b == b'\t').for_each(|b| *b = b' ');
            octets
        }
        Scheme::Base64 => encoding::base64_decode(content, Padding::Optional)?,
    };
    octets.truncate(octets.iter().position(|&b| b == 0).unwrap_or(octets.len()));
    let stateful = ["iso-2022", "hz-gb", "utf-7"].iter().any(|prefix| {
        charset.get(..prefix.len()).is_some_and(|head| head.eq_ignore_ascii_case(prefix.as_bytes()))
    });
    if !stateful && std::str::from_utf8(&octets).is_ok() {
        return Some(octets);
    }
    match encoding::encoding_for(charset) {
        Some(encoding) => Some(encoding::decode_lossy(&octets, encoding).into_owned().into_bytes()),
        None => std::str::from_utf8(&octets).is_ok().then_some(octets),
    }
}
