//! `policy replay`: candidate policies over the recorded activities, and what they would change.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::source::{Loaded, candidates, say_origin};
use crate::activity::{Activity, NotEvaluated};
use crate::app::ACTIVITY_LOG;
use crate::classify::ActivityType;
use crate::cli::activity::activity_type;
use crate::cli::terminal::{Screen, clean, clean_json, column};
use crate::cli::{USAGE, complain, explanation};
use crate::policy::PolicySet;
use crate::policy::decision::{Action, Decision};
use crate::record::query::{Entry, Filter, QueryError, Reader, moment};
use crate::reload::Sources;

#[derive(Debug, clap::Args)]
pub(super) struct ReplayArgs {
    /// A file of policies, or a directory such as policies.d
    candidates: PathBuf,
    /// At or after: RFC 3339, a local date or date and time, or how long ago: 30m, 1h, 2d
    #[arg(long, value_name = "TIME", value_parser = moment::parse)]
    since: Option<Timestamp>,
    /// At or before; the same forms
    #[arg(long, value_name = "TIME", value_parser = moment::parse)]
    until: Option<Timestamp>,
    /// Id of the app, or of its suite
    #[arg(long, value_name = "ID")]
    app: Option<String>,
    /// Name or uid of the user
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// download, upload, sign-in, sign-in-failed, message, share, print, view, none
    #[arg(long = "type", value_name = "TYPE", value_parser = activity_type)]
    kind: Option<ActivityType>,
    /// List at most so many changes; all are counted
    #[arg(long, value_name = "N", default_value_t = 1000)]
    limit: usize,
    /// One JSON object a line: the changes, then the counts
    #[arg(long)]
    json: bool,
}

/// What came of asking the candidates.
#[derive(Debug, Default)]
struct Counts {
    asked: u64,
    /// Action then, action now.
    changed: BTreeMap<(&'static str, &'static str), u64>,
    /// The same action, but of another policy or rule.
    other_policy: u64,
    /// Report-only candidates that would have been stricter.
    reported: u64,
    refused: u64,
    older: u64,
    /// Something that policies look at was longer than a record may be.
    cut: u64,
    /// Gaps in the log within the time asked for.
    gaps: u64,
}

pub(super) fn run(args: &ReplayArgs, config: Option<PathBuf>) -> anyhow::Result<ExitCode> {
    let Loaded { policies, config: settings, origin, .. } =
        match candidates(&args.candidates, &Sources::new(config)) {
            Ok(loaded) => loaded,
            Err(faults) => {
                complain(&faults);
                return Ok(ExitCode::from(USAGE));
            }
        };
    let reader = crate::cli::log::open(&settings.paths.state.join(ACTIVITY_LOG))?;
    say_origin(&origin);
    let mut out = io::BufWriter::new(io::stdout().lock());
    match replay(args, &policies, &reader, Screen::of_stdout(), &mut out) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        // The reader has seen enough (`| head`).
        Err(ReplayError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        Err(error) => Err(error.into()),
    }
}

