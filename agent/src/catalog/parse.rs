//! The text form of apps: `[[app]]` and `[[app.activity]]`, as in the built-in catalog and in `apps.d`.

use std::ops::{Range, RangeInclusive};
use std::sync::Arc;

use super::{ActivityRule, Glob, HostPattern, QueryParameter};
use crate::classify::ActivityType;
use crate::diagnostic::SourceFile;
use crate::document::{Fault, Read, Table, Value, read};

/// One `[[app]]` as written: an app of its own or the extension of one.
pub(super) struct AppEntry {
    pub(super) id: Arc<str>,
    pub(super) id_span: Range<usize>,
    pub(super) name: Option<Arc<str>>,
    pub(super) suite: Option<Arc<str>>,
    pub(super) category: Option<Arc<str>>,
    pub(super) domains: Vec<(HostPattern, Range<usize>)>,
    /// The key stands there, whatever came of its items.
    pub(super) domains_given: bool,
    pub(super) ports: Vec<u16>,
    pub(super) aliases: Vec<Arc<str>>,
    pub(super) activities: Vec<ActivityRule>,
    pub(super) redirect_target: bool,
}

const FILE_KEYS: &[&str] = &["app"];
const APP_KEYS: &[&str] =
    &["id", "name", "suite", "category", "domains", "ports", "aliases", "redirect_target", "activity"];
const ACTIVITY_KEYS: &[&str] = &["type", "method", "host", "path", "query", "status"];

const ACTIVITY_TYPES: [(&str, ActivityType); 9] = {
    const fn named(activity: ActivityType) -> (&'static str, ActivityType) {
        (activity.name(), activity)
    }
    [
        named(ActivityType::Download),
        named(ActivityType::Upload),
        named(ActivityType::SignIn),
        named(ActivityType::SignInFailed),
        named(ActivityType::Message),
        named(ActivityType::Share),
        named(ActivityType::Print),
        named(ActivityType::View),
        named(ActivityType::None),
    ]
};

pub(super) fn read_apps(source: &SourceFile) -> Read<Vec<AppEntry>> {
    read(source, FILE_KEYS, |root| root.tables("app", APP_KEYS).iter().filter_map(app).collect())
}

fn app(table: &Table<'_>) -> Option<AppEntry> {
    let text = |key| table.get(key).and_then(|v: Value<'_>| v.name()).map(Arc::from);
    let id_value = table.require("id", "give the app an id, for example `id = \"corp-files\"`");
    let domains = table.get("domains");
    let entry = AppEntry {
        id: Arc::from(""),
        id_span: id_value.as_ref().map_or(table.span(), Value::span),
        name: text("name"),
        suite: table.get("suite").and_then(|v| v.parse(id)),
        category: text("category"),
        domains_given: domains.is_some(),
        domains: domains.map(|v| v.each(domain)).unwrap_or_default(),
        ports: table.get("ports").map(|v| v.each(port)).unwrap_or_default(),
        aliases: table.get("aliases").map(|v| v.each(|v| v.parse(id))).unwrap_or_default(),
        redirect_target: table.get("redirect_target").and_then(|v| v.boolean()).unwrap_or(false),
        activities: table.tables("activity", ACTIVITY_KEYS).iter().filter_map(activity).collect(),
    };
    // Last, so that an app without a right id still has the rest of it checked.
    id_value?.parse(id).map(|id| AppEntry { id, ..entry })
}

/// Ids of apps and suites stand in policies, metric labels and commands.
fn id(text: &str) -> Result<Arc<str>, Fault> {
    const MAX_ID: usize = 64;
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'.');
    match text {
        "all" => Err(Fault::new("`all` means every app and cannot be an id")),
        _ if (1..=MAX_ID).contains(&text.len()) && text.bytes().all(plain) => Ok(text.into()),
        _ => Err(Fault::new("an id has 1 to 64 lower-case letters, digits, `-`, `_` and dots")),
    }
}

fn domain(value: &Value<'_>) -> Option<(HostPattern, Range<usize>)> {
    let pattern =
        value.parse(|text| HostPattern::parse(text).map_err(|error| Fault::new(error.to_string())))?;
    Some((pattern, value.span()))
}

fn port(value: &Value<'_>) -> Option<u16> {
    value.integer(1..=65_535).and_then(|port| u16::try_from(port).ok())
}

fn activity(table: &Table<'_>) -> Option<ActivityRule> {
    let activity = table.require("type", "say what the request is, for example `type = \"download\"`");
    let many = |key, read: fn(&Value<'_>) -> Option<Glob>| -> Vec<Glob> {
        table.get(key).map(|v| v.one_or_many().iter().filter_map(read).collect()).unwrap_or_default()
    };
    let methods = table.get("method").map(|v| v.one_or_many().iter().filter_map(method).collect());
    let rule = ActivityRule {
        activity: ActivityType::None,
        methods: methods.unwrap_or_default(),
        hosts: many("host", octets),
        paths: many("path", path),
        query: table.free_entries("query").into_iter().map(parameter).collect(),
        statuses: table
            .get("status")
            .map(|v| v.one_or_many().iter().filter_map(status).collect())
            .unwrap_or_default(),
    };
    if table.get("host").is_none() && table.get("path").is_none() && table.get("query").is_none() {
        let fault = Fault::new("the rule would match every request of the app");
        table.complain(fault.help("add `path`, `query` or `host`"));
    }
    activity?.choice(&ACTIVITY_TYPES).map(|activity| ActivityRule { activity, ..rule })
}

fn method(value: &Value<'_>) -> Option<Arc<str>> {
    value.parse(|text| {
        if !text.is_empty() && text.bytes().all(|b| b.is_ascii_uppercase()) {
            Ok(text.into())
        } else {
            Err(Fault::new("a method is written in capitals, as in `GET`"))
        }
    })
}

/// `200`, `"200"`, `"2xx"` or `"400-403"`.
fn status(value: &Value<'_>) -> Option<RangeInclusive<u16>> {
    const VALID: RangeInclusive<u16> = 100..=999;
    if value.is_integer() {
        return value.integer(100..=999).and_then(|status| u16::try_from(status).ok()).map(|s| s..=s);
    }
    value.parse(|text| {
        let number = |text: &str| text.parse::<u16>().ok().filter(|status| VALID.contains(status));
        let range = match (text.strip_suffix("xx"), text.split_once('-')) {
            (Some(hundred), _) => number(&format!("{hundred}00")).map(|first| first..=first + 99),
            (None, Some((first, last))) => number(first).zip(number(last)).map(|(first, last)| first..=last),
            (None, None) => number(text).map(|status| status..=status),
        };
        range
            .filter(|range| !range.is_empty())
            .ok_or_else(|| Fault::new("not a status").help("write `200`, `\"2xx\"` or `\"400-403\"`"))
    })
}

fn octets(value: &Value<'_>) -> Option<Glob> {
    value.parse(|text| Glob::octets(text).map_err(|error| Fault::new(error.to_string())))
}

fn path(value: &Value<'_>) -> Option<Glob> {
    let text = value.text()?;
    if text.contains('?') {
        let fault = Fault::new("a path has no query");
        value.complain(fault.help("give the parameters as `query = { name = \"value\" }`"));
        return None;
    }
    if !text.starts_with(['/', '*']) {
        value.complain(Fault::new("a path starts with `/` or `*`"));
        return None;
    }
    octets(value)
}

fn parameter((name, value): (&str, Value<'_>)) -> QueryParameter {
    QueryParameter { name: name.into(), values: value.one_or_many().iter().filter_map(octets).collect() }
}
