//! Configuration from disk to a published snapshot: validated as a whole first, then swapped at once. What is broken
//! keeps the last good set in force.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;

use crate::catalog::Catalog;
use crate::config::{self, Config, Loaded};
use crate::diagnostic::{Diagnostic, SourceFile};
use crate::policy::PolicySet;

/// How often the files are looked at. Comparing a few inodes is cheaper than it is to be certain that no change
/// notification was missed (replaced directories, bind mounts, network file systems).
pub const LOOK_EVERY: Duration = Duration::from_millis(250);
/// A configuration file larger than this is not one.
const MAX_FILE: u64 = 64 * 1024 * 1024;

/// One consistent set of settings, apps and policies. A decision uses the snapshot current at the response head.
#[derive(Debug)]
pub struct Snapshot {
    pub config: Arc<Config>,
    pub catalog: Catalog,
    pub policies: PolicySet,
    pub revision: u64,
}

/// Where everybody reads the current snapshot.
pub type Current = Arc<ArcSwap<Snapshot>>;

/// Where configuration stands: one file, and two directories beside it.
#[derive(Debug, Clone)]
pub struct Sources {
    /// `None`: built-in defaults, no policies.
    file: Option<PathBuf>,
}

/// The texts of one look at the disk.
#[derive(Debug, Default)]
pub struct Texts {
    pub config: Option<SourceFile>,
    pub apps: Vec<SourceFile>,
    pub policies: Vec<SourceFile>,
}

/// Identity of every file at one moment: a change of any is a reason to read them all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fingerprint(Vec<(PathBuf, u64, u64, Option<SystemTime>)>);

/// Looks for which a change may go on before it is read as it stands.
const LOOKS_WHILE_CHANGING: u32 = 2;

/// Tells when a change is to be read: once two looks in a row saw the same. A file that is written in place may be read
/// half, and half a policy file can be a whole one with policies missing.
#[derive(Debug)]
pub struct Watch {
    read: Fingerprint,
    /// What the last look saw instead, and how many looks in a row saw a change.
    changing: Option<(Fingerprint, u32)>,
}

impl Watch {
    pub fn new(read: Fingerprint) -> Self {
        Self { read, changing: None }
    }

    /// The files are about to be read as they are at this look.
    pub fn about_to_read(&mut self, now: Fingerprint) {
        (self.read, self.changing) = (now, None);
    }

    /// Takes a look; whether it is time to read.
    pub fn is_due(&mut self, now: &Fingerprint) -> bool {
        if self.read == *now {
            self.changing = None;
            return false;
        }
        let looks = match &self.changing {
            Some((last, looks)) if last == now || *looks >= LOOKS_WHILE_CHANGING => return true,
            Some((_, looks)) => *looks,
            None => 0,
        };
        self.changing = Some((now.clone(), looks + 1));
        false
    }
}

/// The default place of the settings.
pub const DEFAULT_FILE: &str = "/etc/portcullis/portcullis.toml";

impl Sources {
    /// `file` as given by the user; without it the default place, which may be absent.
    pub fn new(file: Option<PathBuf>) -> Self {
        let default = PathBuf::from(DEFAULT_FILE);
        let present = default.parent().is_some_and(Path::is_dir);
        Self { file: file.or_else(|| present.then_some(default)) }
    }

    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// Reads everything. An unreadable file is a diagnostic like any other; a given settings file must exist.
    pub fn read(&self) -> Result<Texts, Vec<Diagnostic>> {
        self.read_directories(&["apps.d", "policies.d"])
    }

    /// Reads settings and apps, for policies that stand elsewhere.
    pub fn read_without_policies(&self) -> Result<Texts, Vec<Diagnostic>> {
        self.read_directories(&["apps.d"])
    }

    fn read_directories(&self, names: &[&str]) -> Result<Texts, Vec<Diagnostic>> {
        let Some(file) = &self.file else { return Ok(Texts::default()) };
        let mut faults = Vec::new();
        let mut texts = Texts::default();
        match self.read_settings() {
            Ok(settings) => texts.config = settings,
            Err(found) => faults.extend(found),
        }
        let directories = [("apps.d", &mut texts.apps), ("policies.d", &mut texts.policies)];
        for (directory, into) in directories.into_iter().filter(|(name, _)| names.contains(name)) {
            match read_files(&beside(file, directory)) {
                Ok(sources) => *into = sources,
                Err(found) => faults.extend(found),
            }
        }
        if faults.is_empty() { Ok(texts) } else { Err(faults) }
    }

    /// Reads the settings file alone; `None` when the default one is absent.
    pub fn read_settings(&self) -> Result<Option<SourceFile>, Vec<Diagnostic>> {
        let Some(file) = &self.file else { return Ok(None) };
        match read_file(file) {
            Ok(source) => Ok(Some(source)),
            Err(error) if error.kind() == io::ErrorKind::NotFound && file == Path::new(DEFAULT_FILE) => {
                Ok(None)
            }
            Err(error) => Err(vec![unreadable(file, &error)]),
        }
    }

