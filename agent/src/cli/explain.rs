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
use crate::activity::{Activity, NotEvaluated};
use crate::policy::{Explanation, PolicySet};
use crate::record::query::Reader;

/// Show why an activity was decided the way it was: each policy, each condition, matched or not.
#[derive(Debug, clap::Args)]
pub struct ExplainArgs {
    /// Id of the activity, as the log and the block page show it
    pub id: Uuid,
    /// One JSON object
    #[arg(long)]
    pub json: bool,
}

/// What is known about the way to a recorded decision.
enum Why {
    Policies(Box<Explanation>),
    /// No policy can be asked again.
    NotAsked(NotEvaluated),
    /// The policies of then are not in the log.
    NotKept(Uuid),
}

/// Explains a record of the log at `log`.
///
/// # Errors
/// There is no such record, or the log cannot be read.
pub fn run(args: &ExplainArgs, log: &Path) -> anyhow::Result<ExitCode> {
    let reader = Reader::open(log)?;
    let Some(activity) = reader.get(args.id)? else {
        bail!("no activity {} is in the log; `portcullis activity --json` shows the ids", args.id);
    };
    let why = match (activity.circumstances(), activity.decision.policy_set) {
        (Err(reason), _) => Why::NotAsked(reason),
        (Ok(_), None) => Why::NotAsked(NotEvaluated::Older),
        (Ok(circumstances), Some(set)) => match reader.policy_set(set)? {
            None => Why::NotKept(set),
            Some(document) => {
                let policies = PolicySet::from_document(&document).context("the policies of then")?;
                Why::Policies(Box::new(circumstances.explain(&policies)))
            }
        },
    };
    let text =
        if args.json { as_json(&activity, &why) } else { as_text(&activity, &why, Screen::of_stdout()) };
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error).context("cannot write"),
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// What makes the explanation less than exact, in words.
fn caveats(activity: &Activity, why: &Why) -> Vec<String> {
    let mut caveats = Vec::new();
    match why {
        Why::Policies(explanation) => {
            let (now, then) = (&explanation.decision, &activity.decision);
            if (now.action(), now.policy(), now.rule())
                != (then.action, then.policy.as_ref(), then.rule.as_ref())
            {
                caveats.push(
                    "this version of the program decides otherwise than the one that recorded it".to_owned(),
                );
            }
            if activity.evaluated.as_ref().is_some_and(|evaluated| evaluated.cut) {
                caveats.push("something that policies looked at was longer than a record may be".to_owned());
            }
        }
        Why::NotAsked(reason) => caveats.push(reason.to_string()),
        Why::NotKept(set) => caveats.push(format!("the policy set {set} of then is not kept any more")),
    }
    caveats
}

/// `{"activity":{…},"explanation":{…}|null,"caveats":[…]}`
fn as_json(activity: &Activity, why: &Why) -> String {
    let explanation = match why {
        Why::Policies(explanation) => Some(explanation.to_json()),
        Why::NotAsked(_) | Why::NotKept(_) => None,
    };
    let value =
        json!({ "activity": activity, "explanation": explanation, "caveats": caveats(activity, why) });
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
    for caveat in caveats(activity, why) {
        let _ = writeln!(text, "\nnote: {}", clean(&caveat));
    }
    text
}
