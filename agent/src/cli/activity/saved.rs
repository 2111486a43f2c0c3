//! Saved queries: filters under a name, in a file beside the activity log. Times that were given as "2d" stay so.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clap::{Args, FromArgMatches};

use super::ActivityArgs;

/// Name of the file below `[paths] state`.
const FILE: &str = "queries.json";
/// Queries kept, and bytes of a name.
const QUERIES_MAX: usize = 256;
const NAME_MAX: usize = 64;

#[derive(Debug, thiserror::Error)]
pub(super) enum SavedError {
    #[error("a query's name has 1 to {NAME_MAX} letters, digits, `-`, `_` or `.`")]
    Name,
    #[error("there are {QUERIES_MAX} saved queries: `--forget NAME` removes one")]
    TooMany,
    #[error("there is no saved query {0:?}; `--queries` lists them")]
    Unknown(String),
    #[error("the saved query {name:?} cannot be read: {why}")]
    Unreadable { name: String, why: String },
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
}

/// All saved queries: the filters as arguments, by name.
pub(super) struct Saved {
    path: PathBuf,
    queries: BTreeMap<String, Vec<String>>,
}

impl Saved {
    /// Those beside this activity log.
    pub(super) fn beside(log: &Path) -> Result<Self, SavedError> {
        let path = log.with_file_name(FILE);
        let failed = |source| SavedError::Io { path: path.clone(), source };
        let queries = match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).map_err(|error| failed(error.into()))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(failed(error)),
        };
        Ok(Self { path, queries })
    }

    /// By name, with their filters as words of a command line.
    pub(super) fn queries(&self) -> impl Iterator<Item = (&str, &[String])> {
        self.queries.iter().map(|(name, filters)| (&**name, &**filters))
    }

    /// A line for each: its name and its filters.
    pub(super) fn lines(&self) -> impl Iterator<Item = String> {
        self.queries.iter().map(|(name, filters)| {
            let quoted = filters.iter().map(|word| match word.contains(char::is_whitespace) {
                true => format!("'{word}'"),
                false => word.clone(),
            });
            format!("{name}: {}", quoted.collect::<Vec<_>>().join(" "))
        })
    }

    pub(super) fn save(&mut self, name: &str, args: &ActivityArgs) -> Result<(), SavedError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if name.is_empty() || name.len() > NAME_MAX || !name.chars().all(plain) {
            return Err(SavedError::Name);
        }
        if self.queries.len() >= QUERIES_MAX && !self.queries.contains_key(name) {
            return Err(SavedError::TooMany);
        }
        self.queries.insert(name.to_owned(), args.as_words());
        self.write()
    }

    pub(super) fn forget(&mut self, name: &str) -> Result<(), SavedError> {
        self.queries.remove(name).ok_or_else(|| SavedError::Unknown(name.to_owned()))?;
        self.write()
    }

    /// The filters saved under a name. What `args` gives beside it replaces the saved part.
    pub(super) fn apply(&self, name: &str, args: &ActivityArgs) -> Result<ActivityArgs, SavedError> {
        let words = self.queries.get(name).ok_or_else(|| SavedError::Unknown(name.to_owned()))?;
        let read = ActivityArgs::augment_args(clap::Command::new("query").no_binary_name(true))
            .try_get_matches_from(words)
            .and_then(|matches| ActivityArgs::from_arg_matches(&matches));
        let saved = read.map_err(|error| SavedError::Unreadable {
            name: name.to_owned(),
            why: error.to_string().lines().next().unwrap_or_default().to_owned(),
        })?;
        let args = args.clone();
        Ok(ActivityArgs {
            user: args.user.or(saved.user),
            app: args.app.or(saved.app),
            kind: args.kind.or(saved.kind),
            action: args.action.or(saved.action),
            ip: args.ip.or(saved.ip),
            device: args.device.or(saved.device),
            since: args.since.or(saved.since),
            until: args.until.or(saved.until),
            policy: args.policy.or(saved.policy),
            file: args.file.or(saved.file),
            limit: args.limit.or(saved.limit),
            ..args
        })
    }

    /// In one step: a reader sees the old file or the new one.
    fn write(&self) -> Result<(), SavedError> {
        let draft = self.path.with_extension("json.new");
        let write = || -> io::Result<()> {
            let mut file =
                OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
            file.write_all(&serde_json::to_vec_pretty(&self.queries)?)?;
            file.sync_all()?;
            fs::rename(&draft, &self.path)
        };
        write().map_err(|source| SavedError::Io { path: self.path.clone(), source })
    }
}

impl ActivityArgs {
    /// The filters as they are given on a command line.
    fn as_words(&self) -> Vec<String> {
        let all = [
            ("--user", self.user.clone()),
            ("--app", self.app.clone()),
            ("--type", self.kind.map(|kind| kind.name().to_owned())),
            ("--action", self.action.map(|action| action.name().to_owned())),
            ("--ip", self.ip.map(|network| network.to_string())),
            ("--device", self.device.clone()),
            ("--since", self.since.as_ref().map(|time| time.given.clone())),
            ("--until", self.until.as_ref().map(|time| time.given.clone())),
            ("--policy", self.policy.clone()),
            ("--file", self.file.clone()),
            ("--limit", self.limit.map(|limit| limit.to_string())),
        ];
        // In one word with its value, which may begin with a dash.
        all.into_iter().filter_map(|(name, value)| Some(format!("{name}={}", value?))).collect()
    }
}
