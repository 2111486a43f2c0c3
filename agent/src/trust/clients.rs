//! Real programs, asked whether they trust the authority: each is sent to a site on loopback and either speaks to it over
//! TLS or refuses.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::{Place, Store, environment};
use crate::tls::{Authority, ProofError, ProofSite, Seen};

/// A Java runtime compiles a program first, a browser makes a profile.
const PATIENCE: Duration = Duration::from_secs(45);
/// What a program complained, at most this much of it.
const COMPLAINT: u64 = 4096;
const COMPLAINT_SHOWN: usize = 160;
/// With this status the programs below say that what they need is not installed.
const NOT_HERE: i32 = 77;

/// A program, and how it is led to the site.
#[derive(Debug)]
pub struct Client {
    pub name: &'static str,
    /// Which store it reads.
    pub store: Store,
    programs: &'static [&'static str],
    arguments: fn(&Target) -> Vec<String>,
    environment: fn(&Target) -> Vec<(&'static str, String)>,
}

/// The site as a client is told of it.
struct Target {
    name: String,
    port: u16,
    /// An empty directory of the client's own.
    scratch: PathBuf,
}

impl Target {
    fn url(&self) -> String {
        format!("https://{}/", self.name)
    }

    fn proxy(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn scratch(&self, file: &str) -> String {
        self.scratch.join(file).display().to_string()
    }
}

/// What came of one client.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Proof {
    pub client: &'static str,
    pub store: Store,
    #[serde(flatten)]
    pub verdict: Verdict,
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(tag = "verdict", content = "detail", rename_all = "kebab-case")]
pub enum Verdict {
    Trusts,
    Refuses(String),
    NotInstalled,
    /// It neither spoke nor refused.
    Unclear(String),
}

pub const CLIENTS: [Client; 9] = [
    Client {
        name: "curl",
        store: Store::System,
        programs: &["curl"],
        arguments: |to| {
            let resolve = format!("{}:443:127.0.0.1", to.name);
            let connect = format!("{}:443:127.0.0.1:{}", to.name, to.port);
            words(&[
                "--silent",
                "--show-error",
                "--max-time",
                "20",
                "--noproxy",
                "*",
                "--output",
                "/dev/null",
            ])
            .chain([String::from("--resolve"), resolve, String::from("--connect-to"), connect, to.url()])
            .collect()
        },
        environment: nothing,
    },
    Client {
        name: "wget",
        store: Store::System,
        programs: &["wget"],
        arguments: |to| {
            words(&["--quiet", "--output-document=/dev/null", "--timeout=20", "--tries=1"])
                .chain([to.url()])
                .collect()
        },
        environment: |to| vec![("https_proxy", to.proxy())],
    },
    Client {
        name: "openssl",
        store: Store::System,
        programs: &["openssl"],
        arguments: |to| {
            words(&["s_client", "-verify_return_error", "-brief", "-ign_eof", "-servername", &to.name])
                .chain(words(&["-verify_hostname", &to.name, "-connect", &format!("127.0.0.1:{}", to.port)]))
                .collect()
        },
        environment: nothing,
    },
    Client {
        name: "python",
        store: Store::Python,
        programs: &["python3"],
        arguments: |to| python(include_str!("clients/ssl.py"), to),
        environment: nothing,
    },
    Client {
        name: "python-requests",
        store: Store::Python,
        programs: &["python3"],
        arguments: |to| python(include_str!("clients/requests.py"), to),
        environment: nothing,
    },
    Client {
        name: "node",
        store: Store::Node,
        programs: &["node", "nodejs"],
        arguments: |to| {
            words(&["-e", include_str!("clients/tls.js"), "--", &to.name, &to.port.to_string()]).collect()
        },
        environment: nothing,
    },
    Client {
        name: "java",
        store: Store::Java,
        programs: &["java"],
        arguments: |to| words(&[&to.scratch("Ask.java"), &to.name, &to.port.to_string()]).collect(),
        environment: nothing,
    },
    Client {
        name: "chromium",
        store: Store::Chromium,
        programs: &["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"],
        arguments: |to| {
            // As root its sandbox refuses to work; it visits nothing but our own page.
            words(&[
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--no-first-run",
            ])
            .chain(words(&["--disable-background-networking", "--no-proxy-server", "--dump-dom"]))
            .chain([
                format!("--user-data-dir={}", to.scratch("profile")),
                format!("--host-resolver-rules=MAP {} 127.0.0.1:{}, MAP * ~NOTFOUND", to.name, to.port),
                to.url(),
            ])
            .collect()
        },
        environment: nothing,
    },
    Client {
        name: "firefox",
        store: Store::Firefox,
        programs: &["firefox", "firefox-esr"],
        arguments: |to| {
            words(&["--headless", "--no-remote", "--profile", &to.scratch("profile")])
                .chain([String::from("--screenshot"), to.scratch("page.png"), to.url()])
                .collect()
        },
        environment: nothing,
    },
];

