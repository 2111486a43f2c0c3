//! The session control of a policy and the rules of a custom one.

use std::collections::HashSet;
use std::sync::Arc;

use super::{LEAVE_OUT, refuse_empty};
use crate::catalog::Glob;
use crate::detect::{Detector, DetectorSet};
use crate::document::{Fault, Table, Value, parse_size};
use crate::policy::content::{ContentFilter, WhenUnscanned};
use crate::policy::decision::Action;
use crate::policy::rule::{Control, FileFilter, Rule, RuleActivity};
use crate::policy::true_type::TypeRule;

const SESSION_KEYS: &[&str] = &["control", "message", "rule"];
const RULE_KEYS: &[&str] = &["name", "activity", "files", "content", "action", "message"];
const FILE_KEYS: &[&str] = &["extensions", "names", "mime", "types", "larger_than"];
const CONTENT_KEYS: &[&str] = &["detect", "at_least", "unscanned"];
const ACTIONS: [(&str, Action); 3] = [
    (Action::Allow.name(), Action::Allow),
    (Action::Monitor.name(), Action::Monitor),
    (Action::Block.name(), Action::Block),
];
const UNSCANNED: [(&str, WhenUnscanned); 2] = [
    (WhenUnscanned::Ignore.name(), WhenUnscanned::Ignore),
    (WhenUnscanned::Match.name(), WhenUnscanned::Match),
];
/// What the browser does by itself: it can be kept from it, but nobody is told of it. A rule that would silently do
/// nothing is worse than a refused one.
const IN_PAGES: [RuleActivity; 3] = [RuleActivity::Copy, RuleActivity::Cut, RuleActivity::Paste];
/// Longest message to a user, in characters.
const MAX_MESSAGE: usize = 1000;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    BlockDownloads,
    MonitorOnly,
    Custom,
}

const CONTROLS: [(&str, Kind); 3] = [
    ("block-downloads", Kind::BlockDownloads),
    ("monitor-only", Kind::MonitorOnly),
    ("custom", Kind::Custom),
];

/// The control, absent when the policy has none, and the message of the policy.
pub(super) fn read_session(policy: &Table<'_>) -> (Option<Control>, Option<Arc<str>>) {
    let table = policy.table("session", SESSION_KEYS);
    let rules = rules(&table);
    let message = table.get("message").and_then(|value| message(&value));
    let kind = match table.get("control") {
        Some(value) => value.choice(&CONTROLS),
        None => {
            if let Some(orphan) = table.get("rule") {
                orphan.complain(Fault::new("rules need a control").help("add `control = \"custom\"`"));
            }
            None
        }
    };
    let control = match kind {
        Some(Kind::Custom) => {
            let fault = || Fault::new("a custom control needs rules").help("add `[[policy.session.rule]]`");
            match table.get("rule") {
                None => table.complain(fault()),
                Some(value) if value.is_empty_list() => value.complain(fault()),
                Some(_) => {}
            }
            Some(Control::Custom(rules))
        }
        Some(kind) => {
            if let Some(unread) = table.get("rule") {
                let fault = Fault::new("only the control \"custom\" reads rules");
                unread.complain(fault.help("write `control = \"custom\"`, or drop the rules"));
            }
            Some(if kind == Kind::MonitorOnly { Control::MonitorOnly } else { Control::BlockDownloads })
        }
        None => None,
    };
    (control, message)
}

/// The rules of `[[policy.session.rule]]`. Records name the rule that decided: no two of a policy have the same name.
fn rules(session: &Table<'_>) -> Vec<Rule> {
    let tables = session.tables("rule", RULE_KEYS);
    let mut names = HashSet::new();
    let name = |table: &Table<'_>| table.get("name").and_then(|value| value.text().map(str::to_owned));
    // Those that are numbered take their names first: what is written can be changed.
    names.extend(
        tables.iter().zip(1..).filter(|(table, _)| table.get("name").is_none()).map(|(_, n)| numbered(n)),
    );
    for table in &tables {
        if let (Some(name), Some(value)) = (name(table), table.get("name"))
            && !names.insert(name.clone())
        {
            let fault = Fault::new(format!("two rules of the policy are named \"{}\"", name.escape_debug()));
            value.complain(fault.help("records name the rule that decided: give each its own"));
        }
    }
    tables.iter().zip(1..).filter_map(rule).collect()
}

/// What a rule without a name is called.
fn numbered(number: usize) -> String {
    format!("rule {number}")
}

