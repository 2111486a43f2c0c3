//! `policy import`: a Microsoft Graph export as policies of this host, on standard output; what is not carried over, on
//! standard error as well.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use serde_json::json;

use super::print;
use crate::cli::terminal::{clean, clean_json, counted};
use crate::cli::{USAGE, complain, load};
use crate::diagnostic::SourceFile;
use crate::policy::PolicySet;
use crate::policy::import::{Effect, Export, Host, Imported, Names, decode, import};

/// Largest export that is read, in bytes: ten thousand policies.
const MAX_FILE: u64 = 64 << 20;

#[derive(Debug, clap::Args)]
pub(super) struct ImportArgs {
    /// JSON of one conditionalAccessPolicy, of several, or an answer of the Graph API. Standard input when left out
    file: Option<PathBuf>,
    /// A TOML file that says what ids of the export stand for here: "ID" = "group:NAME", an app, a network, tag:NAME
    #[arg(long, value_name = "FILE")]
    names: Option<PathBuf>,
    /// One JSON object a line, a policy each
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &ImportArgs, config: Option<PathBuf>) -> anyhow::Result<ExitCode> {
    let Some(snapshot) = load(config) else { return Ok(ExitCode::from(USAGE)) };
    let shown =
        args.file.as_ref().map_or_else(|| "standard input".to_owned(), |file| file.display().to_string());
    let octets = read(args.file.as_deref()).with_context(|| format!("cannot read {shown}"))?;
    let text = match decode(octets) {
        Ok(text) => text,
        Err(why) => {
            eprintln!("portcullis: {}: {why}", clean(&shown));
            return Ok(ExitCode::from(USAGE));
        }
    };
    let names = match &args.names {
        Some(path) => match names(path) {
            Ok(names) => names,
            Err(error) => {
                eprintln!("portcullis: {}: {error:#}", path.display());
                return Ok(ExitCode::from(USAGE));
            }
        },
        None => Names::new(),
    };
    let (catalog, networks) = (&snapshot.catalog, &snapshot.config.networks);
    let host = Host {
        names: &names,
        is_app: &|word| catalog.app(word).is_some() || catalog.suite(word).next().is_some(),
        is_network: &|word| networks.contains_key(word),
    };
    let Export { policies: imported, goes_on } = match import(&text, &host) {
        Ok(export) => export,
        Err(error) => {
            eprintln!("portcullis: {shown}: {}", clean(&error.to_string()));
            return Ok(ExitCode::from(USAGE));
        }
    };
    let toml: Vec<String> = imported.iter().map(Imported::to_toml).collect();
    // What is printed is loaded by the daemon, or nothing is printed.
    let source = SourceFile::new("(imported)", toml.join("\n"));
    if let Err(faults) = PolicySet::build(std::slice::from_ref(&source), catalog, networks) {
        complain(&faults);
        anyhow::bail!("{shown} cannot be written as policies of this host");
    }
    say_notes(&imported);
    if goes_on {
        eprintln!(
            "{}: has `@odata.nextLink`: there are more policies, on further pages of the answer; import those too",
            clean(&shown)
        );
    }
    print(&if args.json { imported.iter().map(as_json).collect() } else { source.text.to_string() })
}

fn read(file: Option<&Path>) -> io::Result<Vec<u8>> {
    let mut octets = Vec::new();
    let input: Box<dyn Read> = match file {
        Some(path) => Box::new(File::open(path)?),
        None => Box::new(io::stdin().lock()),
    };
    let length = input.take(MAX_FILE + 1).read_to_end(&mut octets)?;
    if length as u64 > MAX_FILE {
        return Err(io::Error::other(format!("it has more than {MAX_FILE} bytes")));
    }
    Ok(octets)
}

fn names(path: &Path) -> anyhow::Result<Names> {
    let text = decode(read(Some(path))?).map_err(anyhow::Error::msg)?;
    Ok(toml::from_str(&text)?)
}

fn say_notes(imported: &[Imported]) {
    let mut err = io::stderr().lock();
    for one in imported {
        for note in &one.notes {
            let line = format!("{}: {}: {}", one.policy.name, note.field, note.text);
            let _ = writeln!(err, "{}", clean(&line));
        }
        if one.policy.state != "enabled" && one.original_state == "enabled" {
            let _ =
                writeln!(err, "{}: is enabled in Entra, {} here", clean(&one.policy.name), one.policy.state);
        }
    }
    let exact = imported.iter().filter(|one| one.is_exact()).count();
    let _ = writeln!(
        err,
        "{} read, {exact} exactly as the original",
        counted(imported.len(), "policy", "policies")
    );
}

/// `{"policy":{…},"id","original_state","exact","notes":[{"field","effect","text"}],"toml"}`
fn as_json(one: &Imported) -> String {
    let note = |note: &crate::policy::import::Note| json!({ "field": note.field, "effect": Effect::name(note.effect), "text": note.text });
    let value = json!({
        "policy": one.policy,
        "id": one.id,
        "original_state": one.original_state,
        "exact": one.is_exact(),
        "notes": one.notes.iter().map(note).collect::<Vec<_>>(),
        "toml": one.to_toml(),
    });
    format!("{}\n", clean_json(&value.to_string()))
}
