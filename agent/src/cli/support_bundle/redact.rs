//! Takes names out of texts. Only words that the program itself knows stay; everything else becomes a number, the same
//! for the same word.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};

use serde_json::{Map, Value};

use crate::catalog::Catalog;
use crate::document::{parse_duration, parse_size};

/// Words of the settings and policies that say nothing about anybody.
const KNOWN: [&str; 46] = [
    "host",
    "gateway",
    "explicit",
    "peek",
    "sni",
    "all",
    "off",
    "refuse",
    "pass",
    "closed",
    "open",
    "close",
    "report",
    "leave",
    "client",
    "system",
    "checks",
    "file",
    "command",
    "enabled",
    "report-only",
    "disabled",
    "browser",
    "native",
    "compliant",
    "block-downloads",
    "monitor-only",
    "custom",
    "allow",
    "monitor",
    "block",
    "download",
    "upload",
    "sign-in",
    "sign-in-failed",
    "message",
    "share",
    "print",
    "view",
    "access",
    "copy",
    "cut",
    "paste",
    "normal",
    "strict",
    "ocsf",
];

/// Keys of answers whose value is a name, and no sentence.
const NAMES: [&str; 6] = ["id", "to", "subject", "fingerprint", "tags", "names"];

pub(super) struct Redactor {
    known: HashSet<String>,
    /// The host's own name.
    host: Option<String>,
    numbers: HashMap<String, usize>,
}

/// Whether this is an address, with a port, a prefix length or neither, and of more than this host. Loopback and "any" say
/// nothing about anybody.
fn is_foreign_address(word: &str) -> Option<bool> {
    let bare = word.split_once('/').map_or(word, |(address, _)| address);
    let address: Option<IpAddr> =
        bare.parse().ok().or_else(|| bare.parse::<SocketAddr>().ok().map(|socket| socket.ip()));
    address.map(|address| !address.is_loopback() && !address.is_unspecified())
}

/// Whether the path lies below one that somebody chose.
fn is_below(path: &str, known: &str) -> bool {
    known.starts_with('/') && path.strip_prefix(known).is_some_and(|rest| rest.starts_with('/'))
}

impl Redactor {
    /// `host`: the host's own name, which sentences may have in them.
    pub(super) fn new(host: Option<String>) -> Self {
        let catalog = Catalog::builtin();
        let known = KNOWN.into_iter().map(str::to_owned).chain(catalog.selectable().map(str::to_owned));
        let host = host.filter(|host| host.len() > 2 && host != "localhost");
        Self { known: known.collect(), host, numbers: HashMap::new() }
    }

    /// The text of a TOML file: its keys and shapes, without comments and names.
    pub(super) fn settings(&mut self, text: &str) -> String {
        let Ok(table) = text.parse::<toml::Table>() else { return "not TOML\n".to_owned() };
        let table = self.table(&table, false);
        toml::to_string(&table).unwrap_or_else(|_| "cannot be shown\n".to_owned())
    }

    /// `free`: the keys are names that somebody chose.
    fn table(&mut self, table: &toml::Table, free: bool) -> toml::Table {
        let entries = table.iter().map(|(key, value)| {
            let shown = if free { self.word(key) } else { key.clone() };
            (shown, self.value(value, matches!(&**key, "networks" | "groups")))
        });
        entries.collect()
    }

    fn value(&mut self, value: &toml::Value, free: bool) -> toml::Value {
        match value {
            toml::Value::String(text) => toml::Value::String(self.word(text)),
            toml::Value::Array(values) => {
                toml::Value::Array(values.iter().map(|value| self.value(value, false)).collect())
            }
            toml::Value::Table(table) => toml::Value::Table(self.table(table, free)),
            other => other.clone(),
        }
    }

    /// An answer of the agent: what names somebody or something becomes a number, and in the sentences, too.
    pub(super) fn answer(&mut self, answer: Value) -> Value {
        match answer {
            Value::Object(object) => {
                // Somebody chose the name of an export; checks and programs have the program's own.
                let is_export = object.contains_key("to");
                let shown = object.into_iter().map(|(key, value)| {
                    let names = NAMES.contains(&&*key) || is_export && key == "name";
                    let shown = match value {
                        Value::String(text) if names => self.word(&text).into(),
                        Value::Array(list) if names => self.words(list),
                        other => self.answer(other),
                    };
                    (key, shown)
                });
                shown.collect::<Map<_, _>>().into()
            }
            Value::Array(list) => list.into_iter().map(|value| self.answer(value)).collect(),
            Value::String(text) => self.sentence(&text).into(),
            other => other,
        }
    }

    fn words(&mut self, list: Vec<Value>) -> Value {
        let words = list.into_iter().map(|value| match value {
            Value::String(text) => self.word(&text).into(),
            other => self.answer(other),
        });
        words.collect()
    }

    /// A sentence of the program: its words stay; a name that stands in the settings, a path below a home, an address and the
    /// host's name do not.
    pub(super) fn sentence(&mut self, text: &str) -> String {
        // An authority is called by its host, whose name may be another by now: what a distinguished name calls itself.
        if let Some((before, rest)) = text.split_once("CN=") {
            let (name, after) = rest.split_at(rest.find(',').unwrap_or(rest.len()));
            let (before, name) = (self.sentence(before), self.word(name));
            return format!("{before}CN={name}{}", self.sentence(after));
        }
        let mut shown = String::with_capacity(text.len());
        for piece in text
            .split_inclusive(|c: char| c.is_whitespace() || matches!(c, ',' | ';' | '"' | '`' | '(' | ')'))
        {
            let word = piece.trim_end_matches(|c: char| {
                c.is_whitespace() || matches!(c, ',' | ';' | '"' | '`' | '(' | ')' | '.' | ':')
            });
            let end = piece.get(word.len()..).unwrap_or_default();
            if self.names_somebody(word) {
                shown.push_str(&self.word(word));
            } else {
                shown.push_str(word);
            }
            shown.push_str(end);
        }
        shown
    }

