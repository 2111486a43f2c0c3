//! Alt-Svc (RFC 7838): which alternatives may stay in a response when QUIC is refused.
//!
//! A client that remembers an HTTP/3 alternative tries it first for as long as `ma` says, and waits for it to fail. The
//! field is the only one of a response that is changed on its way.

use std::borrow::Cow;

use super::h1::syntax::is_token_char;
use super::head::Fields;

/// The field's name.
const NAME: &str = "Alt-Svc";
/// Octets of the field over all its lines; origins send one or two hundred.
const MAX_LENGTH: usize = 8 * 1024;
/// Alternatives in it.
const MAX_ALTERNATIVES: usize = 64;
/// Octets of an ALPN identifier that is compared; the longest that is kept has eight.
const MAX_PROTOCOL: usize = 16;
/// What runs over TCP and TLS, where the agent sees it. Everything else goes: `h3`, its drafts, `quic`, what comes next.
const KEPT: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// What became of the field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// There was none, or nothing in it was to go: not an octet of it changed.
    Untouched,
    /// Some alternatives went.
    Shortened,
    /// All of them went, or the field could not be read.
    Removed,
}

/// Takes every alternative out of the fields that is not for TCP.
pub fn without_quic(fields: &mut Fields) -> Change {
    let kept = {
        let mut lines = fields.get_all(NAME);
        let Some(first) = lines.next() else { return Change::Untouched };
        let joined = match lines.next() {
            None => Cow::Borrowed(first),
            Some(_) => Cow::Owned(fields.get_all(NAME).collect::<Vec<_>>().join(&b","[..])),
        };
        match read(&joined) {
            Some(Value::Clear) => return Change::Untouched,
            Some(Value::Alternatives { kept, all: true }) if !kept.is_empty() => return Change::Untouched,
            Some(Value::Alternatives { kept, .. }) => kept.join(&b", "[..]),
            None => Vec::new(),
        }
    };
    if kept.is_empty() {
        fields.remove(NAME);
        return Change::Removed;
    }
    fields.set(NAME, &kept);
    Change::Shortened
}

enum Value<'a> {
    Clear,
    /// The alternatives that stay, as they were written; whether that is all of them.
    Alternatives {
        kept: Vec<&'a [u8]>,
        all: bool,
    },
}

/// `None` for what is not in the grammar of section 3, or out of its bounds.
fn read(value: &[u8]) -> Option<Value<'_>> {
    if value.len() > MAX_LENGTH {
        return None;
    }
    if value.trim_ascii() == b"clear" {
        return Some(Value::Clear);
    }
    let (mut kept, mut all, mut count) = (Vec::new(), true, 0);
    let mut rest = value;
    loop {
        rest = rest.trim_ascii_start();
        match rest {
            [] => break,
            // Empty members of a list are allowed (RFC 9110 section 5.6.1.2).
            [b',', tail @ ..] => {
                rest = tail;
                continue;
            }
            _ => {}
        }
        count += 1;
        if count > MAX_ALTERNATIVES {
            return None;
        }
        let (stays, after) = alternative(rest)?;
        let written = rest.get(..rest.len() - after.len())?.trim_ascii_end();
        if stays {
            kept.push(written);
        } else {
            all = false;
        }
        rest = match after {
            [] => after,
            [b',', tail @ ..] => tail,
            _ => return None,
        };
    }
    Some(Value::Alternatives { kept, all })
}

/// One alternative with its parameters: whether it stays, and what stands behind it, from the comma on.
fn alternative(text: &[u8]) -> Option<(bool, &[u8])> {
    let (protocol, rest) = token(text)?;
    let stays = if protocol.contains(&b'%') {
        decoded(protocol).is_some_and(|id| KEPT.contains(&id.as_slice()))
    } else {
        KEPT.contains(&protocol)
    };
    let mut rest = quoted(rest.strip_prefix(b"=")?)?.trim_ascii_start();
    while let Some(parameter) = rest.strip_prefix(b";") {
        let (_, value) = token(parameter.trim_ascii_start())?;
        let value = value.strip_prefix(b"=")?;
        let after = match value.first() {
            Some(b'"') => quoted(value)?,
            _ => token(value)?.1,
        };
        rest = after.trim_ascii_start();
    }
    Some((stays, rest))
}

/// A token and what is behind it.
fn token(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = text.iter().position(|byte| !is_token_char(*byte)).unwrap_or(text.len());
    if end == 0 { None } else { text.split_at_checked(end) }
}

/// What is behind a quoted string (RFC 9110 section 5.6.4).
fn quoted(text: &[u8]) -> Option<&[u8]> {
    let mut rest = text.strip_prefix(b"\"")?;
    loop {
        rest = match rest {
            [b'"', tail @ ..] => return Some(tail),
            [b'\\', _, tail @ ..] | [_, tail @ ..] => tail,
            [] => return None,
        };
    }
}