    pub fn fingerprint(&self) -> Fingerprint {
        use std::os::unix::fs::MetadataExt;
        let Some(file) = &self.file else { return Fingerprint::default() };
        let mut paths = vec![file.clone()];
        for directory in ["apps.d", "policies.d"] {
            paths.extend(toml_files(&beside(file, directory)).unwrap_or_default());
        }
        let seen = paths.into_iter().filter_map(|path| {
            let meta = fs::metadata(&path).ok()?;
            Some((path, meta.ino(), meta.len(), meta.modified().ok()))
        });
        Fingerprint(seen.collect())
    }
}

/// Builds a snapshot from texts; the pure half does the work.
pub fn compile(texts: &Texts, revision: u64) -> Result<Snapshot, Vec<Diagnostic>> {
    let Loaded { config, catalog, policies } =
        config::load_set(texts.config.as_ref(), &texts.apps, &texts.policies)?;
    let policies = policies.with_revision(revision);
    Ok(Snapshot { config: Arc::new(config), catalog, policies, revision })
}

fn beside(file: &Path, name: &str) -> PathBuf {
    file.parent().unwrap_or(Path::new(".")).join(name)
}

/// Reads the `*.toml` files of a directory that somebody named, in name order, or the one file: unlike a directory beside
/// the settings file it must be there.
pub fn read_directory(directory: &Path) -> Result<Vec<SourceFile>, Vec<Diagnostic>> {
    if directory.is_file() {
        let read = read_file(directory).map_err(|error| vec![unreadable(directory, &error)]);
        return read.map(|source| vec![source]);
    }
    match fs::read_dir(directory) {
        Ok(_) => read_files(directory),
        Err(error) => Err(vec![unreadable(directory, &error)]),
    }
}

fn read_files(directory: &Path) -> Result<Vec<SourceFile>, Vec<Diagnostic>> {
    let paths = toml_files(directory).map_err(|error| vec![unreadable(directory, &error)])?;
    let (mut sources, mut faults) = (Vec::new(), Vec::new());
    for path in paths {
        match read_file(&path) {
            Ok(source) => sources.push(source),
            // Removed between the listing and the read: as if it had never been there.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => faults.push(unreadable(&path, &error)),
        }
    }
    if faults.is_empty() { Ok(sources) } else { Err(faults) }
}

/// The `*.toml` files of a directory in name order; none when there is no such directory.
fn toml_files(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if path.extension().is_some_and(|extension| extension == "toml") && !hidden {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn read_file(path: &Path) -> io::Result<SourceFile> {
    let size = fs::metadata(path)?.len();
    if size > MAX_FILE {
        return Err(io::Error::other(format!("it has {size} bytes, more than {MAX_FILE}")));
    }
    let text = fs::read_to_string(path)?;
    Ok(SourceFile::new(path.display().to_string(), text))
}

fn unreadable(path: &Path, error: &io::Error) -> Diagnostic {
    Diagnostic::whole_file(path.display().to_string(), format!("cannot be read: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_in_name_order_and_any_change_shows_in_the_fingerprint() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("portcullis.toml");
        fs::write(&file, "").unwrap();
        let policies = directory.path().join("policies.d");
        fs::create_dir(&policies).unwrap();
        for name in ["20.toml", "10.toml", "x.sample", ".30.toml"] {
            fs::write(policies.join(name), "").unwrap();
        }
        let sources = Sources::new(Some(file.clone()));
        let texts = sources.read().unwrap();
        let names: Vec<_> =
            texts.policies.iter().map(|f| f.path.rsplit('/').next().unwrap().to_owned()).collect();
        assert_eq!(names, ["10.toml", "20.toml"]);
        assert_eq!(read_directory(&policies).unwrap(), texts.policies);
        let absent = directory.path().join("absent.d");
        assert_eq!(read_directory(&absent).unwrap_err()[0].path(), absent.display().to_string());

        let before = sources.fingerprint();
        assert_eq!(before, sources.fingerprint());
        fs::remove_file(policies.join("10.toml")).unwrap();
        let removed = sources.fingerprint();
        assert_ne!(before, removed);
        fs::write(policies.join("20.toml"), "# longer").unwrap();
        assert_ne!(removed, sources.fingerprint());
    }

    #[test]
    fn a_change_is_read_when_it_has_settled_and_in_any_case_soon() {
        let at = |size| Fingerprint(vec![("p.toml".into(), 1, size, None)]);
        let mut watch = Watch::new(at(0));
        assert!(!watch.is_due(&at(0)));
        assert!(!watch.is_due(&at(5)), "it may still be written");
        assert!(watch.is_due(&at(5)));
        watch.about_to_read(at(5));
        assert!(!watch.is_due(&at(5)));
        assert!(!watch.is_due(&at(6)));
        assert!(!watch.is_due(&at(5)), "changed back");
        let due = (10..).position(|size| watch.is_due(&at(size)));
        assert_eq!(due, Some(2), "somebody writes all the time");
    }

    #[test]
    fn a_settings_file_that_was_asked_for_and_is_not_there_is_named() {
        let sources = Sources::new(Some("/nonexistent/portcullis.toml".into()));
        let faults = sources.read().unwrap_err();
        assert_eq!(faults[0].path(), "/nonexistent/portcullis.toml");
    }
}
