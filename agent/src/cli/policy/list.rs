//! `policy list` and `policy show`.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::print;
use super::source::{Loaded, SourceArgs, load, say_origin};
use crate::cli::terminal::{Colour, Screen, clean, clean_json, column};
use crate::cli::{USAGE, complain};
use crate::diagnostic::did_you_mean;
use crate::policy::write::{Words, Written};
use crate::policy::{AppRule, Control, LocationRule, Policy, PolicySet};

/// Columns of a name, before it is cut.
const NAME: usize = 44;

#[derive(Debug, clap::Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    source: SourceArgs,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct ShowArgs {
    /// Name of the policy
    name: String,
    #[command(flatten)]
    source: SourceArgs,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn list(args: &ListArgs, config: Option<PathBuf>) -> anyhow::Result<ExitCode> {
    let Loaded { policies, origin, .. } = match load(&args.source, config) {
        Ok(loaded) => loaded,
        Err(faults) => {
            complain(&faults);
            return Ok(ExitCode::from(USAGE));
        }
    };
    say_origin(&origin);
    print(&if args.json { as_json(&policies) } else { table(&policies, Screen::of_stdout()) })
}

pub(super) fn show(args: &ShowArgs, config: Option<PathBuf>) -> anyhow::Result<ExitCode> {
    let Loaded { policies, origin, .. } = match load(&args.source, config) {
        Ok(loaded) => loaded,
        Err(faults) => {
            complain(&faults);
            return Ok(ExitCode::from(USAGE));
        }
    };
    let Some(policy) = policies.get(&args.name) else {
        let names = policies.policies().iter().map(|policy| &*policy.name);
        let help = did_you_mean(&args.name, names).map(|help| format!(" ({help})")).unwrap_or_default();
        eprintln!("portcullis: {origin}: no policy is named \"{}\"{}", clean(&args.name), clean(&help));
        return Ok(ExitCode::FAILURE);
    };
    say_origin(&origin);
    print(&if args.json { format!("{}\n", clean_json(&value(policy).to_string())) } else { toml(policy) })
}

fn as_json(policies: &PolicySet) -> String {
    let lines =
        policies.policies().iter().map(|policy| format!("{}\n", clean_json(&value(policy).to_string())));
    lines.collect()
}

/// The policy as its file says it, where it stands, and the ids and networks that its words stand for.
fn value(policy: &Policy) -> Value {
    let mut value = serde_json::to_value(Written::of(policy)).unwrap_or_default();
    let (apps, networks) = meanings(policy);
    if let Some(object) = value.as_object_mut() {
        object.insert("path".into(), json!(policy.path));
        object.insert("line".into(), json!(policy.line));
        object.insert("in_force".into(), json!(policy.in_force()));
        let pairs = |list: Meanings<'_>| -> Value {
            list.into_iter()
                .map(|(word, means)| (word.to_owned(), json!(means)))
                .collect::<serde_json::Map<_, _>>()
                .into()
        };
        object.insert("means".into(), json!({ "apps": pairs(apps), "networks": pairs(networks) }));
    }
    value
}

/// A word of a policy, and what it stands for.
type Meanings<'p> = Vec<(&'p str, Vec<String>)>;

/// The words for apps and networks, with what each stands for.
fn meanings(policy: &Policy) -> (Meanings<'_>, Meanings<'_>) {
    let (mut apps, mut networks) = (Vec::new(), Vec::new());
    for selector in policy.apps.include().iter().chain(policy.apps.exclude()) {
        if let AppRule::Ids(ids) = &selector.rule {
            apps.push((&*selector.text, ids.iter().map(|id| id.to_string()).collect()));
        }
    }
    for selector in policy.locations.include().iter().chain(policy.locations.exclude()) {
        if let LocationRule::Network(nets) = &selector.rule {
            networks.push((&*selector.text, nets.iter().map(|net| net.to_string()).collect()));
        }
    }
    (apps, networks)
}

fn toml(policy: &Policy) -> String {
    let mut text = format!("# {}:{}\n", clean(&policy.path), policy.line);
    if !policy.in_force() {
        let why = if policy.control.is_none() { "it has no session control" } else { "it is disabled" };
        let _ = writeln!(text, "# not in force: {why}");
    }
    let (apps, networks) = meanings(policy);
    for (word, means) in apps.into_iter().chain(networks) {
        if means.len() != 1 || means.first().is_none_or(|only| only != word) {
            let _ = writeln!(text, "# {} stands for {}", clean(word), clean(&means.join(", ")));
        }
    }
    text + &Written::of(policy).to_toml()
}

fn table(policies: &PolicySet, screen: Screen) -> String {
    let heading = format!("{} {:<11} {:<15} {:<28} FILE", column("NAME", NAME), "STATE", "CONTROL", "APPS");
    let mut text = format!("{}\n", screen.paint(Colour::Bold, &heading));
    for policy in policies.policies() {
        let control = policy.control.as_ref().map_or("none", Control::name);
        let Words { include, exclude } = Written::of(policy).apps;
        let except = if exclude.is_empty() { String::new() } else { format!(" but {}", exclude.join(" ")) };
        let apps = column(&format!("{}{except}", include.join(" ")), 28);
        let line = format!(
            "{} {:<11} {control:<15} {apps} {}:{}",
            column(&policy.name, NAME),
            policy.state.name(),
            clean(&policy.path),
            policy.line,
        );
        let line = if policy.in_force() { line.into() } else { screen.paint(Colour::Dim, &line) };
        let _ = writeln!(text, "{line}");
    }
    text
}
