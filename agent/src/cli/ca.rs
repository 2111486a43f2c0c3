//! `portcullis ca init|show|export`: the host's own certificate authority.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::Context;
use clap::{Args, Subcommand};

use crate::catalog::HostPattern;
use crate::tls::{Authority, CertificateFacts, Certificates};

/// The host's certificate authority
#[derive(Debug, Args)]
pub struct Ca {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make the authority, as the first start of the daemon does
    Init {
        /// Replace the one that exists; clients must then trust the new one
        #[arg(long)]
        force: bool,
    },
    /// Print names, fingerprints, validity and the hosts it may vouch for
    Show,
    /// Print the root certificate, for a trust store
    Export {
        /// Write to this file instead of standard output
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

/// Runs the command on the authority in `dir` (`[paths] state`, then `ca`); `hosts` are the catalog's patterns.
pub fn run(ca: &Ca, dir: &Path, hosts: &[HostPattern]) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match &ca.command {
        Command::Init { force } => {
            let made = if *force { Authority::renew(dir, hosts)? } else { Authority::create(dir, hosts)? };
            writeln!(out, "Made a certificate authority in {}.", dir.display())?;
            show(&mut out, made.certificates(), hosts, SystemTime::now())?;
            writeln!(
                out,
                "\nClients must trust the root: add {} to their trust stores. A running daemon takes it up when restarted.",
                dir.join("ca.pem").display()
            )?;
        }
        Command::Show => show(&mut out, &read(dir)?, hosts, SystemTime::now())?,
        Command::Export { out: None } => out.write_all(read(dir)?.root_pem.as_bytes())?,
        Command::Export { out: Some(file) } => {
            std::fs::write(file, read(dir)?.root_pem).with_context(|| file.display().to_string())?;
        }
    }
    Ok(out.flush()?)
}

fn read(dir: &Path) -> anyhow::Result<Certificates> {
    Certificates::read(dir)
        .context("no authority to read; the daemon's first start or `portcullis ca init` makes one")
}

fn show(
    out: &mut impl Write,
    certificates: &Certificates,
    hosts: &[HostPattern],
    now: SystemTime,
) -> anyhow::Result<()> {
    one(out, "Root (what clients trust)", &certificates.root_facts, now)?;
    one(out, "Issuing", &certificates.issuing_facts, now)?;
    let permitted = &certificates.root_facts.permitted;
    writeln!(out, "Vouches only for these names and those below ({}):", permitted.len())?;
    for suffix in permitted {
        writeln!(out, "  {suffix}")?;
    }
    let outgrown = certificates.outgrown(hosts);
    if !outgrown.is_empty() {
        writeln!(
            out,
            "In the catalog since, not covered, connections are refused until `portcullis ca init --force`:"
        )?;
        for pattern in outgrown {
            writeln!(out, "  {pattern}")?;
        }
    }
    Ok(())
}

fn one(out: &mut impl Write, role: &str, facts: &CertificateFacts, now: SystemTime) -> anyhow::Result<()> {
    let state = if facts.not_after <= now {
        "expired"
    } else if facts.not_before > now {
        "not valid yet"
    } else {
        "valid"
    };
    writeln!(out, "{role}")?;
    writeln!(out, "  subject      {}", facts.subject)?;
    writeln!(out, "  sha256       {}", facts.fingerprint_text())?;
    writeln!(out, "  valid        {} to {} ({state})", date(facts.not_before)?, date(facts.not_after)?)?;
    Ok(())
}

/// RFC 3339, whole seconds, UTC.
fn date(at: SystemTime) -> anyhow::Result<String> {
    Ok(jiff::Timestamp::try_from(at)?.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn show_names_everything_an_administrator_compares() {
        let dir = tempfile::tempdir().unwrap();
        let old = [HostPattern::Below("corp.test".into())];
        let made = Authority::create(&dir.path().join("ca"), &old).unwrap();
        let now = [old[0].clone(), HostPattern::Exact("new.example".into())];
        let mut text = Vec::new();
        show(&mut text, made.certificates(), &now, SystemTime::now()).unwrap();
        let text = String::from_utf8(text).unwrap();
        let facts = &made.certificates().root_facts;
        for part in
            [facts.subject.as_str(), &facts.fingerprint_text(), "  corp.test\n", "  new.example\n", "(valid)"]
        {
            assert!(text.contains(part), "{part} in {text}");
        }
        let mut later = Vec::new();
        one(&mut later, "Root", facts, facts.not_after).unwrap();
        assert!(String::from_utf8(later).unwrap().contains("(expired)"));
    }

    #[test]
    fn export_writes_the_root_and_init_refuses_to_overwrite() {
        let dir = tempfile::tempdir().unwrap();
        let (ca, file) = (dir.path().join("ca"), dir.path().join("root.pem"));
        let hosts = [HostPattern::Below("corp.test".into())];
        let init = |force| Ca { command: Command::Init { force } };
        run(&init(false), &ca, &hosts).unwrap();
        run(&Ca { command: Command::Export { out: Some(file.clone()) } }, &ca, &hosts).unwrap();
        let first = std::fs::read_to_string(&file).unwrap();
        assert_eq!(first, std::fs::read_to_string(ca.join("ca.pem")).unwrap());
        assert!(first.starts_with("-----BEGIN CERTIFICATE-----") && !first.contains("PRIVATE"));
        let refused = run(&init(false), &ca, &hosts).unwrap_err().to_string();
        assert!(refused.contains("--force"), "{refused}");
        run(&init(true), &ca, &hosts).unwrap();
        assert_ne!(first, std::fs::read_to_string(ca.join("ca.pem")).unwrap());
    }
}
