//! A real rsyslog daemon that receives over TCP and TLS and writes what it understood, a line a message.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use crate::process::Daemon;
use crate::{Lab, wait};

const TCP_PORT: u16 = 10601;
const TLS_PORT: u16 = 10514;
const RSYSLOGD: &str = "/usr/sbin/rsyslogd";

/// The daemon, beside the agent. It ends with SIGTERM on drop.
pub struct Receiver {
    directory: PathBuf,
    daemon: Daemon,
}

impl Receiver {
    pub fn start(lab: &Lab) -> Result<Self> {
        ensure!(Path::new(RSYSLOGD).exists(), "rsyslogd is missing: `cargo xtask setup --lab` installs it");
        let directory = lab.directory().join("syslog");
        fs::create_dir_all(directory.join("work"))?;
        certificate(&directory)?;
        let shown = directory.display();
        fs::write(
            directory.join("rsyslog.conf"),
            format!(
                r#"global(workDirectory="{shown}/work" maxMessageSize="64k" defaultNetstreamDriver="ossl"
       defaultNetstreamDriverCAFile="{shown}/ca.pem" defaultNetstreamDriverCertFile="{shown}/cert.pem"
       defaultNetstreamDriverKeyFile="{shown}/key.pem")
module(load="imtcp")
template(name="understood" type="string" string="%app-name% %msgid% %syslogseverity-text% %msg%\n")
ruleset(name="tcp") {{ action(type="omfile" file="{shown}/tcp.log" template="understood") }}
ruleset(name="tls") {{ action(type="omfile" file="{shown}/tls.log" template="understood") }}
input(type="imtcp" port="{TCP_PORT}" address="127.0.0.1" ruleset="tcp")
input(type="imtcp" port="{TLS_PORT}" address="127.0.0.1" ruleset="tls"
      streamDriver.name="ossl" streamDriver.mode="1" streamDriver.authMode="anon")
"#
            ),
        )?;
        let daemon = spawn(lab, &directory)?;
        Ok(Self { directory, daemon })
    }

    pub fn stop(&mut self) -> Result<()> {
        self.daemon.stop(wait::PATIENCE).map(drop)
    }

    pub fn start_again(&mut self, lab: &Lab) -> Result<()> {
        self.daemon = spawn(lab, &self.directory)?;
        Ok(())
    }

    pub fn tcp_port(&self) -> u16 {
        TCP_PORT
    }

    pub fn tls_port(&self) -> u16 {
        TLS_PORT
    }

    /// PEM of the CA that the certificate for `localhost` comes from.
    pub fn ca(&self) -> PathBuf {
        self.directory.join("ca.pem")
    }

    /// The file of what came over `tcp` or `tls`.
    pub fn received(&self, over: &str) -> PathBuf {
        self.directory.join(format!("{over}.log"))
    }
}

fn spawn(lab: &Lab, directory: &Path) -> Result<Daemon> {
    let mut command = lab.agent().command(RSYSLOGD, None)?;
    command.args(["-n", "-i", "NONE", "-f"]).arg(directory.join("rsyslog.conf"));
    Daemon::spawn("rsyslogd", command, directory.join("rsyslogd.out"))
}

fn certificate(directory: &Path) -> Result<()> {
    let openssl = |arguments: &[&str]| -> Result<()> {
        let output = std::process::Command::new("openssl").current_dir(directory).args(arguments).output()?;
        ensure!(
            output.status.success(),
            "openssl {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(())
    };
    let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    openssl(
        &[
            &["req", "-x509", "-days", "2", "-subj", "/CN=syslog lab", "-keyout", "ca.key", "-out", "ca.pem"],
            &key[..],
        ]
        .concat(),
    )?;
    openssl(
        &[&["req", "-subj", "/CN=localhost", "-keyout", "key.pem", "-out", "cert.csr"], &key[..]].concat(),
    )?;
    fs::write(directory.join("names"), "subjectAltName = DNS:localhost,IP:127.0.0.1\n")
        .context("writing the names")?;
    openssl(&[
        "x509",
        "-req",
        "-days",
        "2",
        "-in",
        "cert.csr",
        "-CA",
        "ca.pem",
        "-CAkey",
        "ca.key",
        "-CAcreateserial",
        "-extfile",
        "names",
        "-out",
        "cert.pem",
    ])
}
