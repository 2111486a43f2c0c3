//! Credentials that can be told by their own form: a prefix their issuer gave them, and an alphabet with a length.

use super::stream::{AHEAD, BEHIND, Found};
use super::text::{Text, alphanumeric, base64url, word};
use super::{Detector, slack};

/// Longest prefix before the punctuation that gives a token away.
const LONGEST_PREFIX: usize = 8;
/// A longer credential counts by its first part.
pub(super) const LONGEST: usize = 255;
/// Characters of a private key that must follow its first line: less is a placeholder.
const KEY_MATERIAL: usize = 64;
/// Characters in a row that are a line of one.
const KEY_LINE: usize = 32;
/// Characters of a JSON Web Token's first two parts (RFC 7519): the shortest that can name an algorithm.
const JWT_PART: usize = 19;

/// Looks at the punctuation within a token, or at the `A` some begin with.
pub(super) fn find(text: &Text<'_>, at: usize) -> Found {
    match text.at(at) {
        b'A' => token_at(text, at),
        b'~' => at.checked_sub(5).and_then(|start| azure_ad_secret(text, start)),
        b'-' if text.before(at, 1) == b'-' => None,
        b'-' if text.starts_with(at, b"-----BEGIN ") => private_key(text, at),
        b'.' if text.starts_with(at, b".ey") => {
            let header = text.run_before(at, BEHIND, base64url);
            jwt(text, at - header)
        }
        b'.' if text.starts_with(at, b".slack.com/") => slack::webhook(text, at),
        _ => token_at(text, at - text.run_before(at, LONGEST_PREFIX, alphanumeric)),
    }
}

/// A token that begins at `start`.
pub(super) fn token_at(text: &Text<'_>, start: usize) -> Found {
    if word(text.before(start, 1)) {
        return None;
    }
    let found = |detector, end: Option<usize>| end.map(|end| (detector, end));
    match text.at(start) {
        b'A' => found(Detector::AwsAccessKey, aws(text, start))
            .or_else(|| found(Detector::GcpApiKey, exactly(text, start, b"AIza", 35, base64url)))
            .or_else(|| {
                found(Detector::GenericSecret, exactly(text, start, b"AGE-SECRET-KEY-1", 58, alphanumeric))
            }),
        b'e' => jwt(text, start),
        b'g' => found(Detector::GithubToken, github(text, start))
            .or_else(|| found(Detector::GitlabToken, gitlab(text, start)))
            .or_else(|| found(Detector::GenericSecret, grafana(text, start))),
        b'n' => found(Detector::NpmToken, exactly(text, start, b"npm_", 36, alphanumeric)),
        b's' | b'r' => found(Detector::StripeKey, stripe(text, start))
            .or_else(|| found(Detector::GenericSecret, other(text, start))),
        b'x' => found(Detector::SlackToken, slack::token(text, start)),
        _ => found(Detector::GenericSecret, other(text, start)).or_else(|| azure_ad_secret(text, start)),
    }
}

/// A key in hexadecimal digits behind the letters of its issuer, Twilio or Databricks. `at`: the first digit, a letter
/// stands before it.
pub(super) fn hex_key(text: &Text<'_>, at: usize) -> Found {
    const KEY: usize = 32;
    let start = at - text.run_before(at, b"dapi".len() + KEY, |octet| octet.is_ascii_alphabetic());
    if word(text.before(start, 1)) {
        return None;
    }
    let end = exactly(text, start, b"SK", KEY, |octet| octet.is_ascii_hexdigit())
        .or_else(|| exactly(text, start, b"dapi", KEY, |octet| matches!(octet, b'0'..=b'9' | b'a'..=b'f')))?;
    (!word(text.at(end))).then_some((Detector::GenericSecret, end))
}

/// `prefix` and exactly `len` characters of `class`.
fn exactly(text: &Text<'_>, start: usize, prefix: &[u8], len: usize, class: fn(u8) -> bool) -> Option<usize> {
    if !text.starts_with(start, prefix) {
        return None;
    }
    let from = start + prefix.len();
    (text.run(from, len + 1, class) == len).then_some(from + len)
}

/// `prefix` and at least `len` characters of `class`.
fn at_least(
    text: &Text<'_>,
    start: usize,
    prefix: &[u8],
    len: usize,
    class: fn(u8) -> bool,
) -> Option<usize> {
    if !text.starts_with(start, prefix) {
        return None;
    }
    let from = start + prefix.len();
    let run = text.run(from, LONGEST, class);
    (run >= len).then_some(from + run)
}

/// Identifiers of long-term, temporary and older access keys: a prefix and 16 characters of base32.
fn aws(text: &Text<'_>, start: usize) -> Option<usize> {
    let prefix = text.slice(start, start + 4);
    let known = matches!(prefix, b"AKIA" | b"ASIA" | b"ABIA" | b"ACCA")
        || prefix.starts_with(b"A3T")
            && prefix.last().is_some_and(|octet| matches!(octet, b'A'..=b'Z' | b'0'..=b'9'));
    let base32 = |octet: u8| matches!(octet, b'A'..=b'Z' | b'2'..=b'7');
    let end = start + 20;
    (known && text.run(start + 4, 16, base32) == 16 && !word(text.at(end))).then_some(end)
}

fn github(text: &Text<'_>, start: usize) -> Option<usize> {
    let classic = matches!(text.slice(start, start + 4), b"ghp_" | b"gho_" | b"ghu_" | b"ghs_" | b"ghr_");
    if classic {
        return at_least(text, start, text.slice(start, start + 4), 36, alphanumeric);
    }
    at_least(text, start, b"github_pat_", 82, word)
}

