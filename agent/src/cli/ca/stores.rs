//! `portcullis ca trust|untrust|status`: the authority in the trust stores, and whether programs believe it.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::cli::terminal::{Colour, Screen, clean, clean_json};
use crate::tls::{Authority, Certificates};
use crate::trust::{
    CLIENTS, Change, Manifest, Outcome, Place, Proof, Report, Store, Verdict, prove, put, take,
};

/// Which stores, of which system.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Selection {
    /// Only this store; may be given again. All that are found when left out
    #[arg(long, value_enum, value_name = "STORE")]
    store: Vec<Store>,
    /// The system below this directory instead of this one (an image, a container's root)
    #[arg(long, value_name = "DIR", default_value = "/", hide_default_value = true)]
    root: PathBuf,
}

impl Selection {
    /// Every store of this system that is found.
    pub(super) fn everything() -> Self {
        Self { store: Vec::new(), root: "/".into() }
    }

    fn stores(&self) -> Vec<Store> {
        Store::ALL.into_iter().filter(|store| self.store.is_empty() || self.store.contains(store)).collect()
    }

    /// A store that was asked for by name has to be there.
    fn outcome(&self, reports: &[Report]) -> ExitCode {
        let bad = reports.iter().any(|report| match report.outcome {
            Outcome::Done(_) => false,
            Outcome::Absent(_) => !self.store.is_empty(),
            Outcome::Failed(_) => true,
        });
        if bad { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }

    fn place(&self) -> Result<Place> {
        let root = self.root.canonicalize().with_context(|| self.root.display().to_string())?;
        Ok(Place::new(root))
    }
}

/// What was changed is written down in the state directory of the system that was changed.
fn manifest_directory(place: &Place, state: &Path) -> PathBuf {
    place.at(state)
}

pub(super) fn trust(selection: &Selection, state: &Path, certificates: &Certificates) -> Result<ExitCode> {
    let place = selection.place()?;
    let reports = put(&place, &manifest_directory(&place, state), certificates, &selection.stores())?;
    show(&reports)?;
    Ok(selection.outcome(&reports))
}

/// Brings every store of this system up to date that was filled before.
pub(super) fn renew(state: &Path, certificates: &Certificates) -> Result<ExitCode> {
    let filled = Manifest::read(state)?.entries;
    let stores: Vec<Store> =
        Store::ALL.into_iter().filter(|store| filled.iter().any(|entry| entry.store == *store)).collect();
    if stores.is_empty() {
        writeln!(
            io::stdout(),
            "\nNo store of this system was filled before: `portcullis ca trust` does it."
        )?;
        return Ok(ExitCode::SUCCESS);
    }
    trust(&Selection { store: stores, root: "/".into() }, state, certificates)
}

pub(super) fn untrust(selection: &Selection, state: &Path) -> Result<ExitCode> {
    let place = selection.place()?;
    let reports = take(&place, &manifest_directory(&place, state), &selection.stores())?;
    show(&reports)?;
    let failed = reports.iter().any(|report| matches!(report.outcome, Outcome::Failed(_)));
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn show(reports: &[Report]) -> io::Result<()> {
    let screen = Screen::of_stdout();
    let mut text = String::new();
    for report in reports {
        let (word, colour, lines) = match &report.outcome {
            Outcome::Done(lines) => ("done   ", Colour::Green, lines.clone()),
            Outcome::Absent(why) => ("skipped", Colour::Yellow, vec![why.clone()]),
            Outcome::Failed(error) => ("failed ", Colour::Red, vec![error.to_string()]),
        };
        for (number, line) in lines.iter().enumerate() {
            let (word, name) = if number == 0 { (word, report.store.name()) } else { ("       ", "") };
            // Writing into a String cannot fail.
            let _ = writeln!(text, "{} {name:<8}  {}", screen.paint(colour, word), clean(line));
        }
    }
    io::stdout().lock().write_all(text.as_bytes())
}

/// Whether programs trust the authority
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct StatusArgs {
    /// Only this program; may be given again
    #[arg(long, value_name = "NAME", value_parser = CLIENTS.map(|client| client.name))]
    client: Vec<String>,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

/// The object of `ca status --json`.
#[derive(Serialize)]
struct Answer<'a> {
    subject: &'a str,
    sha256: String,
    /// Whether every program that is installed and could be asked trusts the authority.
    trusted: bool,
    clients: &'a [Proof],
    /// What `ca trust` changed.
    changes: &'a Manifest,
}

/// Exit status 1 when an installed program refuses.
pub(super) fn status(arguments: &StatusArgs, state: &Path) -> Result<ExitCode> {
    let authority = Arc::new(
        Authority::open(&state.join("ca"))
            .context("no authority to ask about (`portcullis ca init` makes one; reading it takes root)")?,
    );
    let changes = Manifest::read(state)?;
    let screen = Screen::of_stdout();
    let mut out = io::stdout().lock();
    let facts = &authority.certificates().root_facts;
    if !arguments.json {
        writeln!(out, "{}\n  sha256 {}", clean(&facts.subject), facts.fingerprint_text())?;
        for entry in changes.entries.iter().filter(|entry| !matches!(entry.change, Change::Directory { .. }))
        {
            writeln!(
                out,
                "  {:<8} {}",
                entry.store.name(),
                clean(&entry.change.path().display().to_string())
            )?;
        }
    }
    let wanted = CLIENTS.iter().filter(|client| {
        arguments.client.is_empty() || arguments.client.iter().any(|name| name == client.name)
    });
    let mut proofs = Vec::new();
    for proof in prove(&authority, wanted) {
        let proof = proof?;
        if !arguments.json {
            // A line as soon as it is known: a browser takes seconds.
            out.write_all(line(&proof, screen).as_bytes())?;
            out.flush()?;
        }
        proofs.push(proof);
    }
    let trusted = !proofs.iter().any(|proof| matches!(proof.verdict, Verdict::Refuses(_)));
    if arguments.json {
        let answer = Answer {
            subject: &facts.subject,
            sha256: facts.fingerprint_text(),
            trusted,
            clients: &proofs,
            changes: &changes,
        };
        writeln!(out, "{}", clean_json(&serde_json::to_string(&answer)?))?;
    }
    Ok(if trusted { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn line(proof: &Proof, screen: Screen) -> String {
    let store = proof.store.name();
    let (word, colour, detail) = match &proof.verdict {
        Verdict::Trusts => ("trusts       ", Colour::Green, String::new()),
        Verdict::Refuses(why) => {
            ("refuses      ", Colour::Red, format!("{why}; `portcullis ca trust --store {store}`"))
        }
        Verdict::NotInstalled => ("not installed", Colour::Dim, String::new()),
        Verdict::Unclear(why) => ("unclear      ", Colour::Yellow, why.clone()),
    };
    let line = format!("{} {:<16} {}", screen.paint(colour, word), proof.client, clean(&detail));
    format!("{}\n", line.trim_end())
}
