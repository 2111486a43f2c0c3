//! Tokens and webhooks of Slack.

use super::Detector;
use super::stream::Found;
use super::text::{Text, alphanumeric, word};
use super::token::LONGEST;

/// `xox`, a letter for the kind of token, numbers of team, user or application, a secret. `xapp-` for applications.
pub(super) fn token(text: &Text<'_>, start: usize) -> Option<usize> {
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
    if !text.starts_with(start, b"xox") || !matches!(text.at(start + 4), b'-' | b'.') {
        return None;
    }
    if let Some(end) = rotating(text, start) {
        return Some(end);
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

/// Tokens that expire, and what renews them: `xoxe.xoxp-1-` or `xoxe-1-`, and letters.
fn rotating(text: &Text<'_>, start: usize) -> Option<usize> {
    const PREFIXES: [&[u8]; 3] = [b"xoxe.xoxp-", b"xoxe.xoxb-", b"xoxe-"];
    let version = start + PREFIXES.iter().find(|prefix| text.starts_with(start, prefix))?.len();
    let numbered = text.at(version).is_ascii_digit() && text.at(version + 1) == b'-';
    let secret = version + 2;
    let len = text.run(secret, LONGEST, alphanumeric);
    (numbered && len >= 140 && !word(text.at(secret + len))).then_some(secret + len)
}

/// Looks at the full stop before `slack.com`.
pub(super) fn webhook(text: &Text<'_>, at: usize) -> Found {
    const KINDS: [&[u8]; 3] = [b"services/", b"workflows/", b"triggers/"];
    let path = at + b".slack.com/".len();
    let host = at.checked_sub(5).filter(|start| text.starts_with(*start, b"hooks"))?;
    let kind = KINDS.iter().find(|kind| text.starts_with(path, kind))?;
    let secret = path + kind.len();
    let run = text.run(secret, 64, |octet| alphanumeric(octet) || matches!(octet, b'/' | b'+'));
    (run >= 43 && !alphanumeric(text.before(host, 1))).then_some((Detector::SlackWebhook, secret + run))
}
