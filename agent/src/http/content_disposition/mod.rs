//! Content-Disposition (RFC 6266, RFC 8187) as browsers really read it: what it does to a response, and every file name
//! a client may derive from it.
//!
//! Browsers disagree with the RFCs and with each other, and a control that follows only one of them can be walked past
//! with a header that another one reads differently. So there is one model per browser family here, and the answer is
//! the strictest of them. Parsing never fails: what cannot be read is a download with complaints.

mod chromium;
mod display_name;
mod encoding;
mod gecko;
mod gecko_parameters;
mod gecko_words;
#[cfg(test)]
mod tests;

use super::is_token;
pub use display_name::{MAX_DISPLAY_NAME, display_name, display_text};
pub use encoding::{Padding, base64_decode, percent_decode};

/// What one client does with a response because of its Content-Disposition, all else being ordinary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Effect {
    /// The header asks for nothing: the media type decides.
    Inline,
    /// The response is saved.
    Download,
    /// The client reports a network error. Others may save, so a control treats this as a download.
    Refuse,
}

/// What one browser family reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    pub effect: Effect,
    /// Decoded, otherwise as sent: may hold any character.
    pub filename: Option<String>,
}

/// The disposition type as written (RFC 6266 section 4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DispositionType {
    /// No field, or only empty ones.
    Absent,
    Inline,
    Attachment,
    /// Another token. RFC 6266 and all browsers treat it like `attachment`.
    Unknown,
    /// No token where the type should be.
    Invalid,
}

/// What is wrong with the header. None of these stops parsing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Complaint {
    RepeatedField,
    FieldsDiffer,
    MembersDiffer,
    UnknownType,
    InvalidType,
    NamesDiffer,
    ControlOctet,
}

impl Complaint {
    pub const fn text(self) -> &'static str {
        match self {
            Complaint::RepeatedField => "the field is repeated",
            Complaint::FieldsDiffer => "repeated fields contradict each other",
            Complaint::MembersDiffer => "an unquoted comma splits the value into contradicting members",
            Complaint::UnknownType => "the disposition type is unknown",
            Complaint::InvalidType => "the disposition type is missing or no token",
            Complaint::NamesDiffer => "clients derive different file names",
            Complaint::ControlOctet => "the value has control octets",
        }
    }
}

/// All Content-Disposition fields of one response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentDisposition {
    kind: DispositionType,
    download: bool,
    filename: Option<String>,
    other_filenames: Vec<String>,
    complaints: Vec<Complaint>,
    chromium: Reading,
    gecko: Reading,
}

impl ContentDisposition {
    /// Reads the values of all Content-Disposition fields, in order.
    pub fn parse<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let values: Vec<&[u8]> = values.into_iter().filter(|value| !trim_lws(value).is_empty()).collect();
        let chromium = chromium::read(&values);
        let found: Vec<_> = values.iter().map(|value| gecko::Names::of(trim_lws(value))).collect();
        let filename = found.first().and_then(|names| names.chosen.clone());
        let gecko = Reading { effect: gecko::effect(&values), filename };
        let kind = disposition_type(&values);
        let names = names(&chromium, &gecko, &found);
        let complaints = complaints(&values, kind, &chromium, &names);
        // The same field twice asks for no more than once: browsers take it for one.
        let download = differ(&values)
            || !values.is_empty()
                && [&chromium, &gecko].iter().any(|reading| reading.effect != Effect::Inline);
        let mut names = names.into_iter();
        Self {
            kind,
            download,
            filename: names.next(),
            other_filenames: names.collect(),
            complaints,
            chromium,
            gecko,
        }
    }

    /// Type of the first field.
    pub fn kind(&self) -> DispositionType {
        self.kind
    }

    /// The security answer: some client saves the response, or refuses it where another one may save it.
    pub fn is_download(&self) -> bool {
        self.download
    }

    /// The preferred name, decoded, for comparisons. Show it through [`display_name`] only.
    pub fn filename(&self) -> Option<&str> {
        self.filename.as_deref()
    }

    /// Names that other clients derive. No duplicates, the preferred name left out.
    pub fn other_filenames(&self) -> &[String] {
        &self.other_filenames
    }

    pub fn complaints(&self) -> &[Complaint] {
        &self.complaints
    }

    pub fn chromium(&self) -> &Reading {
        &self.chromium
    }

    pub fn gecko(&self) -> &Reading {
        &self.gecko
    }
}