#[derive(Debug, thiserror::Error)]
enum ReplayError {
    #[error(transparent)]
    Query(#[from] QueryError),
    #[error("cannot write: {0}")]
    Output(#[from] io::Error),
}

fn replay(
    args: &ReplayArgs,
    policies: &PolicySet,
    reader: &Reader,
    screen: Screen,
    out: &mut impl Write,
) -> Result<(), ReplayError> {
    let filter = Filter {
        since: args.since,
        until: args.until,
        app: args.app.clone(),
        user: args.user.clone(),
        kind: args.kind,
        ..Filter::default()
    };
    let (mut counts, mut listed, mut written) = (Counts::default(), 0, Ok(()));
    reader.newest_first(&filter, |entry| {
        let Entry::Activity(activity) = entry else {
            counts.gaps += 1;
            return ControlFlow::Continue(());
        };
        let Some(would) = counts.ask(&activity, policies) else { return ControlFlow::Continue(()) };
        if listed < args.limit {
            listed += 1;
            written = match args.json {
                true => writeln!(out, "{}", clean_json(&change_json(&activity, &would).to_string())),
                false => writeln!(out, "{}", change_line(&activity, &would, screen)),
            };
        }
        if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    written?;
    match args.json {
        true => writeln!(out, "{}", counts.as_json())?,
        false => write!(out, "{}", counts.as_text(listed))?,
    }
    Ok(out.flush()?)
}

impl Counts {
    /// Asks about one activity; gives the decision where its action differs.
    fn ask(&mut self, activity: &Activity, policies: &PolicySet) -> Option<Decision> {
        let circumstances = match activity.circumstances() {
            Ok(circumstances) => circumstances,
            Err(NotEvaluated::Refused) => {
                self.refused += 1;
                return None;
            }
            Err(NotEvaluated::Older) => {
                self.older += 1;
                return None;
            }
        };
        let (would, was) = (circumstances.decide(policies), &activity.decision);
        self.asked += 1;
        self.cut += u64::from(activity.evaluated.as_ref().is_some_and(|evaluated| evaluated.cut));
        self.reported += u64::from(!would.report_only().is_empty());
        if would.action() == was.action {
            let named = (would.policy(), would.rule()) != (was.policy.as_ref(), was.rule.as_ref());
            self.other_policy += u64::from(named);
            return None;
        }
        *self.changed.entry((was.action.name(), would.action().name())).or_default() += 1;
        Some(would)
    }

    fn as_json(&self) -> Value {
        let changed = self.changed.iter();
        let changed =
            changed.map(|((was, would), count)| json!({ "was": was, "would": would, "count": count }));
        json!({
            "type": "summary",
            "asked": self.asked,
            "changed": changed.collect::<Vec<_>>(),
            "other_policy": self.other_policy,
            "reported": self.reported,
            "not_asked": { "refused": self.refused, "older": self.older },
            "cut": self.cut,
            "gaps": self.gaps,
        })
    }

    fn as_text(&self, listed: usize) -> String {
        let all: u64 = self.changed.values().sum();
        let mut text = format!("{} activities asked again, {all} would be decided otherwise\n", self.asked);
        for ((was, would), count) in &self.changed {
            text += &format!("  {count:>8}  {was} -> {would}\n");
        }
        for (count, what) in [
            (all.saturating_sub(listed as u64), "changes are not listed: --limit shows more"),
            (self.other_policy, "keep their action, by another policy or rule"),
            (self.reported, "would be reported by report-only policies"),
            (self.refused, "were refused before any policy was asked, and stay so"),
            (self.older, "were recorded by a version that did not keep what policies look at"),
            (self.cut, "had more to look at than a record may keep: the answer may differ"),
            (self.gaps, "gaps in the log"),
        ] {
            if count > 0 {
                text += &format!("  {count:>8}  {what}\n");
            }
        }
        text
    }
}

fn change_json(activity: &Activity, would: &Decision) -> Value {
    let was = &activity.decision;
    json!({
        "type": "change",
        "id": activity.id,
        "time": activity.time,
        "user": activity.user.name,
        "uid": activity.user.uid,
        "app": activity.app.id,
        "activity": activity.kind.name(),
        "file": activity.file.as_ref().and_then(|file| file.name.as_deref()),
        "was": { "action": was.action.name(), "policy": was.policy, "rule": was.rule, "reason": was.reason },
        "would": {
            "action": would.action().name(),
            "policy": would.policy(),
            "rule": would.rule(),
            "reason": would.reason().to_string(),
        },
    })
}

/// Time, user, app, what, and the change with the policies on both sides.
fn change_line(activity: &Activity, would: &Decision, screen: Screen) -> String {
    let uid = activity.user.uid.map(|uid| uid.to_string());
    let user = activity.user.name.as_deref().or(uid.as_deref()).unwrap_or("-");
    let file = activity.file.as_ref().and_then(|file| file.name.as_deref()).unwrap_or_default();
    let what = format!("{} {file}", activity.kind.name());
    let by = |action: Action, policy: Option<&str>| {
        let by = policy.map(|policy| format!(" ({})", clean(policy))).unwrap_or_default();
        format!("{}{by}", screen.paint(explanation::colour(action), action.name()))
    };
    format!(
        "{} {} {} {} {} -> {}",
        activity.time.strftime("%Y-%m-%dT%H:%M:%SZ"),
        column(user, 12),
        column(&activity.app.id, 16),
        column(&what, 36),
        by(activity.decision.action, activity.decision.policy.as_deref()),
        by(would.action(), would.policy().map(|policy| &**policy)),
    )
}
