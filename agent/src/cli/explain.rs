//! `portcullis explain ID`: why an activity was decided the way it was, by the policies as they were then.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use serde_json::json;
use uuid::Uuid;

use super::explanation;
use super::terminal::{Screen, clean, clean_json};
use crate::activity::Activity;
use crate::admin::why::Why;

/// Show why an activity was decided the way it was: each policy, each condition, matched or not.
#[derive(Debug, clap::Args)]
pub struct ExplainArgs {
    /// Id of the activity, as the log and the block page show it
    #[arg(value_parser = id)]
    pub id: Uuid,
    /// One JSON object
    #[arg(long)]
    pub json: bool,
}

fn id(text: &str) -> Result<Uuid, String> {
    text.parse().map_err(|_| {
        "expected the id of an activity, as `portcullis activity --json` and the block page show it"
            .to_owned()
    })
}

/// Explains a record of the log at `log`.
///
/// # Errors
/// There is no such record, or the log cannot be read.
pub fn run(args: &ExplainArgs, log: &Path) -> anyhow::Result<ExitCode> {
    let reader = super::log::open(log)?;
    let Some(activity) = reader.get(args.id)? else {
        bail!("no activity {} is in the log; `portcullis activity --json` shows the ids", args.id);
    };
    let why = Why::of(&activity, &reader)?;
    let text =
        if args.json { as_json(&activity, &why) } else { as_text(&activity, &why, Screen::of_stdout()) };
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error).context("cannot write"),
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// `{"activity":{…},"explanation":{…}|null,"caveats":[…]}`
fn as_json(activity: &Activity, why: &Why) -> String {
    let explanation = match why {
        Why::Policies(explanation) => Some(explanation.to_json()),
        Why::NotAsked(_) | Why::NotKept(_) => None,
    };
    let value = json!({ "activity": activity, "explanation": explanation, "caveats": why.caveats(activity) });
    format!("{}\n", clean_json(&value.to_string()))
}

fn as_text(activity: &Activity, why: &Why, screen: Screen) -> String {
    let mut text = format!("activity   {}\ntime       {}\n", activity.id, activity.time);
    let file = activity.file.as_ref().and_then(|file| file.name.as_deref());
    let what =
        format!("{}{}", activity.kind.name(), file.map(|name| format!(" of {name}")).unwrap_or_default());
    let _ = writeln!(text, "what       {}", clean(&what));
    let _ = writeln!(text, "app        {} ({})", clean(&activity.app.name), clean(&activity.app.id));
    if let Some(evaluated) = &activity.evaluated {
        let _ = writeln!(text, "known by   {} ({})", clean(&evaluated.why), evaluated.kind.name());
    }
    let _ = match activity.decision.policy_set {
        Some(set) => writeln!(text, "policies   {set}"),
        None => Ok(()),
    };
    match why {
        Why::Policies(explanation) => text.push_str(&explanation::text(explanation, screen)),
        Why::NotAsked(_) | Why::NotKept(_) => {
            let decision = &activity.decision;
            let action = screen.paint(explanation::colour(decision.action), decision.action.name());
            let by = decision.policy.as_deref().map(|p| format!(" by \"{p}\"")).unwrap_or_default();
            let _ =
                writeln!(text, "decision   {action}{}\n           {}", clean(&by), clean(&decision.reason));
        }
    }
    for caveat in why.caveats(activity) {
        let _ = writeln!(text, "\nnote: {}", clean(&caveat));
    }
    text
}
