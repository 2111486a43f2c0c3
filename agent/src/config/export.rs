//! `[[export]]`: where records are handed on to, and in which form.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use super::UpstreamRoots;
use crate::catalog::HostPattern;
use crate::document::{Fault, Table, Value};
use crate::siem::Form;

/// Most exports.
pub const MAX_EXPORTS: usize = 16;
/// Longest name of one; it is part of a file's name.
const MAX_NAME: usize = 64;
pub(super) const EXPORT_KEYS: &[&str] = &["name", "format", "to", "roots"];
const FORMS: [(&str, Form); 3] = [("activity", Form::Activity), ("cef", Form::Cef), ("ocsf", Form::Ocsf)];

/// One `[[export]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Export {
    /// Names the file that keeps its position: letters, digits, `-`, `_`.
    pub name: Arc<str>,
    pub form: Form,
    pub target: ExportTarget,
    /// For TLS: whom the receiver's certificate has to come from.
    pub roots: UpstreamRoots,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExportTarget {
    /// RFC 5424 messages, octet-counted.
    Tcp {
        host: Arc<str>,
        port: u16,
    },
    Tls {
        host: Arc<str>,
        port: u16,
    },
    /// A line for each; absolute.
    File(PathBuf),
}

impl fmt::Display for ExportTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, host, port) = match self {
            Self::Tcp { host, port } => ("tcp", host, port),
            Self::Tls { host, port } => ("tls", host, port),
            Self::File(path) => return write!(f, "file://{}", path.display()),
        };
        if host.contains(':') {
            write!(f, "{scheme}://[{host}]:{port}")
        } else {
            write!(f, "{scheme}://{host}:{port}")
        }
    }
}

pub(super) fn exports(root: &Table<'_>, roots: impl Fn(&Value<'_>) -> Option<UpstreamRoots>) -> Vec<Export> {
    let tables = root.tables("export", EXPORT_KEYS);
    if let Some(beyond) = tables.get(MAX_EXPORTS) {
        beyond.complain(Fault::new(format!("at most {MAX_EXPORTS} exports are possible")));
    }
    let mut exports: Vec<Export> = Vec::new();
    for table in tables.iter().take(MAX_EXPORTS) {
        let name = table.require("name", "give it a name, as in `name = \"siem\"`");
        let name_read = name.as_ref().and_then(read_name);
        let target = table
            .require("to", "say where records go, as in `to = \"tls://siem.example:6514\"`")
            .and_then(|value| value.parse(read_target));
        let (mut form, mut anchors) = (Form::Activity, UpstreamRoots::System);
        table.set("format", &mut form, |value| value.choice(&FORMS));
        table.set("roots", &mut anchors, &roots);
        let (Some(value), Some(name), Some(target)) = (name, name_read, target) else { continue };
        if exports.iter().any(|other| other.name == name) {
            value.complain(Fault::new("another export has this name"));
            continue;
        }
        exports.push(Export { name, form, target, roots: anchors });
    }
    exports
}

fn read_name(value: &Value<'_>) -> Option<Arc<str>> {
    value.parse(|text| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
        if (1..=MAX_NAME).contains(&text.len()) && text.chars().all(plain) {
            Ok(text.into())
        } else {
            Err(Fault::new(format!("a name has 1 to {MAX_NAME} letters, digits, `-` or `_`")))
        }
    })
}

fn read_target(text: &str) -> Result<ExportTarget, Fault> {
    const HELP: &str =
        "write `tls://HOST:PORT` or `tcp://HOST:PORT` for syslog, or `file:///absolute/path` for lines";
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err(Fault::new("not a target").help(HELP));
    };
    match scheme {
        "file" if rest.starts_with('/') && !rest.contains('\0') => Ok(ExportTarget::File(rest.into())),
        "file" => Err(Fault::new("the path of a file must be absolute").help(HELP)),
        "tcp" | "tls" => {
            let Some((host, Ok(port))) =
                rest.rsplit_once(':').map(|(host, port)| (host, port.parse::<u16>()))
            else {
                return Err(Fault::new("a receiver needs a host and a port").help(HELP));
            };
            let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
            let address = bare.parse::<std::net::IpAddr>().is_ok();
            let named = matches!(HostPattern::parse(bare), Ok(HostPattern::Exact(_))) || bare == "localhost";
            if port == 0 || !(address || named) {
                return Err(Fault::new("a receiver needs a host and a port").help(HELP));
            }
            let host = bare.into();
            Ok(if scheme == "tcp" {
                ExportTarget::Tcp { host, port }
            } else {
                ExportTarget::Tls { host, port }
            })
        }
        _ => Err(Fault::unknown("scheme", scheme, ["tls", "tcp", "file"]).help(HELP)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_read_and_written_alike() {
        for text in [
            "tcp://siem.example:601",
            "tls://10.0.0.1:6514",
            "tls://[2001:db8::1]:6514",
            "tcp://localhost:514",
            "file:///var/log/portcullis/activity.jsonl",
        ] {
            assert_eq!(read_target(text).unwrap().to_string(), text);
        }
        for text in [
            "",
            "siem.example:601",
            "udp://siem.example:514",
            "tcp://siem.example",
            "tcp://:601",
            "tcp://a b:1",
            "tcp://*.example:1",
            "tcp://siem.example:0",
            "tcp://siem.example:99999",
            "file://relative",
        ] {
            assert!(read_target(text).is_err(), "{text}");
        }
    }
}
