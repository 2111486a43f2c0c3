//! What all systems share: a directory of configurations, an authority, names, and the origin's files.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::command::run;
use crate::workspace::{root, target_dir};

/// The origin's host name, monitored, and one that is not; both are the origin's.
pub(super) const NAME: &str = "origin.bench.test";
pub(super) const OTHER_NAME: &str = "other.bench.test";
/// Names below it are the origin's, too, and monitored.
pub(super) const FIRST_SEEN: &str = "first.bench.test";
pub(super) const ORIGIN_PORT: u16 = 24443;

const OPENSSL: &str = "[req]\ndistinguished_name = name\n[name]\n[authority]\nbasicConstraints = critical, CA:TRUE\n\
    keyUsage = critical, keyCertSign, cRLSign, digitalSignature\n[site]\nbasicConstraints = critical, CA:FALSE\n\
    extendedKeyUsage = serverAuth\nsubjectAltName = DNS:*.bench.test, DNS:*.first.bench.test\n";

pub(super) struct Setting {
    directory: PathBuf,
    pub(super) agent: PathBuf,
}

impl Setting {
    pub(super) fn create(agent: PathBuf) -> Result<Self> {
        ensure!(agent.exists(), "{} is not there", agent.display());
        let directory = target_dir()?.join("bench/peers");
        if directory.exists() {
            fs::remove_dir_all(&directory)?;
        }
        fs::create_dir_all(directory.join("www"))?;
        let setting = Self { directory, agent };
        setting.authority()?;
        setting.write("hosts", &format!("127.0.0.1 localhost {NAME} {OTHER_NAME}\n"))?;
        fs::File::create(setting.path("www/1g"))?.set_len(1 << 30)?;
        fs::write(setting.path("www/1k"), vec![b'a'; 1024])?;
        fs::write(setting.path("www/1k.json"), format!("{{\"value\":\"{}\"}}", "a".repeat(1012)))?;
        // Peers that change their user read from here.
        run(Command::new("chmod").args(["-R", "a+rX"]).arg(&setting.directory))?;
        Ok(setting)
    }

    fn authority(&self) -> Result<()> {
        self.write("openssl.cnf", OPENSSL)?;
        let request = |subject: &str, file: &str, section: &str| {
            let mut command = Command::new("openssl");
            command
                .current_dir(&self.directory)
                .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"])
                .args(["-sha256", "-days", "30", "-config", "openssl.cnf", "-subj", subject])
                .args([
                    "-extensions",
                    section,
                    "-keyout",
                    &format!("{file}.key"),
                    "-out",
                    &format!("{file}.pem"),
                ]);
            command
        };
        run(&mut request("/CN=Bench CA", "ca", "authority"))?;
        run(request(&format!("/CN={NAME}"), "site", "site").args(["-CA", "ca.pem", "-CAkey", "ca.key"]))?;
        let read = |file: &str| fs::read_to_string(self.path(file)).with_context(|| file.to_owned());
        self.write("site-and-key.pem", &format!("{}{}", read("site.pem")?, read("site.key")?))
    }

    pub(super) fn path(&self, file: &str) -> PathBuf {
        self.directory.join(file)
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(super) fn log(&self, system: &str) -> PathBuf {
        self.path(&format!("{system}.log"))
    }

    pub(super) fn write(&self, file: &str, text: &str) -> Result<()> {
        let path = self.path(file);
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        fs::write(&path, text).with_context(|| path.display().to_string())
    }

    /// What clients trust: the bench's authority, and the agent's once it has made its own; where any user may read it.
    pub(super) fn trusted(&self) -> Vec<PathBuf> {
        let agents = self.path("agent-ca.pem");
        // Not there yet is not there.
        let _ = fs::copy(self.path("agent/state/ca/ca.pem"), &agents);
        [self.path("ca.pem"), agents].into_iter().filter(|path| path.exists()).collect()
    }

    /// A template of `benches/peers/configurations` with its `@NAME@` places filled in.
    pub(super) fn template(&self, template: &str, places: &[(&str, &str)]) -> Result<String> {
        let path = root().join("benches/peers/configurations").join(template);
        let mut text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let directory = self.directory.display().to_string();
        let port = ORIGIN_PORT.to_string();
        let usual = [("DIR", directory.as_str()), ("ORIGIN_PORT", &port), ("NAME", NAME)];
        for (place, value) in usual.iter().chain(places) {
            text = text.replace(&format!("@{place}@"), value);
        }
        Ok(text)
    }
}
