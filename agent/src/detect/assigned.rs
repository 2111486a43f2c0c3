//! Secrets that are told by the name they are given to: passwords, keys and tokens without a form of their own.

use super::Detector;
use super::placeholder::is_placeholder;
use super::stream::Found;
use super::text::{Text, alphanumeric, word};
use super::token::token_at;

/// Longest name that is read.
const NAME: usize = 64;
/// Blanks, quotes and backslashes between a name, the sign and the value, on each side.
const AROUND: usize = 6;
/// Longest value that is read: a longer one counts by its beginning.
const VALUE: usize = 256;
const SHORTEST_PASSWORD: usize = 6;
const LONGEST_PASSWORD: usize = 128;
const SHORTEST_SECRET: usize = 16;

/// Looks at the sign between a name and a value: `=`, `:`, or the end of an XML tag.
pub(super) fn find(text: &Text<'_>, at: usize) -> Found {
    let sign = text.at(at);
    // Comparisons, paths of names, and the longer signs whose last octet counts.
    if matches!(text.at(at + 1), b'=' | b':') || sign == b'=' && text.at(at + 1) == b'>' {
        return None;
    }
    let name = Name::before(text, at)?;
    let purpose = name.purpose()?;
    let value = Value::behind(text, at)?;
    match purpose {
        Purpose::Password => value.password().then_some((Detector::Password, value.end())),
        Purpose::Signature => azure_sas(text, at, &value),
        Purpose::Secret { key } => {
            if key && let Some(end) = azure_storage_key(text, value.start) {
                return Some((Detector::AzureStorageKey, end));
            }
            // What has a form of its own is counted as that, where it gives itself away.
            let start = if name.is(b"authorization") { value.without_scheme(text) } else { value.start };
            if token_at(text, start).is_some() {
                return None;
            }
            let len = text.run(start, VALUE, secret_octet);
            let len = len + text.run(start + len, 2, |octet| octet == b'=');
            let called = text.at(start + len) == b'(';
            (!called && is_secret(text.slice(start, start + len)))
                .then_some((Detector::GenericSecret, start + len))
        }
    }
}

/// Looks at the colon between user and password in an address (RFC 3986 section 3.2.1).
pub(super) fn in_address(text: &Text<'_>, at: usize) -> Found {
    let inside = |octet: u8| word(octet) || b"-.~%!$&'()*+,;=".contains(&octet);
    let user = text.run_before(at, NAME, inside);
    if !text.slice((at - user).saturating_sub(3), at - user).eq(b"://") {
        return None;
    }
    let start = at + 1;
    // What has a form of its own is counted as that.
    if token_at(text, start).is_some() {
        return None;
    }
    let len = text.run(start, VALUE, |octet| inside(octet) || octet == b':');
    let value = Value { start, octets: text.slice(start, start + len), certain: true };
    let beside = text.at(value.end()) == b'@' && alphanumeric(text.at(value.end() + 1));
    let told = beside && value.octets != text.slice(at - user, at) && value.password();
    told.then_some((Detector::Password, value.end()))
}

/// What a name is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Password,
    /// The signature of a signed address.
    Signature,
    /// `key`: the name ends with that word.
    Secret {
        key: bool,
    },
}

/// A name as it is written, and in lower case without what joins its words.
struct Name<'a> {
    written: &'a [u8],
    plain: [u8; NAME],
    len: usize,
    /// A word for password that is written with blanks or letters beyond ASCII.
    spelled: bool,
}