    fn names_somebody(&self, word: &str) -> bool {
        let is_home =
            ["/home/", "/root", "/run/user/", "/media/", "/mnt/"].iter().any(|home| word.starts_with(home));
        is_home
            || self.numbers.contains_key(word)
            || word.starts_with('/') && self.numbers.keys().any(|known| is_below(word, known))
            || self.host.as_deref().is_some_and(|host| word.contains(host))
            || is_foreign_address(word) == Some(true)
            || word.contains('@')
    }

    /// Series keep their names; values of the labels `app`, `policy` and `export` that somebody chose do not.
    pub(super) fn metrics(&mut self, text: &str) -> String {
        let mut shown = String::with_capacity(text.len());
        for line in text.lines() {
            let mut rest = line;
            while let Some(at) = ["app=\"", "policy=\"", "export=\""]
                .iter()
                .filter_map(|label| rest.find(label).map(|at| at + label.len()))
                .min()
            {
                let (before, after) = rest.split_at(at);
                let mut escaped = false;
                let end = after.bytes().position(|byte| {
                    let ends = byte == b'"' && !escaped;
                    escaped = byte == b'\\' && !escaped;
                    ends
                });
                let (value, behind) = after.split_at(end.unwrap_or(after.len()));
                shown.push_str(before);
                shown.push_str(&self.word(value));
                rest = behind;
            }
            shown.push_str(rest);
            shown.push('\n');
        }
        shown
    }

    fn word(&mut self, text: &str) -> String {
        let plain = self.known.contains(text)
            || matches!(text, "" | "none" | "other" | "unknown")
            || is_foreign_address(text) == Some(false)
            || parse_duration(text).is_ok()
            || parse_size(text).is_ok();
        if plain {
            return text.to_owned();
        }
        let next = self.numbers.len() + 1;
        format!("<{}>", self.numbers.entry(text.to_owned()).or_insert(next))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_words_stay_and_equal_names_stay_equal() {
        let text = r#"
# alice's policy
[identity]
groups = { secret-team = ["alice"] }
[metrics]
listen = "127.0.0.1:9464"
[networks]
paris-office = ["10.1.0.0/16"]
[activity]
retention = "90d"
[[policy]]
name = "Stop alice"
state = "enabled"
[policy.users]
include = ["user:alice", "all"]
[policy.apps]
include = ["office365", "alice"]
"#;
        let shown = Redactor::new(None).settings(text);
        for kept in [
            "retention = \"90d\"",
            "state = \"enabled\"",
            "office365",
            "[networks]",
            "\"all\"",
            "127.0.0.1:9464",
        ] {
            assert!(shown.contains(kept), "{kept}: {shown}");
        }
        for name in ["alice", "secret-team", "paris", "10.1."] {
            assert!(!shown.contains(name), "{name}: {shown}");
        }
        let groups = shown.split("groups").nth(1).unwrap();
        let number = groups.split("[\"").nth(1).unwrap().split('"').next().unwrap();
        assert_eq!(shown.matches(number).count(), 2, "{number} is the group's member and the app: {shown}");
    }

    #[test]
    fn labels_that_somebody_chose_are_numbers() {
        let page = "a_total{app=\"slack\",policy=\"Stop \\\"eve\\\"\"} 1\nb{app=\"corp\"} 2\nc 3\n";
        let shown = Redactor::new(None).metrics(page);
        assert_eq!(shown, "a_total{app=\"slack\",policy=\"<1>\"} 1\nb{app=\"<2>\"} 2\nc 3\n");
    }

    #[test]
    fn answers_of_the_agent_name_nobody() {
        let mut redactor = Redactor::new(Some("workbench".to_owned()));
        redactor.settings("[identity]\ngroups = { g = [\"mallory\"] }\n[paths]\nstate = \"/data/carol\"\n");
        let shown = redactor.answer(serde_json::json!({
            "version": "0.1.0", "mode": "host", "listener": "127.0.0.1:40443",
            "device": {"id": "alice-laptop", "tags": ["alice"], "reason": "/home/alice/x cannot be read"},
            "certificate_authority": {"subject": "CN=alice-laptop", "fingerprint": "ab"},
            "exports": [{"name": "alice", "to": "tls://alice.example:1", "trouble": "192.0.2.1:6514: refused (workbench)"}],
            "policies": {"last_reload": {"error": "unknown user \"mallory\", alice@example.com"}},
            "health": [{"part": "listener", "state": "ok"}],
            "found": "O=Portcullis, CN=Portcullis root old-name-of-alice 12ab, until 2028-01-01",
            "state": "/data/carol/ca is there",
        }));
        let text = shown.to_string();
        for name in ["alice", "mallory", "carol", "old-name", "192.0.2.1", "workbench", "example"] {
            assert!(!text.contains(name), "{name}: {text}");
        }
        for kept in [
            "0.1.0",
            "127.0.0.1:40443",
            "cannot be read",
            "refused",
            "unknown user",
            "listener",
            "until 2028",
            "is there",
        ] {
            assert!(text.contains(kept), "{kept}: {text}");
        }
        assert_eq!(shown["device"]["tags"][0], shown["exports"][0]["name"], "equal names stay equal");
    }
}
