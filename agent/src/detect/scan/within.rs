//! Texts within texts: what a string of JSON or a field of a form holds, its escapes undone.

use super::sink::Sink;
use super::{Unscanned, json, markup};

/// `aside` takes what stands in tags; it is read when the text around has been.
pub(super) fn read(
    text: &[u8],
    complete: bool,
    depth: usize,
    sink: &mut Sink,
    aside: &mut Vec<u8>,
) -> Option<Unscanned> {
    let json = matches!(text.trim_ascii_start(), [b'{' | b'[', ..]) && memchr::memchr(b'\\', text).is_some();
    match depth.checked_sub(1) {
        Some(depth) if json => return json::values(text, complete, depth, sink, aside),
        _ if markup::plausible(text) => markup::text(text, sink, aside),
        _ => sink.octets(text),
    }
    None
}