impl<'a> Name<'a> {
    fn before(text: &Text<'a>, at: usize) -> Option<Self> {
        let around = |octet: u8| matches!(octet, b' ' | b'\t' | b'"' | b'\'' | b'\\' | b']' | b'`' | b'*');
        let long_sign = usize::from(matches!(text.before(at, 1), b'=' | b':') && text.at(at) != b':');
        let end = at - long_sign;
        let end = end - text.run_before(end, AROUND, around);
        // Most signs stand behind other names: their last letter says so.
        let spelled = match text.before(end, 1) {
            // `password2`.
            b'0'..=b'9' if b"dtDT".contains(&text.before(end, 2)) => false,
            b'a' | b'A' | b'e' | b'E' if is_spelled_out(text, end) => true,
            last if b"dtensywlrhgDTENSYWLRHG".contains(&last) => false,
            _ => return None,
        };
        let written = text.slice(
            end - text.run_before(end, NAME, |octet| word(octet) || matches!(octet, b'-' | b'.')),
            end,
        );
        let mut name = Self { written, plain: [0; NAME], len: 0, spelled };
        let plain = written.iter().filter(|octet| alphanumeric(**octet)).map(u8::to_ascii_lowercase);
        for (place, octet) in name.plain.iter_mut().zip(plain) {
            *place = octet;
            name.len += 1;
        }
        Some(name)
    }

    fn plain(&self) -> &[u8] {
        self.plain.get(..self.len).unwrap_or_default()
    }

    fn is(&self, word: &[u8]) -> bool {
        self.plain() == word
    }

    fn purpose(&self) -> Option<Purpose> {
        const PASSWORDS: [&[u8]; 11] = [
            b"password",
            b"passwd",
            b"passphrase",
            b"passwort",
            b"kennwort",
            b"pwd",
            b"passcode",
            b"contrasena",
            b"motdepasse",
            b"wachtwoord",
            b"passwordconfirmation",
        ];
        const SECRETS: [&[u8]; 6] =
            [b"secret", b"token", b"credential", b"credentials", b"authorization", b"clientsecretvalue"];
        const KEYS: [&[u8]; 13] = [
            b"apikey",
            b"accesskey",
            b"secretkey",
            b"authkey",
            b"privatekey",
            b"encryptionkey",
            b"signingkey",
            b"masterkey",
            b"sharedkey",
            b"accountkey",
            b"storagekey",
            b"subscriptionkey",
            b"primarykey",
        ];
        /// Names of tokens that say where one is in a list or guard a form: they open nothing.
        const HARMLESS: [&[u8]; 9] = [
            b"pagetoken",
            b"continuationtoken",
            b"csrftoken",
            b"xsrftoken",
            b"synctoken",
            b"verificationtoken",
            b"cancellationtoken",
            b"skiptoken",
            b"deltatoken",
        ];
        let plain = self.plain();
        let ends = |words: &[&[u8]]| words.iter().any(|word| plain.ends_with(word));
        let unnumbered = match plain {
            [name @ .., b'0'..=b'9'] => name,
            name => name,
        };
        let password = PASSWORDS.iter().any(|word| unnumbered.ends_with(word));
        if password || self.spelled || self.ends_with(b"pass") || self.ends_with(b"pw") {
            Some(Purpose::Password)
        } else if plain == b"sig" {
            Some(Purpose::Signature)
        } else if ends(&KEYS) {
            Some(Purpose::Secret { key: true })
        } else if ends(&SECRETS) && !ends(&HARMLESS) {
            Some(Purpose::Secret { key: false })
        } else {
            None
        }
    }

    /// `pass` or `pw` as a word of its own: not the end of `bypass`.
    fn ends_with(&self, word: &[u8]) -> bool {
        let Some((before, end)) = self.written.split_at_checked(self.written.len().wrapping_sub(word.len()))
        else {
            return false;
        };
        let begins = match before.last() {
            None | Some(b'_' | b'-' | b'.') => true,
            Some(last) => last.is_ascii_lowercase() && end.first() == Some(&b'P'),
        };
        begins && end.eq_ignore_ascii_case(word)
    }
}