/// Every name some client derives, the preferred one first: of a browser that saves before one that does not.
fn names(chromium: &Reading, gecko: &Reading, found: &[gecko::Names]) -> Vec<String> {
    let repeated = found.len() > 1;
    let rank = |reading: &Reading| match reading.effect {
        Effect::Download => 0,
        Effect::Inline => 1,
        Effect::Refuse => 2,
    };
    // Chromium goes first, but not where it makes one name out of the text of several fields.
    let mut readings = if repeated { [gecko, chromium] } else { [chromium, gecko] };
    readings.sort_by_key(|reading| rank(reading));
    let each = found.iter().skip(1).filter_map(|names| names.chosen.as_ref());
    let plain = found.iter().filter_map(|names| names.plain.as_ref());
    let mut names: Vec<String> = Vec::new();
    for name in readings.iter().filter_map(|reading| reading.filename.as_ref()).chain(each).chain(plain) {
        if !names.contains(name) && names.len() < MAX_NAMES {
            names.push(name.clone());
        }
    }
    names
}

/// Names kept of one response: more fields than this are an attack, and the response is a download anyway.
const MAX_NAMES: usize = 8;

/// Whether several fields say different things.
fn differ(values: &[&[u8]]) -> bool {
    values.iter().any(|value| values.first().map(|first| trim_lws(first)) != Some(trim_lws(value)))
}

fn disposition_type(values: &[&[u8]]) -> DispositionType {
    let Some(value) = values.first() else { return DispositionType::Absent };
    let kind = trim_lws(value.split(|&b| b == b';').next().unwrap_or_default());
    if kind.eq_ignore_ascii_case(b"inline") {
        DispositionType::Inline
    } else if kind.eq_ignore_ascii_case(b"attachment") {
        DispositionType::Attachment
    } else if is_token(kind) {
        DispositionType::Unknown
    } else {
        DispositionType::Invalid
    }
}

fn complaints(
    values: &[&[u8]],
    kind: DispositionType,
    chromium: &Reading,
    names: &[String],
) -> Vec<Complaint> {
    let fields_differ = differ(values);
    let control = |value: &&[u8]| value.iter().any(|b| b.is_ascii_control() && *b != b'\t');
    [
        (values.len() > 1, Complaint::RepeatedField),
        (fields_differ, Complaint::FieldsDiffer),
        (chromium.effect == Effect::Refuse && !fields_differ, Complaint::MembersDiffer),
        (kind == DispositionType::Unknown, Complaint::UnknownType),
        (kind == DispositionType::Invalid, Complaint::InvalidType),
        (names.len() > 1, Complaint::NamesDiffer),
        (values.iter().any(control), Complaint::ControlOctet),
    ]
    .into_iter()
    .filter_map(|(holds, complaint)| holds.then_some(complaint))
    .collect()
}

/// Without spaces and tabs at both ends.
fn trim_lws(value: &[u8]) -> &[u8] {
    let blank = |b: &u8| matches!(b, b' ' | b'\t');
    let start = value.iter().position(|b| !blank(b)).unwrap_or(value.len());
    let end = value.iter().rposition(|b| !blank(b)).map_or(start, |last| last + 1);
    value.get(start..end).unwrap_or_default()
}

/// Entry for the fuzzer: lines of `data` are the field values. Panics when a promise of this module is broken.
pub fn fuzz_disposition(data: &[u8]) {
    let disposition = ContentDisposition::parse(data.split(|&b| b == b'\n'));
    for name in
        disposition.filename().into_iter().chain(disposition.other_filenames().iter().map(String::as_str))
    {
        if let Some(shown) = display_name(name) {
            assert!(!shown.is_empty() && shown.len() <= MAX_DISPLAY_NAME, "length of {shown:?}");
            assert!(!shown.contains(display_name::is_unsafe), "unsafe character in {shown:?}");
            assert_eq!(display_name(&shown).as_deref(), Some(shown.as_str()), "not stable");
        }
    }
    assert!(disposition.other_filenames().len() < MAX_NAMES);
}
