//! Content codings (RFC 9110 section 8.4), undone as far as a bound.

use std::borrow::Cow;
use std::io::{ErrorKind, Read};

use super::{Held, MAX_DECODED, Unscanned};
use crate::http::content_coding::{ContentCoding, MAX_CODINGS, codings, decoder};
use crate::http::head::Fields;

/// A body without its codings.
pub(super) struct Decoded<'a> {
    pub octets: Cow<'a, [u8]>,
    pub unscanned: Option<Unscanned>,
}

pub(super) fn undo<'a>(fields: &Fields, held: Held<'a>) -> Result<Decoded<'a>, Unscanned> {
    let codings: Vec<Option<ContentCoding>> = codings(fields).collect();
    if codings.is_empty() {
        return Ok(Decoded { octets: Cow::Borrowed(held.octets), unscanned: None });
    }
    if codings.len() > MAX_CODINGS {
        return Err(Unscanned::Broken);
    }
    let mut reader: Box<dyn Read + 'a> = Box::new(held.octets);
    for coding in codings.into_iter().rev() {
        let coding = coding.ok_or(Unscanned::UnknownCoding)?;
        reader = decoder(coding, reader).map_err(|_| Unscanned::Broken)?;
    }
    let mut octets = Vec::new();
    let bound = MAX_DECODED as u64 + 1;
    let unscanned = match reader.take(bound).read_to_end(&mut octets) {
        Ok(_) if octets.len() > MAX_DECODED => {
            octets.truncate(MAX_DECODED);
            Some(Unscanned::TooLarge)
        }
        Ok(_) => None,
        // Of a body that is not held whole the end is missing.
        Err(error) if error.kind() == ErrorKind::UnexpectedEof && !held.complete => None,
        Err(_) => Some(Unscanned::Broken),
    };
    Ok(Decoded { octets: Cow::Owned(octets), unscanned })
}