/// The ALPN identifier behind a protocol-id, in which octets that no token can hold are percent-encoded (section 3).
fn decoded(protocol: &[u8]) -> Option<Vec<u8>> {
    let mut id = Vec::with_capacity(MAX_PROTOCOL);
    let mut rest = protocol;
    while let [first, tail @ ..] = rest {
        let (byte, tail) = match (first, tail) {
            (b'%', [high, low, tail @ ..]) => {
                let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|d| u8::try_from(d).ok());
                (digit(*high)? << 4 | digit(*low)?, tail)
            }
            (b'%', _) => return None,
            _ => (*first, tail),
        };
        if id.len() == MAX_PROTOCOL {
            return None;
        }
        id.push(byte);
        rest = tail;
    }
    Some(id)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(lines: &[&str], change: Change, expected: &[&str]) {
        let mut fields: Fields = lines.iter().map(|line| ("Alt-Svc", *line)).collect();
        fields.push(b"Server", b"origin");
        assert_eq!(without_quic(&mut fields), change, "{lines:?}");
        let left: Vec<_> =
            fields.get_all("alt-svc").map(|v| String::from_utf8_lossy(v).into_owned()).collect();
        assert_eq!(left, expected, "{lines:?}");
        assert_eq!(fields.get("server"), Some(&b"origin"[..]));
    }

    #[test]
    fn what_browsers_and_servers_send() {
        check(&[], Change::Untouched, &[]);
        check(&["clear"], Change::Untouched, &["clear"]);
        check(&["h3=\":443\"; ma=86400"], Change::Removed, &[]);
        check(&["h3=\":443\"; ma=2592000,h3-29=\":443\"; ma=2592000"], Change::Removed, &[]);
        check(&["quic=\":443\"; ma=2592000; v=\"46,43\""], Change::Removed, &[]);
        check(
            &["h3=\":443\"; ma=60, h2=\"alt.example:8443\"; ma=60; persist=1"],
            Change::Shortened,
            &["h2=\"alt.example:8443\"; ma=60; persist=1"],
        );
        let untouched = "h2=\":8443\" ;ma=1 ,,http%2F1.1=\"a:1\"";
        check(&[untouched], Change::Untouched, &[untouched]);
        check(
            &["h2=\":1\"", "h3=\":2\"", "http%2f1.1=\":3\""],
            Change::Shortened,
            &["h2=\":1\", http%2f1.1=\":3\""],
        );
    }

    #[test]
    fn what_is_written_to_be_overlooked_goes_too() {
        check(&["h%33=\":443\""], Change::Removed, &[]);
        check(
            &["h2=\":1\"; x=\"\\\",h3=\\\":443\"; ma=1"],
            Change::Untouched,
            &["h2=\":1\"; x=\"\\\",h3=\\\":443\"; ma=1"],
        );
        for broken in [
            "h3",
            "h2",
            "h2=:443",
            "h2=\":443",
            "h2=\":443\" h3=\":443\"",
            "h2=\":443\"; ma",
            "h2=\":443\";",
            "clear, h2=\":1\"",
            "CLEAR",
            "=\":443\"",
            "h2 =\":443\"",
            "h%3=\":443\"",
            "h2=\":443\"\\",
            "",
        ] {
            check(&[broken], Change::Removed, &[]);
        }
        check(&["clear", "h3=\":443\""], Change::Removed, &[]);
        let many = vec!["h2=\":1\""; MAX_ALTERNATIVES + 1].join(",");
        check(&[&many], Change::Removed, &[]);
        let long = format!("h2=\":1\"; x=\"{}\"", "a".repeat(MAX_LENGTH));
        check(&[&long], Change::Removed, &[]);
    }

    proptest! {
        /// Whatever came in, nothing that is left names QUIC, and what is left is left alone the second time.
        #[test]
        fn nothing_of_quic_is_left(
            lines in prop::collection::vec("(h[23]|h%33|quic|clear|h3-29|[a-z%=\";, \\\\0-9]{0,12})(=\":[0-9]{1,3}\")?(; ?ma=\"?[0-9]{1,2}\"?)?[,;]?", 0..4)
        ) {
            let mut fields: Fields = lines.iter().map(|line| ("alt-svc", line.as_str())).collect();
            without_quic(&mut fields);
            let left: Vec<Vec<u8>> = fields.get_all("alt-svc").map(<[u8]>::to_vec).collect();
            if let Some(Value::Alternatives { all, .. }) = read(&left.join(&b","[..])) {
                prop_assert!(all, "{left:?}");
            } else {
                prop_assert!(left == [b"clear".to_vec()], "{left:?}");
            }
            prop_assert_eq!(without_quic(&mut fields), Change::Untouched);
        }

        #[test]
        fn bytes_of_any_kind_are_read_without_harm(value in prop::collection::vec(any::<u8>(), 0..64)) {
            let mut fields: Fields = [("alt-svc", value)].into_iter().collect();
            without_quic(&mut fields);
        }
    }
}
