//! Credentials that can be told by their own form: a prefix their issuer gave them, and an alphabet with a length.

use super::Detector;
use super::stream::{AHEAD, BEHIND, Found};
use super::text::{Text, alphanumeric, base64url, word};

/// Longest prefix before the punctuation that gives a token away.
const LONGEST_PREFIX: usize = 8;
/// A longer credential counts by its first part.
const LONGEST: usize = 255;
/// Characters of a private key that must follow its first line: less is a placeholder.
const KEY_MATERIAL: usize = 64;
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
        b'.' if text.starts_with(at, b".slack.com/") => slack_webhook(text, at),
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
            .or_else(|| found(Detector::GcpApiKey, exactly(text, start, b"AIza", 35, base64url))),
        b'e' => jwt(text, start),
        b'g' => found(Detector::GithubToken, github(text, start))
            .or_else(|| found(Detector::GitlabToken, gitlab(text, start)))
            .or_else(|| found(Detector::GenericSecret, grafana(text, start))),
        b'n' => found(Detector::NpmToken, exactly(text, start, b"npm_", 36, alphanumeric)),
        b's' | b'r' => found(Detector::StripeKey, stripe(text, start))
            .or_else(|| found(Detector::GenericSecret, other(text, start))),
        b'x' => found(Detector::SlackToken, slack(text, start)),
        _ => found(Detector::GenericSecret, other(text, start)).or_else(|| azure_ad_secret(text, start)),
    }
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

/// `xox`, a letter for the kind of token, numbers of team, user or application, a secret. `xapp-` for applications.
fn slack(text: &Text<'_>, start: usize) -> Option<usize> {
    let digit = |octet: u8| octet.is_ascii_digit();
    let dashed = |octet: u8| alphanumeric(octet) || octet == b'-';
    if text.starts_with(start, b"xapp-") {
        let version = text.run(start + 5, 2, digit);
        let app = start + 5 + version + 1;
        let name = text.run(app, 16, |octet| octet.is_ascii_uppercase() || digit(octet));
        let number = app + name + 1;
        let len = text.run(number, 20, digit);
        let secret = number + len + 1;
        let tail = text.run(secret, LONGEST, alphanumeric);
        let dashes = [app - 1, number - 1, secret - 1].iter().all(|at| text.at(*at) == b'-');
        return (version == 1 && name > 0 && len > 0 && tail > 0 && dashes).then_some(secret + tail);
    }
    if !text.starts_with(start, b"xox") || text.at(start + 4) != b'-' {
        return None;
    }
    // How many numbers of 10 to 13 digits stand in a row.
    let (mut end, mut numbers) = (start + 4, 0);
    while numbers < 3 && text.at(end) == b'-' {
        let len = text.run(end + 1, 14, digit);
        if !(10..=13).contains(&len) || alphanumeric(text.at(end + 1 + len)) {
            break;
        }
        (end, numbers) = (end + 1 + len, numbers + 1);
    }
    let tail = text.run(end, LONGEST, dashed);
    let enough = match text.at(start + 3) {
        b'b' => numbers >= 2,
        b'p' | b'e' => numbers == 3 && tail >= 29,
        // Tokens of older applications and of clients.
        b'a' | b'r' | b's' | b'o' | b'c' | b'd' => numbers >= 2 && tail > 8 || tail >= 41,
        _ => false,
    };
    (enough && !word(text.at(end + tail))).then_some(end + tail)
}

/// Looks at the full stop before `slack.com`.
fn slack_webhook(text: &Text<'_>, at: usize) -> Found {
    const KINDS: [&[u8]; 3] = [b"services/", b"workflows/", b"triggers/"];
    let path = at + b".slack.com/".len();
    let host = at.checked_sub(5).filter(|start| text.starts_with(*start, b"hooks"))?;
    let kind = KINDS.iter().find(|kind| text.starts_with(path, kind))?;
    let secret = path + kind.len();
    let run = text.run(secret, 64, |octet| alphanumeric(octet) || matches!(octet, b'/' | b'+'));
    (run >= 43 && !alphanumeric(text.before(host, 1))).then_some((Detector::SlackWebhook, secret + run))
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
    let mut material = 0;
    let mut end = body;
    while material < KEY_MATERIAL && end < at + AHEAD {
        match text.at(end) {
            0 => return None,
            b'\\' if matches!(text.at(end + 1), b'n' | b'r' | b't') => end += 1,
            b'-' if text.starts_with(end, b"-----") => return None,
            octet if octet.is_ascii_whitespace() => {}
            octet if octet.is_ascii_graphic() => material += 1,
            _ => return None,
        }
        end += 1;
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
        b'S' => exactly(text, start, b"SG.", 66, |octet| base64url(octet) || matches!(octet, b'.' | b'=')),
        b's' => at_least(text, start, b"sk-ant-", 80, base64url)
            .or_else(|| at_least(text, start, b"sk-proj-", 40, base64url))
            .or_else(|| exactly(text, start, b"shpat_", 32, hex))
            .or_else(|| exactly(text, start, b"shpss_", 32, hex)),
        b'd' => exactly(text, start, b"dop_v1_", 64, hex),
        b'h' => exactly(text, start, b"hf_", 34, alphanumeric),
        b'p' => at_least(text, start, b"pypi-AgEIcHlwaS5vcmc", 50, base64url),
        _ => None,
    }
}