/// Words for password that are no names of programs, as people write them.
fn is_spelled_out(text: &Text<'_>, end: usize) -> bool {
    const WORDS: [&[u8]; 4] = [b"contrase\xC3\xB1a", b"CONTRASE\xC3\x91A", b"mot de passe", b"senha"];
    // The letter before the last rules out most names.
    let before = matches!(text.before(end, 2), 0xB1 | 0x91 | b's' | b'S' | b'h' | b'H');
    before
        && WORDS.iter().any(|word| {
            end.checked_sub(word.len()).is_some_and(|start| {
                text.starts_with_any_case(start, word) && !alphanumeric(text.before(start, 1))
            })
        })
}

/// What stands behind the sign.
pub(super) struct Value<'a> {
    start: usize,
    pub(super) octets: &'a [u8],
    /// The way it is written says that it is a value: in quotes, between tags, right behind `=`.
    certain: bool,
}

impl<'a> Value<'a> {
    pub(super) fn behind(text: &Text<'a>, at: usize) -> Option<Self> {
        let mut start = at + 1;
        let blanks = text.run(start, AROUND, |octet| matches!(octet, b' ' | b'\t'));
        start += blanks;
        if text.at(start) == b'\\' && matches!(text.at(start + 1), b'"' | b'\'') {
            start += 1;
        }
        let quote = Some(text.at(start)).filter(|octet| matches!(octet, b'"' | b'\'' | b'`'));
        start += usize::from(quote.is_some());
        let inside = |octet: u8| match quote {
            Some(quote) => octet != quote && !matches!(octet, b'\n' | b'\r' | 0),
            None => {
                !octet.is_ascii_whitespace()
                    && !matches!(octet, b'"' | b'\'' | b'`' | b'<' | b'>' | b',' | b';' | b'&' | 0)
            }
        };
        let len = text.run(start, VALUE, inside);
        let mut octets = text.slice(start, start + len);
        if quote.is_some() {
            octets = octets.strip_suffix(b"\\").unwrap_or(octets);
        } else if blanks > 0 {
            // Punctuation of a sentence.
            while let [kept @ .., b'.' | b'!' | b'?' | b':' | b')'] = octets {
                octets = kept;
            }
        }
        let certain = quote.is_some() || text.at(at) == b'>' || text.at(at) == b'=' && blanks == 0;
        // Within binary data anything may look like a name and a sign.
        let readable = !octets.iter().any(u8::is_ascii_control) && std::str::from_utf8(octets).is_ok();
        (readable && !octets.is_empty()).then_some(Self { start, octets, certain })
    }

    pub(super) fn end(&self) -> usize {
        self.start + self.octets.len()
    }

    /// `Bearer`, `Basic`, `token`: the scheme before the credentials of an Authorization field.
    fn without_scheme(&self, text: &Text<'_>) -> usize {
        let scheme = text.run(self.start, 12, |octet| octet.is_ascii_alphabetic());
        if text.at(self.start + scheme) == b' ' { self.start + scheme + 1 } else { self.start }
    }

    pub(super) fn password(&self) -> bool {
        let octets = self.octets;
        let has = |class: fn(&u8) -> bool| octets.iter().any(class);
        let (lower, upper) = (has(u8::is_ascii_lowercase), has(u8::is_ascii_uppercase));
        let (digit, sign) = (has(u8::is_ascii_digit), has(|octet| !alphanumeric(*octet)));
        let classes = [lower, upper, digit, sign].iter().filter(|class| **class).count();
        let len = octets.len();
        let fits = (SHORTEST_PASSWORD..=LONGEST_PASSWORD).contains(&len) || len == 5 && classes >= 3;
        if !fits || is_placeholder(octets) || octets.contains(&b' ') && !self.certain {
            return false;
        }
        if self.certain {
            // Blanks make a phrase, or a label: a phrase is long.
            let phrase = !octets.contains(&b' ') || classes >= 3 || len >= 20;
            phrase && (classes >= 2 || len >= 8 || digit)
        } else {
            let telling = octets.iter().any(|octet| !alphanumeric(*octet) && !b"-_/.'".contains(octet));
            (digit && (classes >= 2 || len >= SHORTEST_PASSWORD)) || telling && classes >= 2
        }
    }
}

