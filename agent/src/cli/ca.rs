//! `portcullis ca init|show|export|trust|untrust|status`: the host's own certificate authority, and who trusts it.

mod stores;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

use anyhow::Context;
use clap::{Args, Subcommand};

use crate::catalog::HostPattern;
use crate::tls::{Authority, AuthorityEvent, CertificateFacts, Certificates};

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
        /// Leave the one that exists, without a word
        #[arg(long, conflicts_with = "force")]
        if_missing: bool,
    },
    /// Make an authority that is to follow the one that exists, and have both trusted meanwhile
    ///
    /// The daemon goes over to it a week later. Every store that `ca trust` filled gets its root at once; distribute it to
    /// other clients within that week.
    Rotate {
        /// Go over to it now, and take the old one out of the stores
        #[arg(long)]
        finish: bool,
    },
    /// Print names, fingerprints, validity and the hosts it may vouch for
    Show,
    /// Print the root certificate, for a trust store
    Export {
        /// Write to this file instead of standard output
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Put the root certificate into the trust stores of this system's programs, and write down what was changed
    Trust(stores::Selection),
    /// Take out of the trust stores what `ca trust` put in, and nothing else
    Untrust(stores::Selection),
    /// Ask every program that is installed whether it trusts the authority, by a handshake on loopback
    Status(stores::StatusArgs),
}

impl Ca {
    /// Whether it takes the app catalog, and so a configuration without a fault in it.
    pub(super) fn takes_catalog(&self) -> bool {
        matches!(self.command, Command::Init { .. } | Command::Rotate { .. } | Command::Show)
    }

    /// Whether it changes nothing, and takes the catalog to say what is not covered.
    pub(super) fn only_shows(&self) -> bool {
        matches!(self.command, Command::Show)
    }
}

/// Runs the command on the authority in the state directory; `hosts` are the catalog's patterns.
pub fn run(ca: &Ca, state: &Path, hosts: &[HostPattern]) -> anyhow::Result<ExitCode> {
    let dir = &state.join("ca");
    match &ca.command {
        Command::Trust(selection) => return stores::trust(selection, state, &read(dir)?),
        Command::Untrust(selection) => return stores::untrust(selection, state),
        Command::Status(arguments) => return stores::status(arguments, state),
        Command::Rotate { finish } => {
            let standing =
                if *finish { Authority::finish_rotation(dir)? } else { Authority::rotate(dir, hosts)? };
            restart_signer();
            let mut out = io::stdout().lock();
            show(&mut out, &standing, hosts, SystemTime::now())?;
            drop(out);
            return stores::renew(state, &standing);
        }
        Command::Init { .. } | Command::Show | Command::Export { .. } => {}
    }
    let mut out = io::stdout().lock();
    match &ca.command {
        Command::Init { if_missing: true, .. } => {
            let (made, event) = Authority::open_or_create(dir, hosts)?;
            if event == AuthorityEvent::Created {
                writeln!(out, "Made a certificate authority in {}.", dir.display())?;
                show(&mut out, made.certificates(), hosts, SystemTime::now())?;
            }
        }
        Command::Init { force, .. } => {
            let made = if *force { Authority::renew(dir, hosts)? } else { Authority::create(dir, hosts)? };
            writeln!(out, "Made a certificate authority in {}.", dir.display())?;
            show(&mut out, made.certificates(), hosts, SystemTime::now())?;
            writeln!(
                out,
                "\nClients must trust it: `portcullis ca trust`. A running daemon takes it up within a second."
            )?;
            restart_signer();
        }
        Command::Show => show(&mut out, &read(dir)?, hosts, SystemTime::now())?,
        Command::Export { out: None } => out.write_all(exported(&read(dir)?).as_bytes())?,
        Command::Export { out: Some(file) } => {
            std::fs::write(file, exported(&read(dir)?)).with_context(|| file.display().to_string())?;
        }
        // Done above.
        Command::Trust(_) | Command::Untrust(_) | Command::Status(_) | Command::Rotate { .. } => {}
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// All that clients have to trust: while another authority is to follow, its root as well.
fn exported(certificates: &Certificates) -> String {
    certificates.roots().iter().map(|(_, pem)| *pem).collect()
}

/// A signer that systemd runs got the key from it when it started. Without one nothing happens.
fn restart_signer() {
    const SYSTEMD: &str = "/run/systemd/system";
    const UNIT: &str = "portcullis-signer.service";
    if !Path::new(SYSTEMD).exists() {
        return;
    }
    let done = std::process::Command::new("systemctl").args(["try-restart", UNIT]).status();
    if !done.is_ok_and(|status| status.success()) {
        eprintln!("portcullis: `systemctl try-restart {UNIT}` failed: the signer still has the old key");
    }
}

/// Makes the authority if there is none, and puts it into every trust store that is found.
pub(super) fn establish(state: &Path, hosts: &[HostPattern]) -> anyhow::Result<ExitCode> {
    let (authority, _) = Authority::open_or_create(&state.join("ca"), hosts)?;
    stores::trust(&stores::Selection::everything(), state, authority.certificates())
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
    if let Some(next) = &certificates.next {
        one(out, "Root to follow (to be trusted as well)", &next.root_facts, now)?;
        writeln!(
            out,
            "  in force     from {}, or by `portcullis ca rotate --finish`",
            date(next.follows_at())?
        )?;
    }
    let permitted = &certificates.root_facts.permitted;
    writeln!(out, "Vouches only for these names and those below ({}):", permitted.len())?;
    for suffix in permitted {
        writeln!(out, "  {suffix}")?;
    }
    let outgrown = certificates.outgrown(hosts);
    if !outgrown.is_empty() {
        writeln!(
            out,
            "In the catalog since, not covered, connections are refused until `portcullis ca rotate`:"
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
        let (state, ca, file) = (dir.path(), dir.path().join("ca"), dir.path().join("root.pem"));
        let hosts = [HostPattern::Below("corp.test".into())];
        let init = |force| Ca { command: Command::Init { force, if_missing: false } };
        run(&init(false), state, &hosts).unwrap();
        run(&Ca { command: Command::Export { out: Some(file.clone()) } }, state, &hosts).unwrap();
        let first = std::fs::read_to_string(&file).unwrap();
        assert_eq!(first, std::fs::read_to_string(ca.join("ca.pem")).unwrap());
        assert!(first.starts_with("-----BEGIN CERTIFICATE-----") && !first.contains("PRIVATE"));
        let refused = run(&init(false), state, &hosts).unwrap_err().to_string();
        assert!(refused.contains("--force"), "{refused}");
        run(&init(true), state, &hosts).unwrap();
        assert_ne!(first, std::fs::read_to_string(ca.join("ca.pem")).unwrap());
    }
}
