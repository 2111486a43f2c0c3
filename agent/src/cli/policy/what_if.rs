//! `policy what-if`: the decision about an activity that nobody has made, with the way to it.

use std::borrow::Cow;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use super::print;
use super::source::{Loaded, SourceArgs, load, say_origin};
use crate::classify::{ActivityType, Classification, Kind};
use crate::cli::classify::{DeviceState, made_up_device, made_up_user};
use crate::cli::terminal::{Screen, clean, clean_json};
use crate::cli::{USAGE, activity, complain, explanation};
use crate::detect::Detector;
use crate::detect::scan::Scan;
use crate::diagnostic::did_you_mean;
use crate::document::parse_size;
use crate::identity;
use crate::policy::Circumstances;
use crate::session::ClientKind;

/// What would be decided, without traffic
#[derive(Debug, clap::Args)]
pub(super) struct WhatIfArgs {
    /// Name of the user, or a uid
    #[arg(long, value_name = "NAME", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    user: String,
    /// A group of the user; may be repeated. Without any, the groups that this host knows
    #[arg(long = "group", value_name = "NAME")]
    groups: Vec<String>,
    /// Id of the app
    #[arg(long, value_name = "ID")]
    app: String,
    /// download, upload, sign-in, sign-in-failed, message, share, print, view, access, copy, cut, paste
    #[arg(long, value_name = "TYPE", value_parser = activity::activity_type, default_value = "download")]
    activity: ActivityType,
    /// Name of the file
    #[arg(long, value_name = "NAME")]
    file: Option<String>,
    /// Size of the file, in bytes or as in 10MiB; unknown when left out
    #[arg(long, value_name = "SIZE", value_parser = size)]
    size: Option<u64>,
    /// Media type of the file
    #[arg(long, value_name = "TYPE")]
    mime: Option<String>,
    /// What stands in the file: a detector, and how often it matches; may be repeated. Nothing when left out
    #[arg(long = "content", value_name = "DETECTOR=COUNT", value_parser = found)]
    content: Vec<(Detector, u32)>,
    /// State of the device
    #[arg(long, value_name = "STATE", default_value = "unmanaged")]
    device: DeviceState,
    /// A tag of the device; may be repeated
    #[arg(long = "tag", value_name = "NAME")]
    tags: Vec<String>,
    /// Kind of client program
    #[arg(long, value_name = "KIND", default_value = "browser")]
    client_app: ClientApp,
    /// Address by which named locations are decided; in none of them when left out
    #[arg(long, value_name = "ADDRESS")]
    location: Option<IpAddr>,
    #[command(flatten)]
    source: SourceArgs,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum ClientApp {
    Browser,
    Native,
}

fn size(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(bytes) => Ok(bytes),
        Err(_) => parse_size(text).map_err(|fault| match fault.help {
            Some(help) => format!("{}: {help}", fault.message),
            None => fault.message,
        }),
    }
}

fn found(text: &str) -> Result<(Detector, u32), String> {
    let (name, count) = text.split_once('=').unwrap_or((text, "1"));
    let detector = Detector::from_name(name).ok_or_else(|| {
        let names = Detector::ALL.iter().map(|detector| detector.name());
        did_you_mean(name, names).unwrap_or_default()
    })?;
    count
        .parse()
        .map(|count| (detector, count))
        .map_err(|_| "write a detector and a count, as in credit-card=1".into())
}

pub(super) fn run(args: &WhatIfArgs, config: Option<PathBuf>) -> anyhow::Result<ExitCode> {
    let loaded = match load(&args.source, config) {
        Ok(loaded) => loaded,
        Err(faults) => {
            complain(&faults);
            return Ok(ExitCode::from(USAGE));
        }
    };
    let Some(circumstances) = circumstances(args, &loaded) else { return Ok(ExitCode::from(USAGE)) };
    say_origin(&loaded.origin);
    let explanation = circumstances.explain(&loaded.policies);
    print(&if args.json {
        format!("{}\n", clean_json(&explanation.to_json().to_string()))
    } else {
        explanation::text(&explanation, Screen::of_stdout())
    })
}

/// `None` when the app is unknown, which has been said.
fn circumstances(args: &WhatIfArgs, loaded: &Loaded) -> Option<Circumstances> {
    let Some(app) = loaded.catalog.app(&args.app) else {
        let ids = loaded.catalog.apps().iter().map(|app| &*app.id);
        let suite: Vec<&str> = loaded.catalog.suite(&args.app).map(|app| &*app.id).collect();
        let help = match suite.is_empty() {
            true => did_you_mean(&args.app, ids).unwrap_or_default(),
            false => format!("it is a suite; name one of {}", suite.join(", ")),
        };
        eprintln!("portcullis: no app has the id \"{}\" {}", clean(&args.app), clean(&help));
        return None;
    };
    let user = match args.groups.is_empty() {
        true => identity::known_user(made_up_user(&args.user, &[]), &loaded.config),
        false => Arc::new(made_up_user(&args.user, &args.groups)),
    };
    let kind = match args.client_app {
        ClientApp::Browser => ClientKind::Browser,
        ClientApp::Native => ClientKind::Native,
    };
    let class = Classification {
        activity: args.activity,
        download: args.activity == ActivityType::Download,
        filename: args.file.clone(),
        other_filenames: Vec::new(),
        mime: args.mime.as_deref().map(essence),
        file_type: None,
        kind: Kind::Attachment,
        reason: Cow::Borrowed("as given on the command line"),
    };
    let device = made_up_device(args.device, &args.tags);
    let made_up = Circumstances::new(app.clone(), user, kind, args.location, device, class, args.size);
    let scan = Scan { counts: args.content.iter().copied().collect(), unscanned: None };
    Some(Circumstances { content: (!args.content.is_empty()).then_some(scan), ..made_up })
}

/// Type and subtype, as live traffic is asked about: without parameters, in lower case.
fn essence(mime: &str) -> String {
    mime.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_media_type_is_asked_about_by_its_essence() {
        for written in ["application/pdf", "Application/PDF; charset=x", " application/pdf ;a=b"] {
            assert_eq!(essence(written), "application/pdf");
        }
    }

    #[test]
    fn content_is_a_detector_and_a_count() {
        assert_eq!(found("credit-card=2"), Ok((Detector::CreditCard, 2)));
        assert_eq!(found("iban"), Ok((Detector::Iban, 1)));
        assert!(found("credit-crad=1").unwrap_err().contains("`credit-card`"));
        assert!(found("iban=x").unwrap_err().contains("credit-card=1"));
    }
}