fn secret_octet(octet: u8) -> bool {
    word(octet) || matches!(octet, b'-' | b'.' | b'+' | b'/' | b'~')
}

/// Whether a value looks drawn at random: letters and digits in turn, and as much surprise as that gives.
fn is_secret(value: &[u8]) -> bool {
    if value.len() < SHORTEST_SECRET || is_uuid(value) || is_placeholder(value) {
        return false;
    }
    let has = |class: fn(&u8) -> bool| value.iter().any(class);
    let digits = value.iter().filter(|octet| octet.is_ascii_digit()).count();
    let turns = value.iter().zip(value.iter().skip(1)).filter(|(a, b)| {
        a.is_ascii_digit() && b.is_ascii_alphabetic() || a.is_ascii_alphabetic() && b.is_ascii_digit()
    });
    let mixed = has(u8::is_ascii_lowercase) && has(u8::is_ascii_uppercase);
    let hex = value.iter().all(u8::is_ascii_hexdigit);
    let least = if hex || value.len() < 20 { 3.0 } else { 3.5 };
    digits >= 1 && has(u8::is_ascii_alphabetic) && (mixed || turns.count() >= 4) && entropy(value) >= least
}

fn is_uuid(value: &[u8]) -> bool {
    value.len() == 36
        && value.iter().enumerate().all(|(index, octet)| match index {
            8 | 13 | 18 | 23 => *octet == b'-',
            _ => octet.is_ascii_hexdigit(),
        })
}

/// Shannon entropy in bits for each octet.
fn entropy(value: &[u8]) -> f32 {
    let mut counts = [0_u16; 256];
    for octet in value {
        if let Some(count) = counts.get_mut(usize::from(*octet)) {
            *count += 1;
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "a value is at most VALUE octets long")]
    let len = value.len() as f32;
    let shares = counts.iter().filter(|count| **count > 0).map(|count| f32::from(*count) / len);
    shares.map(|share| -share * share.log2()).sum()
}

/// 64 octets in base64: 86 characters and two of padding.
fn azure_storage_key(text: &Text<'_>, start: usize) -> Option<usize> {
    let len = text.run(start, 87, |octet| alphanumeric(octet) || matches!(octet, b'+' | b'/'));
    let end = start + 88;
    (len == 86 && text.starts_with(start + 86, b"==") && text.at(end) != b'=').then_some(end)
}

/// A shared access signature: `sig` with 32 octets in base64, beside a version or an expiry in the same address.
fn azure_sas(text: &Text<'_>, at: usize, value: &Value<'_>) -> Found {
    let (mut end, mut digits) = (value.start, 0);
    while digits < 44 {
        match text.at(end) {
            b'%' if text.at(end + 1).is_ascii_hexdigit() && text.at(end + 2).is_ascii_hexdigit() => end += 3,
            octet if alphanumeric(octet) || matches!(octet, b'+' | b'/' | b'-' | b'_' | b'=') => end += 1,
            _ => break,
        }
        digits += 1;
    }
    if digits < 43 {
        return None;
    }
    let inside = |octet: u8| octet.is_ascii_graphic() && !matches!(octet, b'"' | b'\'' | b'<' | b'>' | b'`');
    let start = at - text.run_before(at, 512, inside);
    let address = text.slice(start, end + text.run(end, 384, inside));
    let parameter = |name: &[u8]| {
        address.windows(name.len() + 1).enumerate().any(|(index, window)| {
            let (found, value) = window.split_at(name.len());
            let before = index.checked_sub(1).and_then(|index| address.get(index)).copied().unwrap_or(b'?');
            found == name && value.iter().all(u8::is_ascii_digit) && !alphanumeric(before)
        })
    };
    (parameter(b"sv=") || parameter(b"se=")).then_some((Detector::AzureSas, end))
}
