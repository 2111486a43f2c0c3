//! The origin side's certification authority and the certificates of its sites, made with openssl.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::process::{must, tool};

/// Common name of the authority that a client finds as issuer where nobody stands in between.
pub const ORIGIN_CA_NAME: &str = "Lab Origin CA";

/// Ours alone: the system's openssl.cnf differs from release to release.
const OPENSSL_CONFIGURATION: &str = "\
[req]
distinguished_name = name
[name]
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[site]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
subjectAltName = DNS:${ENV::SITE}
";

pub(crate) struct Pki {
    directory: PathBuf,
}

impl Pki {
    pub(crate) fn create(directory: PathBuf) -> Result<Self> {
        fs::create_dir_all(&directory)?;
        let pki = Self { directory };
        fs::write(pki.path("openssl.cnf"), OPENSSL_CONFIGURATION)?;
        must(&mut pki.request(&format!("/O=Lab/CN={ORIGIN_CA_NAME}"), "ca", "authority"))
            .context("cannot make the origin's CA (package openssl)")?;
        Ok(pki)
    }

    /// Certificate of the authority, PEM.
    pub(crate) fn ca(&self) -> PathBuf {
        self.path("ca.pem")
    }

    /// A certificate for exactly this name: paths of certificate and key, PEM.
    pub(crate) fn issue(&self, name: &str) -> Result<(PathBuf, PathBuf)> {
        let mut command = self.request(&format!("/CN={name}"), name, "site");
        command.env("SITE", name).arg("-CA").arg(self.ca()).arg("-CAkey").arg(self.path("ca.key"));
        self.made(command, name)
    }

    /// The same, signed by its own key: no client should trust it.
    pub(crate) fn self_signed(&self, name: &str) -> Result<(PathBuf, PathBuf)> {
        let mut command = self.request(&format!("/CN={name}"), name, "site");
        command.env("SITE", name);
        self.made(command, name)
    }

    fn made(&self, mut command: Command, name: &str) -> Result<(PathBuf, PathBuf)> {
        must(&mut command).with_context(|| format!("cannot make the certificate of {name}"))?;
        Ok((self.path(&format!("{name}.pem")), self.path(&format!("{name}.key"))))
    }

    fn request(&self, subject: &str, file: &str, extensions: &str) -> Command {
        let mut command = tool("openssl");
        command
            .args([
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
                "-nodes",
                "-sha256",
            ])
            .args(["-days", "30", "-subj", subject, "-extensions", extensions, "-config"])
            .arg(self.path("openssl.cnf"))
            .env("SITE", "unused.test")
            .arg("-keyout")
            .arg(self.path(&format!("{file}.key")))
            .arg("-out")
            .arg(self.path(&format!("{file}.pem")));
        command
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }
}
