//! The text of an export as it is saved: UTF-8, or what Windows PowerShell writes into a file, UTF-16 with a mark.

/// The text without its mark.
///
/// # Errors
/// Neither UTF-8 nor, by its mark, UTF-16; in words.
pub fn decode(octets: Vec<u8>) -> Result<String, String> {
    let unit: fn([u8; 2]) -> u16 = match octets.as_slice() {
        [0xff, 0xfe, ..] => u16::from_le_bytes,
        [0xfe, 0xff, ..] => u16::from_be_bytes,
        _ => return utf8(octets),
    };
    let (pairs, rest) = octets.as_chunks::<2>();
    let text = String::from_utf16(&pairs.iter().skip(1).map(|pair| unit(*pair)).collect::<Vec<_>>());
    match text {
        Ok(text) if rest.is_empty() => Ok(text),
        _ => Err("its mark says UTF-16, and it is none: save it in UTF-8".to_owned()),
    }
}

fn utf8(octets: Vec<u8>) -> Result<String, String> {
    match String::from_utf8(octets) {
        Ok(text) => Ok(text.strip_prefix('\u{feff}').map_or_else(|| text.clone(), str::to_owned)),
        Err(error) => {
            let at = error.utf8_error().valid_up_to();
            let before = error.as_bytes().get(..at).unwrap_or_default();
            let line = 1 + before.iter().filter(|octet| **octet == b'\n').count();
            Err(format!("line {line} is not UTF-8: save it in UTF-8"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn either_is_read_by_its_mark() {
        let text = "{\"a\": \"ä🙂\"}\n";
        let wide = |octets: fn(u16) -> [u8; 2]| -> Vec<u8> {
            "\u{feff}".encode_utf16().chain(text.encode_utf16()).flat_map(octets).collect()
        };
        assert_eq!(decode(wide(u16::to_le_bytes)).as_deref(), Ok(text));
        assert_eq!(decode(wide(u16::to_be_bytes)).as_deref(), Ok(text));
        assert_eq!(decode(text.into()).as_deref(), Ok(text));
        assert_eq!(decode(format!("\u{feff}{text}").into()).as_deref(), Ok(text));
    }

    #[test]
    fn what_is_neither_is_refused() {
        for bad in [&b"\xff\xfea"[..], b"\xff\xfe\x00\xd8", b"\xfe\xff\xdc\x00"] {
            assert!(decode(bad.into()).unwrap_err().contains("UTF-16"));
        }
        assert!(decode(b"a\n\xe4".into()).unwrap_err().starts_with("line 2 is not UTF-8"));
    }
}