fn rule((table, number): (&Table<'_>, usize)) -> Option<Rule> {
    let name = table.get("name").and_then(|value| value.name()).map(Arc::from);
    let activities = table.get("activity").map(|value| {
        refuse_empty(&value, "no activity is named, so the rule would never match", LEAVE_OUT);
        value.each_once(activity)
    });
    let in_page = activities.iter().flatten().find(|activity| IN_PAGES.contains(activity));
    if let Some(activity) = in_page {
        for part in ["files", "content"] {
            if let Some(value) = table.get(part) {
                let fault =
                    format!("of a \"{}\" in a page neither file nor content is known", activity.name());
                value.complain(Fault::new(fault).help("give it a rule of its own without this"));
            }
        }
    }
    let content = table.table("content", CONTENT_KEYS);
    let content = table.get("content").is_some().then(|| content_filter(&content));
    let files = table.table("files", FILE_KEYS);
    if let (true, Some(value)) = (files.is_empty(), table.get("files")) {
        let fault = Fault::new("nothing is said of the files, so the rule would match every one");
        value.complain(fault.help(LEAVE_OUT));
    }
    let files = file_filter(&files);
    let message = table.get("message").and_then(|value| message(&value));
    let action = table
        .require("action", "say `action = \"allow\"`, `\"monitor\"` or `\"block\"`")?
        .choice(&ACTIONS)?;
    if let (Some(activity), Action::Monitor, Some(value)) = (in_page, action, table.get("action")) {
        let fault =
            format!("a \"{}\" in a page can be blocked, but is not seen to be recorded", activity.name());
        value.complain(Fault::new(fault).help("write `action = \"block\"`, or take it out of the list"));
    }
    // Without what was meant the rule would match everything.
    let content = match content {
        Some(filter) => Some(filter?),
        None => None,
    };
    Some(Rule {
        name: name.unwrap_or_else(|| numbered(number).into()),
        activities: activities.unwrap_or_default(),
        files,
        content,
        action,
        message,
    })
}

fn content_filter(table: &Table<'_>) -> Option<ContentFilter> {
    let mut unscanned = WhenUnscanned::default();
    table.set("unscanned", &mut unscanned, |value| value.choice(&UNSCANNED));
    let mut at_least = 1;
    table.set("at_least", &mut at_least, |value| value.integer(1..=u64::from(u32::MAX)));
    let detect =
        table.require("detect", "name the detectors, as in `detect = [\"credit-card\", \"iban\"]`")?;
    let help = "name a detector, or leave `content` out to cover everything";
    refuse_empty(&detect, "no detector is named, so the rule would never match", help);
    let detectors: DetectorSet = detect.each_once(detector).into_iter().collect();
    (!detectors.is_empty()).then_some(ContentFilter { detect: detectors, at_least, unscanned })
}

fn detector(value: &Value<'_>) -> Option<Detector> {
    value.parse(|text| {
        Detector::from_name(text).ok_or_else(|| {
            Fault::unknown("detector", text, Detector::ALL.iter().map(|detector| detector.name()))
        })
    })
}

fn activity(value: &Value<'_>) -> Option<RuleActivity> {
    value.parse(|text| {
        let choices = RuleActivity::CHOICES;
        match choices.iter().find(|(name, _)| *name == text) {
            Some((_, activity)) => Ok(*activity),
            None => Err(Fault::unknown("activity", text, choices.iter().map(|(name, _)| *name))),
        }
    })
}

fn file_filter(table: &Table<'_>) -> FileFilter {
    let globs = |key, read: fn(&str) -> Result<Glob, Fault>| -> Vec<Glob> {
        let Some(value) = table.get(key) else { return Vec::new() };
        refuse_empty(&value, "the list is empty, so the rule would never match", LEAVE_OUT);
        value.each_once(|item| item.parse(read))
    };
    FileFilter {
        extensions: globs("extensions", extension),
        names: globs("names", name_glob),
        mime: globs("mime", mime),
        types: table.get("types").map(|value| types(&value)).unwrap_or_default(),
        larger_than: table.get("larger_than").and_then(|value| size(&value)),
    }
}

fn types(value: &Value<'_>) -> Vec<TypeRule> {
    refuse_empty(value, "the list is empty, so the rule would never match", LEAVE_OUT);
    value.each_once(|item| {
        item.parse(|text| {
            TypeRule::parse(text)
                .ok_or_else(|| Fault::unknown("file type", text, TypeRule::choices().collect::<Vec<_>>()))
        })
    })
}

fn size(value: &Value<'_>) -> Option<u64> {
    if value.is_integer() { value.integer(0..=u64::MAX) } else { value.parse(parse_size) }
}

fn name_glob(text: &str) -> Result<Glob, Fault> {
    Glob::name(text).map_err(|error| Fault::new(error.to_string()))
}

fn extension(text: &str) -> Result<Glob, Fault> {
    let bare = text.strip_prefix('.').unwrap_or(text);
    if bare.is_empty() || bare.contains(['*', '?', '/']) {
        let fault = Fault::new("an extension is written without wildcards, as in `docx`");
        return Err(fault.help("patterns over whole names go into `names`"));
    }
    Glob::extension(bare).map_err(|error| Fault::new(error.to_string()))
}

fn mime(text: &str) -> Result<Glob, Fault> {
    match text.split_once('/') {
        Some((main, sub)) if !main.is_empty() && !sub.is_empty() && !text.contains([';', ' ']) => {
            name_glob(text)
        }
        _ => {
            let fault = Fault::new("not a media type");
            Err(fault.help("write type and subtype without parameters, as in `application/pdf` or `image/*`"))
        }
    }
}

fn message(value: &Value<'_>) -> Option<Arc<str>> {
    let text = value.text()?;
    let fault = if text.trim().is_empty() {
        "must not be empty"
    } else if text.chars().count() > MAX_MESSAGE {
        "a message has at most 1000 characters"
    } else if text.chars().any(|c| c.is_control() && c != '\n') {
        "must not contain control characters"
    } else {
        return Some(text.into());
    };
    value.complain(Fault::new(fault));
    None
}
