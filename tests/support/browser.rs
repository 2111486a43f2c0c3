//! Chromium and Firefox among the lab's clients, trusting the agent as `portcullis ca trust` makes them: driven, asked
//! what they show, and searched for what they kept.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use crate::agent::Agent;
use crate::process::{must, run, signal_group, tool};
use crate::{Lab, Place, wait};

const DRIVER: &str = include_str!("browser/drive.py");
/// Longer than the driver itself waits for anything.
const DEADLINE: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Chromium,
    Firefox,
}

impl Kind {
    pub const ALL: [Kind; 2] = [Kind::Chromium, Kind::Firefox];

    pub const fn name(self) -> &'static str {
        match self {
            Kind::Chromium => "chromium",
            Kind::Firefox => "firefox",
        }
    }

    const fn program(self) -> &'static str {
        match self {
            Kind::Chromium => "/usr/bin/chromium",
            Kind::Firefox => "/usr/bin/firefox-esr",
        }
    }

    /// Programs that a browser of this kind takes here and that are not installed.
    pub fn missing(self) -> Vec<&'static str> {
        [self.program(), "/usr/bin/certutil"].into_iter().filter(|tool| !Path::new(tool).exists()).collect()
    }
}

/// A browser's home directory with its profile.
pub struct Browser<'lab> {
    kind: Kind,
    place: Place,
    home: PathBuf,
    lab: &'lab Lab,
}

impl<'lab> Browser<'lab> {
    /// A new profile, which knows the origin's authority as one of the internet's. The agent's authority it finds where
    /// `portcullis ca trust` writes: in a copy of this system's /etc.
    pub fn new(lab: &'lab Lab, agent: &Agent<'_>, kind: Kind) -> Result<Self> {
        let place = trusting(lab, agent)?;
        let homes = lab.directory().join("browsers");
        fs::create_dir_all(&homes)?;
        let home = homes.join(format!("{}{}", kind.name(), fs::read_dir(&homes)?.count()));
        let store = match kind {
            Kind::Chromium => home.join(".pki/nssdb"),
            Kind::Firefox => home.join("profile"),
        };
        for directory in [&store, &home.join("downloads")] {
            fs::create_dir_all(directory)?;
        }
        let browser = Self { kind, place, home, lab };
        browser.certutil(&store, &["-N", "--empty-password"])?;
        let authority = lab.origin_ca();
        let authority = authority.to_str().context("a path in UTF-8")?;
        browser.certutil(&store, &["-A", "-t", "C,,", "-n", "the internet", "-i", authority])?;
        Ok(browser)
    }

    fn certutil(&self, store: &Path, arguments: &[&str]) -> Result<()> {
        let mut command = self.place.command("certutil", None)?;
        command.arg("-d").arg(format!("sql:{}", store.display())).args(arguments);
        run(command, wait::PATIENCE)?.succeeded().map(drop)
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Where it saves.
    pub fn downloads(&self) -> PathBuf {
        self.home.join("downloads")
    }

    /// Starts it, with further arguments.
    pub fn start(&self, more: &[&str]) -> Result<Session> {
        let mut command = self.place.command("/usr/bin/python3", None)?;
        command.env("HOME", &self.home).env("TMPDIR", &self.home);
        command.args(["-I", "-u", "-c", DRIVER, self.kind.name()]).arg(&self.home).arg(self.downloads());
        command.args(more);
        let log = self.lab.directory().join(format!("{}.log", self.kind.name()));
        Session::start(command, &log)
    }

    /// The HTML of the document at an address as the browser has it, started for this one visit.
    pub fn document(&self, address: &str, more: &[&str]) -> Result<String> {
        let mut session = self.start(more)?;
        session.open(address)?;
        let html = session.run("return document.documentElement.outerHTML")?;
        session.close()?;
        Ok(html.as_str().unwrap_or_default().to_owned())
    }

    /// Files of its profile, cache and downloads in which `octets` stand.
    pub fn files_with(&self, octets: &[u8]) -> Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        let mut directories = vec![self.home.clone()];
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(&directory)? {
                let entry = entry?;
                let kind = entry.file_type()?;
                if kind.is_dir() {
                    directories.push(entry.path());
                } else if kind.is_file() && contains(&fs::read(entry.path()).unwrap_or_default(), octets) {
                    found.push(entry.path());
                }
            }
        }
        Ok(found)
    }

    /// What has been saved whole: names and contents. Files under way are left out.
    pub fn saved(&self) -> Result<Vec<(String, Vec<u8>)>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(self.downloads())? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            // A file that was just renamed is met under its new name the next time.
            if let Ok(content) = fs::read(self.downloads().join(&name))
                && !name.ends_with(".crdownload")
                && !name.ends_with(".part")
            {
                files.push((name, content));
            }
        }
        Ok(files)
    }
}

pub(crate) fn contains(text: &[u8], octets: &[u8]) -> bool {
    // Ends of a candidate first: most places of most files are told apart by one octet.
    let (Some(first), length) = (octets.first(), octets.len()) else { return true };
    let mut rest = text;
    while let Some(at) = rest.iter().position(|octet| octet == first) {
        rest = &rest[at..];
        if rest.starts_with(octets) {
            return true;
        }
        if rest.len() < length {
            return false;
        }
        rest = &rest[1..];
    }
    false
}