fn gitlab(text: &Text<'_>, start: usize) -> Option<usize> {
    const PREFIXES: [&[u8]; 10] = [
        b"glpat-",
        b"gldt-",
        b"glrt-",
        b"glcbt-",
        b"glptt-",
        b"glft-",
        b"glimt-",
        b"glagent-",
        b"gloas-",
        b"glsoat-",
    ];
    PREFIXES.iter().find_map(|prefix| at_least(text, start, prefix, 20, base64url))
}

fn grafana(text: &Text<'_>, start: usize) -> Option<usize> {
    let secret = exactly(text, start, b"glsa_", 32, alphanumeric)?;
    exactly(text, secret, b"_", 8, |octet| octet.is_ascii_hexdigit())
}

fn stripe(text: &Text<'_>, start: usize) -> Option<usize> {
    const MODES: [&[u8]; 3] = [b"_test_", b"_live_", b"_prod_"];
    if !matches!(text.slice(start, start + 2), b"sk" | b"rk") {
        return None;
    }
    MODES.iter().find_map(|mode| at_least(text, start + 2, mode, 10, alphanumeric))
}

/// Three characters, a digit, `Q~` and 31 to 34 more.
fn azure_ad_secret(text: &Text<'_>, start: usize) -> Found {
    let inside = |octet: u8| word(octet) || matches!(octet, b'~' | b'.');
    let tail = |octet: u8| inside(octet) || octet == b'-';
    let shaped = text.starts_with(start + 4, b"Q~")
        && text.run(start, 3, inside) == 3
        && text.at(start + 3).is_ascii_digit()
        && !tail(text.before(start, 1));
    let mut len = text.run(start + 6, 36, tail);
    // The full stop of a sentence is none of it.
    if len > 31 && text.at(start + 5 + len) == b'.' {
        len -= 1;
    }
    (shaped && (31..=34).contains(&len)).then_some((Detector::AzureAdClientSecret, start + 6 + len))
}

/// A PEM block (RFC 7468) of any private key, with its content. Line ends may be escaped, as in JSON.
fn private_key(text: &Text<'_>, at: usize) -> Found {
    const END: &[u8] = b"PRIVATE KEY";
    let label = at + b"-----BEGIN ".len();
    let len =
        text.run(label, 80, |octet| octet.is_ascii_uppercase() || octet.is_ascii_digit() || octet == b' ');
    let name = text.slice(label, label + len);
    let body = label + len + 5;
    let named = name.ends_with(END) || name.ends_with(b"PRIVATE KEY BLOCK");
    if !named || !text.starts_with(body - 5, b"-----") {
        return None;
    }
    // Lines of the key, or all of it in one: words of other text are shorter.
    let base64 = |octet: u8| alphanumeric(octet) || matches!(octet, b'+' | b'/' | b'=');
    let (mut material, mut end) = (0, body);
    while material < KEY_MATERIAL && end < at + AHEAD {
        let run = text.run(end, KEY_MATERIAL - material, base64);
        if run >= KEY_LINE || material + run == KEY_MATERIAL && material > 0 {
            (material, end) = (material + run, end + run);
            continue;
        }
        end += run;
        match text.at(end) {
            b'\\' => end += 2,
            b'-' if text.starts_with(end, b"-----") => return None,
            octet if octet.is_ascii_whitespace() || octet.is_ascii_graphic() => end += 1,
            _ => return None,
        }
    }
    (material == KEY_MATERIAL).then_some((Detector::PrivateKey, end))
}

/// Header and payload begin with `{` in base64url, which is `ey`; the signature may be missing.
fn jwt(text: &Text<'_>, start: usize) -> Found {
    let header = text.run(start, BEHIND, base64url);
    let payload = start + header + 1;
    let inside = |octet: u8| base64url(octet) || octet == b'/';
    let shaped = text.starts_with(start, b"ey")
        && !base64url(text.before(start, 1))
        && header >= JWT_PART
        && text.starts_with(payload - 1, b".ey");
    if !shaped {
        return None;
    }
    let len = text.run(payload, BEHIND, inside);
    let end = payload + len;
    // Of a long payload the end is not in sight.
    let closed = text.at(end) == b'.' || end >= payload + AHEAD / 2;
    let signature = text.run(end + 1, BEHIND, inside);
    (len >= JWT_PART && closed).then_some((Detector::Jwt, end + 1 + signature))
}

/// Well-known forms that have no detector of their own.
fn other(text: &Text<'_>, start: usize) -> Option<usize> {
    let hex = |octet: u8| octet.is_ascii_hexdigit();
    match text.at(start) {
        b'G' => exactly(text, start, b"GOCSPX-", 28, base64url),
        b'S' => exactly(text, start, b"SG.", 66, |octet| base64url(octet) || matches!(octet, b'.' | b'=')),
        b's' => at_least(text, start, b"sk-ant-", 80, base64url)
            .or_else(|| at_least(text, start, b"sk-proj-", 40, base64url))
            .or_else(|| openai(text, start))
            .or_else(|| exactly(text, start, b"shpat_", 32, hex))
            .or_else(|| exactly(text, start, b"shpss_", 32, hex)),
        b'd' => exactly(text, start, b"dop_v1_", 64, hex),
        b'h' => exactly(text, start, b"hf_", 34, alphanumeric),
        b'p' => at_least(text, start, b"pypi-AgEIcHlwaS5vcmc", 50, base64url),
        _ => None,
    }
}

/// The same letters stand between the halves of each older key.
fn openai(text: &Text<'_>, start: usize) -> Option<usize> {
    let first = exactly(text, start, b"sk-", 48, alphanumeric)?;
    text.starts_with(start + 23, b"T3BlbkFJ").then_some(first)
}
