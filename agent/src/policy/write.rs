//! Policies in the words of their files: as TOML that reads back to the same policy, and as JSON of the same shape.

use std::fmt::Write as _;

use serde::Serialize;

use super::decision::Action;
use super::{Control, Policy, Rule, RuleActivity, Scope, State};

/// A policy as its file would say it. `None` and empty lists are left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Written {
    pub name: String,
    pub state: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub users: Option<Words>,
    pub apps: Words,
    #[serde(skip_serializing_if = "Conditions::is_empty")]
    pub conditions: Conditions,
    #[serde(skip_serializing_if = "Session::is_empty")]
    pub session: Session,
}

/// An include list and an exclude list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Words {
    pub include: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Conditions {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub client_apps: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub devices: Option<Words>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub locations: Option<Words>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Session {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub control: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    #[serde(rename = "rule", skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<WrittenRule>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct WrittenRule {
    pub name: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub activity: Vec<String>,
    #[serde(skip_serializing_if = "Files::is_empty")]
    pub files: Files,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<Content>,
    pub action: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Files {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub extensions: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mime: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub types: Vec<String>,
    /// Bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub larger_than: Option<u64>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Content {
    pub detect: Vec<String>,
    pub at_least: u64,
    pub unscanned: String,
}

impl Conditions {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Session {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Files {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Written {
    pub fn new(name: &str, state: State) -> Self {
        Self { name: name.to_owned(), state: state.name().to_owned(), ..Self::default() }
    }

    pub fn of(policy: &Policy) -> Self {
        Self {
            users: Words::of(&policy.users),
            apps: Words::of(&policy.apps).unwrap_or_default(),
            conditions: Conditions {
                client_apps: Words::of(&policy.client_apps).unwrap_or_default().include,
                devices: Words::of(&policy.devices),
                locations: Words::of(&policy.locations),
            },
            session: Session {
                control: policy.control.as_ref().map(|control| control.name().to_owned()),
                message: policy.message.as_deref().map(str::to_owned),
                rules: match &policy.control {
                    Some(Control::Custom(rules)) => rules.iter().map(WrittenRule::of).collect(),
                    _ => Vec::new(),
                },
            },
            ..Self::new(&policy.name, policy.state)
        }
    }

    /// One `[[policy]]`, with a line break at its end.
    pub fn to_toml(&self) -> String {
        let mut toml = Toml(String::new());
        toml.table("[[policy]]");
        toml.text("name", &self.name);
        toml.text("state", &self.state);
        for (key, words) in [("users", self.users.as_ref()), ("apps", Some(&self.apps))] {
            if let Some(words) = words {
                toml.words(key, words);
            }
        }
        let Conditions { client_apps, devices, locations } = &self.conditions;
        if !self.conditions.is_empty() {
            toml.table("[policy.conditions]");
            toml.list("client_apps", client_apps);
            for (key, words) in [("devices", devices), ("locations", locations)] {
                if let Some(words) = words {
                    toml.words(key, words);
                }
            }
        }
        let Session { control, message, rules } = &self.session;
        if !self.session.is_empty() {
            toml.table("[policy.session]");
            toml.optional("control", control.as_deref());
            toml.optional("message", message.as_deref());
        }
        for rule in rules {
            toml.table("[[policy.session.rule]]");
            toml.text("name", &rule.name);
            toml.list("activity", &rule.activity);
            let Files { extensions, names, mime, types, larger_than } = &rule.files;
            toml.list("files.extensions", extensions);
            toml.list("files.names", names);
            toml.list("files.mime", mime);
            toml.list("files.types", types);
            if let Some(size) = larger_than {
                toml.line("files.larger_than", size);
            }
            if let Some(content) = &rule.content {
                toml.list("content.detect", &content.detect);
                toml.line("content.at_least", content.at_least);
                toml.text("content.unscanned", &content.unscanned);
            }
            toml.text("action", &rule.action);
            toml.optional("message", rule.message.as_deref());
        }
        toml.0
    }
}

impl Words {
    pub fn new(include: Vec<String>, exclude: Vec<String>) -> Self {
        Self { include, exclude }
    }

    fn of<R>(scope: &Scope<R>) -> Option<Self> {
        let words = |list: &[super::Selector<R>]| list.iter().map(|item| item.text.to_string()).collect();
        scope.is_given().then(|| Self { include: words(scope.include()), exclude: words(scope.exclude()) })
    }
}

impl WrittenRule {
    fn of(rule: &Rule) -> Self {
        let activity = |activity: &RuleActivity| activity.name().to_owned();
        let texts = |globs: &[crate::catalog::Glob], skip: &str| {
            let bare = |text: &str| text.strip_prefix(skip).unwrap_or(text).to_owned();
            globs.iter().map(|glob| bare(glob.as_str())).collect()
        };
        Self {
            name: rule.name.to_string(),
            activity: rule.activities.iter().map(activity).collect(),
            files: Files {
                extensions: texts(&rule.files.extensions, "*."),
                names: texts(&rule.files.names, ""),
                mime: texts(&rule.files.mime, ""),
                types: rule.files.types.iter().map(|rule| rule.name().to_owned()).collect(),
                larger_than: rule.files.larger_than,
            },
            content: rule.content.as_ref().map(|content| Content {
                detect: content.detect.iter().map(|detector| detector.name().to_owned()).collect(),
                at_least: content.at_least,
                unscanned: content.unscanned.name().to_owned(),
            }),
            action: Action::name(rule.action).to_owned(),
            message: rule.message.as_deref().map(str::to_owned),
        }
    }
}

/// Text that grows by lines. Writing into a String cannot fail.
struct Toml(String);

impl Toml {
    fn table(&mut self, header: &str) {
        self.0.push_str(header);
        self.0.push('\n');
    }

    fn line(&mut self, key: &str, value: impl std::fmt::Display) {
        let _ = writeln!(self.0, "{key} = {value}");
    }

    fn text(&mut self, key: &str, text: &str) {
        self.line(key, quoted(text));
    }

    fn optional(&mut self, key: &str, text: Option<&str>) {
        if let Some(text) = text {
            self.text(key, text);
        }
    }

    fn list(&mut self, key: &str, items: &[String]) {
        if !items.is_empty() {
            self.line(key, listed(items));
        }
    }

    fn words(&mut self, key: &str, words: &Words) {
        let exclude = match words.exclude.is_empty() {
            true => String::new(),
            false => format!(", exclude = {}", listed(&words.exclude)),
        };
        self.line(key, format_args!("{{ include = {}{exclude} }}", listed(&words.include)));
    }
}

fn listed(items: &[String]) -> String {
    let items: Vec<String> = items.iter().map(|item| quoted(item)).collect();
    format!("[{}]", items.join(", "))
}

/// A basic string (TOML 1.0): what it must not hold as it is, and what would steer a terminal, as `\u` escapes.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            c if c.is_control() || is_bidirectional(c) => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// Marks, overrides and isolates that reorder what a reader of the file sees.
fn is_bidirectional(c: char) -> bool {
    matches!(c, '\u{061C}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}
