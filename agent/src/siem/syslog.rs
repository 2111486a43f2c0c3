//! The syslog message of RFC 5424, framed by octet counting as RFC 5425 (TLS) asks and RFC 6587 describes for TCP.

use jiff::Timestamp;

use crate::policy::decision::Action;

/// Facility "log audit" (RFC 5424 section 6.2.1).
const FACILITY: u8 = 13;
/// RFC 5424 section 6.
const MAX_HOST: usize = 255;
const MAX_MSGID: usize = 32;

/// RFC 5424 section 6.2.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    Error = 3,
    Warning = 4,
    Notice = 5,
    Informational = 6,
}

impl Severity {
    pub const fn of(action: Action) -> Self {
        match action {
            Action::Block => Self::Warning,
            Action::Monitor => Self::Notice,
            Action::Allow => Self::Informational,
        }
    }
}

/// Adds one framed message to `out`. `time` has whole microseconds, the finest that the format knows.
pub fn frame(
    (severity, time, kind): (Severity, Timestamp, &str),
    (host, pid): (&str, u32),
    text: &str,
    out: &mut Vec<u8>,
) {
    let priority = FACILITY * 8 + severity as u8;
    let (host, kind) = (printable(host, MAX_HOST), printable(kind, MAX_MSGID));
    let message = format!("<{priority}>1 {time} {host} portcullis {pid} {kind} - {text}");
    out.extend_from_slice(format!("{} ", message.len()).as_bytes());
    out.extend_from_slice(message.as_bytes());
}

/// PRINTUSASCII, or the nil value.
fn printable(text: &str, max: usize) -> String {
    let text: String = text.chars().filter(char::is_ascii_graphic).take(max).collect();
    if text.is_empty() { "-".to_owned() } else { text }
}
