//! The certificate authority as the daemon uses it: who holds its key, and what becomes of a new one.

use std::cell::{Cell, RefCell};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result, ensure};

use crate::config::{Config, SignerPlace};
use crate::reload::Sources;
use crate::tls::{
    Authority, AuthorityError, AuthorityEvent, Certificates, SignFault, SignerChild, SignerClient,
};

/// Whose changes mean another authority.
const FILES: [&str; 4] = ["ca.pem", "issuing.pem", "next-issuing.pem", "next-ca.pem"];

/// Where the issuing key is.
enum Key {
    InProcess,
    /// With a signer that somebody else keeps running.
    Socket(PathBuf),
    /// With one of our own.
    Child(SignerChild),
}

/// Authority and signer for as long as the daemon runs.
pub(super) struct Custody {
    directory: PathBuf,
    key: Key,
    seen: Cell<Stamp>,
    /// Why the signer last gave no answer.
    silent: RefCell<Option<SignFault>>,
}

/// What a look at the files saw, and whether the authority to follow does by now; another one means another authority.
type Stamp = ([Option<(u64, Option<SystemTime>)>; FILES.len()], bool);

impl Custody {
    /// Opens the authority, or makes one for the hosts that `sources` name. Where a signer holds the key this process never
    /// does: another one makes it.
    pub(super) fn begin(
        config: &Config,
        socket: Option<PathBuf>,
        sources: &Sources,
        patterns: &[crate::catalog::HostPattern],
    ) -> Result<(Self, Authority, AuthorityEvent)> {
        let directory = config.paths.state.join("ca");
        let shown = || format!("the certificate authority in {}", directory.display());
        let here = socket.is_none() && config.tls.signer == SignerPlace::InProcess;
        let (key, authority, event) = if here {
            let (authority, event) = Authority::open_or_create(&directory, patterns).with_context(shown)?;
            (Key::InProcess, authority, event)
        } else {
            let there = Authority::present(&directory).with_context(shown)?;
            if !there {
                ensure!(
                    socket.is_none(),
                    "there is no certificate authority in {}: `portcullis ca init` as root makes one, as the unit \
                     does before this",
                    directory.display()
                );
                make(sources).with_context(shown)?;
            }
            let key = match socket {
                Some(path) => Key::Socket(path),
                None => Key::Child(
                    SignerChild::start(&config.paths.run, &directory).context("starting the signer")?,
                ),
            };
            let authority = open(&key, &directory).with_context(shown)?;
            if matches!(key, Key::Child(_)) {
                // It has said itself what is wrong; a service is waited for instead.
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                runtime.block_on(comes_up(&authority)).context("the signer does not come up")?;
            }
            let event = if there {
                AuthorityEvent::Opened {
                    expires_soon: authority.expires_soon(),
                    outgrown: authority.outgrown(patterns),
                }
            } else {
                AuthorityEvent::Created
            };
            (key, authority, event)
        };
        let seen = Cell::new(stamp(&directory));
        Ok((Self { directory, key, seen, silent: RefCell::default() }, authority, event))
    }

    /// The authority that took the place of the one that was opened last, if one did.
    pub(super) fn replaced(&self) -> Option<Result<Authority, AuthorityError>> {
        let now = stamp(&self.directory);
        // The root certificate comes last: without it the set is not whole yet.
        if now == self.seen.get() || now.0.first().is_none_or(Option::is_none) {
            return None;
        }
        self.seen.set(now);
        if let Key::Child(child) = &self.key {
            child.restart();
        }
        Some(open(&self.key, &self.directory))
    }

    /// Who holds the key, in words.
    pub(super) fn holder(&self) -> String {
        match &self.key {
            Key::InProcess => "this process".to_owned(),
            Key::Socket(path) => format!("the signer at {}", path.display()),
            Key::Child(_) => "a signer that this process started".to_owned(),
        }
    }

    /// Takes over whether the signer answered.
    pub(super) fn heard(&self, answer: Result<(), SignFault>) {
        let fault = answer.err();
        let mut silent = self.silent.borrow_mut();
        if *silent != fault {
            match &fault {
                Some(fault) => tracing::error!("sites that are new to the agent are refused: {fault}"),
                None => tracing::info!("the signer answers"),
            }
        }
        *silent = fault;
    }

    /// Why there are no new leaves just now.
    pub(super) fn silence(&self) -> Option<String> {
        self.silent.borrow().as_ref().map(ToString::to_string)
    }
}

fn open(key: &Key, directory: &Path) -> Result<Authority, AuthorityError> {
    match key {
        Key::InProcess => Authority::open(directory),
        Key::Socket(path) => Authority::of_signer(directory, SignerClient::new(path.clone())),
        Key::Child(child) => Authority::of_signer(directory, SignerClient::new(child.socket().into())),
    }
}

fn stamp(directory: &Path) -> Stamp {
    let seen = FILES.map(|name| {
        let about = fs::metadata(directory.join(name)).ok()?;
        Some((about.ino(), about.modified().ok()))
    });
    let follows_at = Certificates::next_follows_at(directory);
    (seen, follows_at.is_some_and(|at| at <= SystemTime::now()))
}

/// Has another process of this program make the authority, so that the key was never in this one.
fn make(sources: &Sources) -> Result<()> {
    let mut command = Command::new("/proc/self/exe");
    command.args(["ca", "init", "--if-missing"]);
    if let Some(file) = sources.file() {
        command.arg("--config").arg(file);
    }
    let status =
        command.stdin(Stdio::null()).stdout(Stdio::null()).status().context("`portcullis ca init`")?;
    ensure!(status.success(), "`portcullis ca init`: {status}");
    Ok(())
}

/// Waits for a signer that was just started: on a busy machine a process takes its time.
async fn comes_up(authority: &Authority) -> Result<(), SignFault> {
    const MOST: Duration = Duration::from_secs(10);
    const AGAIN: Duration = Duration::from_millis(100);
    let begun = Instant::now();
    loop {
        match authority.ask_signer().await {
            Err(SignFault::Silent { .. }) if begun.elapsed() < MOST => tokio::time::sleep(AGAIN).await,
            answer => return answer,
        }
    }
}

/// Asks the signer again and again, so that `status` knows before a client does.
pub(super) async fn watch(authority: impl Fn() -> Arc<Authority>, custody: &Custody) {
    const EVERY: Duration = Duration::from_secs(1);
    let mut tick = tokio::time::interval(EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        custody.heard(authority().ask_signer().await);
    }
}