fn words<'a>(words: &'a [&'a str]) -> impl Iterator<Item = String> + 'a {
    words.iter().map(|&word| word.to_owned())
}

fn nothing(_: &Target) -> Vec<(&'static str, String)> {
    Vec::new()
}

fn python(program: &str, to: &Target) -> Vec<String> {
    vec!["-c".to_owned(), program.to_owned(), to.name.clone(), to.port.to_string()]
}

/// Sends each of `clients` to a site of the authority's, one after another. Programs are this system's.
pub fn prove<'a>(
    authority: &'a Arc<Authority>,
    clients: impl Iterator<Item = &'a Client> + 'a,
) -> impl Iterator<Item = Result<Proof, ProofError>> + 'a {
    clients.map(|client| {
        let verdict = ask(authority, client)?;
        Ok(Proof { client: client.name, store: client.store, verdict })
    })
}

fn ask(authority: &Arc<Authority>, client: &Client) -> Result<Verdict, ProofError> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = client.programs.iter().find_map(|program| {
        std::env::split_paths(&path).map(|directory| directory.join(program)).find(|path| path.is_file())
    });
    let Some(program) = found else { return Ok(Verdict::NotInstalled) };
    let site = ProofSite::open(authority, client.name)?;
    let scratch = Scratch::make(client.name)?;
    let target = Target { name: site.name().to_owned(), port: site.port()?, scratch: scratch.0.clone() };
    prepare(&target)?;
    let complaints = scratch.0.join("stderr");
    let mut command = Command::new(program);
    command
        .args((client.arguments)(&target))
        .env("HOME", &scratch.0)
        .env("TMPDIR", &scratch.0)
        .current_dir(&scratch.0)
        .stdout(Stdio::null())
        .stderr(File::create(&complaints)?)
        .process_group(0);
    for name in ["http_proxy", "https_proxy", "all_proxy", "no_proxy"] {
        command.env_remove(name).env_remove(name.to_ascii_uppercase());
    }
    // As a session would have it that begins now.
    for (name, value) in environment::of_new_sessions(&Place::new("/")) {
        if std::env::var_os(&name).is_none() {
            command.env(name, value);
        }
    }
    command.envs((client.environment)(&target));
    let wants_request = client.name == "openssl";
    command.stdin(if wants_request { Stdio::piped() } else { Stdio::null() });
    let mut child = command.spawn()?;
    let stdin = child.stdin.take().map(|mut stdin| {
        // s_client sends what it is given; a reader that is gone already has refused.
        let _ = io::Write::write_all(&mut stdin, b"GET / HTTP/1.0\r\n\r\n");
        stdin
    });
    let mut status = None;
    let seen = site.watch(
        || {
            status = child.try_wait().ok().flatten();
            status.is_some()
        },
        PATIENCE,
    );
    drop(stdin);
    // With everything it started: browsers are many processes.
    let _ = killpg(Pid::from_raw(child.id().cast_signed()), Signal::SIGKILL);
    let _ = child.wait();
    Ok(match seen {
        Seen::Request => Verdict::Trusts,
        Seen::Refusal(failure) => Verdict::Refuses(failure.to_string()),
        Seen::Nothing if status.and_then(|status| status.code()) == Some(NOT_HERE) => Verdict::NotInstalled,
        Seen::Nothing => Verdict::Unclear(complaint(&complaints).unwrap_or_default()),
    })
}

/// Files that clients are told by.
fn prepare(target: &Target) -> io::Result<()> {
    fs::write(target.scratch.join("Ask.java"), include_str!("clients/Ask.java"))?;
    let profile = target.scratch.join("profile");
    fs::create_dir(&profile)?;
    fs::write(
        profile.join("user.js"),
        include_str!("clients/user.js").replace("@PORT@", &target.port.to_string()),
    )
}

/// The last line of what a program wrote on its standard error.
fn complaint(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let start = file.metadata()?.len().saturating_sub(COMPLAINT);
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.take(COMPLAINT).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let last = text.lines().map(str::trim).rfind(|line| !line.is_empty());
    Ok(last.unwrap_or("it made no connection").chars().take(COMPLAINT_SHOWN).collect())
}

/// A directory of one client's, removed with everything it left there.
struct Scratch(PathBuf);

impl Scratch {
    fn make(client: &str) -> io::Result<Self> {
        let id = uuid::Uuid::now_v7();
        let path = std::env::temp_dir().join(format!("portcullis-{client}-{id}"));
        fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A browser that was just killed may still be writing; what is left is in the directory for temporary files.
        let _ = fs::remove_dir_all(&self.0);
    }
}