/// The clients' place with a copy of /etc, in which the agent's authority was put as on any machine.
fn trusting(lab: &Lab, agent: &Agent<'_>) -> Result<Place> {
    let mut place = lab.client();
    let copy = lab.directory().join("etc");
    place.files.insert(0, (copy.clone(), PathBuf::from("/etc")));
    if !copy.exists() {
        must(tool("cp").arg("-a").arg("/etc").arg(&copy))?;
        agent
            .command_at(&place, &["ca", "trust", "--store", "chromium", "--store", "firefox"])?
            .succeeded()
            .context("portcullis ca trust")?;
    }
    Ok(place)
}

/// What a page shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// What the address bar says.
    pub address: String,
    pub title: String,
    /// As a person reads it.
    pub text: String,
}

/// A running browser with one tab. It is ended on drop; [`Session::close`] does so in good order.
pub struct Session {
    driver: Child,
    orders: Option<ChildStdin>,
    answers: Receiver<String>,
}

impl Session {
    fn start(mut command: Command, log: &Path) -> Result<Self> {
        let log = fs::OpenOptions::new().create(true).append(true).open(log)?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log);
        let mut driver = command.spawn().context("cannot start the browser's driver")?;
        let output = driver.stdout.take().context("no output")?;
        let (send, answers) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(std::io::Result::ok) {
                if send.send(line).is_err() {
                    break;
                }
            }
        });
        let mut session = Self { orders: driver.stdin.take(), driver, answers };
        session.answer("the browser's start")?;
        Ok(session)
    }

    fn answer(&mut self, what: &str) -> Result<Value> {
        let line = match self.answers.recv_timeout(wait::scaled(DEADLINE)) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => bail!("{what}: no answer from the browser's driver"),
            Err(RecvTimeoutError::Disconnected) => bail!("{what}: the browser's driver is gone"),
        };
        let mut answer: Value = serde_json::from_str(&line).with_context(|| format!("{what}: {line}"))?;
        if let Some(error) = answer["error"].as_str() {
            bail!("{what}: {error}");
        }
        Ok(answer["ok"].take())
    }

    fn order(&mut self, order: &Value) -> Result<Value> {
        let orders = self.orders.as_mut().context("the browser is closed")?;
        writeln!(orders, "{order}").context("the browser's driver is gone")?;
        self.answer(&order.to_string())
    }

    /// Goes to an address, as by the address bar. `Some` says why there is no page: it failed, or was saved instead.
    pub fn open(&mut self, address: &str) -> Result<Option<String>> {
        Ok(self.order(&json!({ "do": "open", "url": address }))?.as_str().map(str::to_owned))
    }

    /// Runs the body of an async function in the page, as if the user had clicked there; its value.
    pub fn run(&mut self, script: &str) -> Result<Value> {
        self.order(&json!({ "do": "run", "script": script }))
    }

    /// The same in the windows that Firefox itself is made of, with its rights.
    pub fn press(&mut self, script: &str) -> Result<Value> {
        self.order(&json!({ "do": "press", "script": script }))
    }

    /// Presses a letter with the control key. `command`: what it means in a text, as editors call it; empty for none.
    pub fn keys(&mut self, letter: char, command: &str) -> Result<()> {
        self.order(&json!({ "do": "keys", "letter": letter, "command": command })).map(drop)
    }

    /// How many sheets the page takes when it is printed.
    pub fn print(&mut self) -> Result<u64> {
        self.order(&json!({ "do": "print" }))?.as_u64().context("no number of sheets")
    }

    pub fn look(&mut self) -> Result<Page> {
        let seen = self.order(&json!({ "do": "look" }))?;
        let text = |key: &str| seen[key].as_str().unwrap_or_default().to_owned();
        Ok(Page { address: text("address"), title: text("title"), text: text("text") })
    }

    /// Common name of who issued the certificate of the page that is shown.
    pub fn issuer(&mut self) -> Result<String> {
        let name = self.order(&json!({ "do": "issuer" }))?;
        name.as_str().map(str::to_owned).context("the browser names no issuer")
    }

    /// Closes every tab but a new one.
    pub fn fresh(&mut self) -> Result<()> {
        self.order(&json!({ "do": "fresh" })).map(drop)
    }

    /// Ends it as its user would: afterwards everything that it keeps is on disk.
    pub fn close(mut self) -> Result<()> {
        self.orders = None;
        wait::until("the browser's end", DEADLINE, || Ok(self.driver.try_wait()?))?;
        Ok(())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if matches!(self.driver.try_wait(), Ok(None)) {
            signal_group(self.driver.id(), libc::SIGKILL);
            let _ = self.driver.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::contains;

    #[test]
    fn octets_are_found_anywhere_and_only_whole() {
        for (text, octets, found) in [
            ("", "", true),
            ("abc", "", true),
            ("abc", "c", true),
            ("aabaac", "aac", true),
            ("aabaa", "aac", false),
            ("", "a", false),
        ] {
            assert_eq!(contains(text.as_bytes(), octets.as_bytes()), found, "{text} {octets}");
        }
    }
}
