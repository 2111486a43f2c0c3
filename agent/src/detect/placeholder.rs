//! What stands where a password or a key goes, and is none: words about it, masks, variables, references.

use super::text::{alphanumeric, word};

/// What people write where a password goes: variables, masks, words about it.
pub(super) fn is_placeholder(value: &[u8]) -> bool {
    const WORDS: [&[u8]; 22] = [
        b"password",
        b"passwort",
        b"passwd",
        b"required",
        b"optional",
        b"string",
        b"changeme",
        b"change_me",
        b"change-me",
        b"changeit",
        b"example",
        b"redacted",
        b"hidden",
        b"masked",
        b"undefined",
        b"invalid",
        b"incorrect",
        b"secret",
        b"mypassword",
        b"none",
        b"removed",
        b"unchanged",
    ];
    const BEGINNINGS: [&[u8]; 18] = [
        b"your",
        b"enter",
        b"insert",
        b"replace",
        b"http",
        b"process.env",
        b"os.environ",
        b"example",
        b"placeholder",
        // References to where it is kept, and tags of YAML that read it from there.
        b"env:",
        b"vault:",
        b"ref+",
        b"op://",
        b"!vault",
        b"!secret",
        b"!env",
        b"!ref",
        b"!sub",
    ];
    const SIGNS: &[u8] = b"<${%[*(/@";
    let begins = |word: &[u8]| value.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word));
    // A real one may begin with a sign, but is not closed by its counterpart.
    let variable = match value {
        [b'$' | b'%' | b'@' | b'#', b'{' | b'(', ..] | [b'<' | b'{' | b'[' | b'(' | b'/', ..] => true,
        [first, .., last] if first == last && SIGNS.contains(first) => true,
        [b'$' | b'*', rest @ ..] => {
            rest.iter().all(|octet| word(*octet)) && !rest.iter().any(u8::is_ascii_digit)
        }
        _ => false,
    };
    let first = value.first().copied().unwrap_or_default();
    let mask = value.iter().all(|octet| *octet == first)
        // U+2022 and U+25CF, in UTF-8.
        || value.chunks(3).all(|octets| matches!(octets, [0xE2, 0x80, 0xA2] | [0xE2, 0x97, 0x8F]));
    // A call or a member of something: code, not a value.
    let code = value.contains(&b'(')
        || value.contains(&b'.')
            && value.iter().all(|octet| octet.is_ascii_alphabetic() || matches!(octet, b'.' | b'_'));
    variable
        || is_named_after_a_password(value)
        || mask
        || code
        || BEGINNINGS.iter().any(|word| begins(word))
        || WORDS.iter().any(|word| value.eq_ignore_ascii_case(word))
}

/// `my_password`, `__PASSWORD__`, `@password`: the name of one.
fn is_named_after_a_password(value: &[u8]) -> bool {
    const NAMES: [&[u8]; 7] =
        [b"password", b"passwort", b"passwd", b"passphrase", b"passcode", b"pwd", b"pass"];
    if value.iter().any(u8::is_ascii_digit) {
        return false;
    }
    let mut words = value.split(|octet| !alphanumeric(*octet)).filter(|word| !word.is_empty());
    let last = words.next_back().unwrap_or_default();
    // Alone, `pass!` may be one.
    let beside = words.next().is_some() || value.starts_with(b"_") || value.starts_with(b"@");
    let joins = |octet: &u8| alphanumeric(*octet) || b"_-.@:".contains(octet);
    beside && NAMES.iter().any(|name| last.eq_ignore_ascii_case(name)) && value.iter().all(joins)
}
