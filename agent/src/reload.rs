//! Configuration from disk to a published snapshot: validated as a whole first, then swapped at once. What is broken
//! keeps the last good set in force.

mod files;
#[cfg(test)]
mod readme;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;

use crate::catalog::{Catalog, HostPattern};
use crate::config::{self, Config, Loaded};
use crate::diagnostic::{Diagnostic, SourceFile};
use crate::policy::PolicySet;
use files::{files, is_toml, read_file, read_files, toml_files};

pub use files::read_directory;

/// How often the files are looked at. Comparing a few inodes is cheaper than it is to be certain that no change
/// notification was missed (replaced directories, bind mounts, network file systems).
pub const LOOK_EVERY: Duration = Duration::from_millis(250);

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
            let (sources, found) = read_files(&beside(file, directory));
            *into = sources;
            faults.extend(found);
        }
        if faults.is_empty() {
            return Ok(texts);
        }
        // What can be read may be wrong as well: all of it is said at once.
        faults.extend(compile(&texts, 0).err().unwrap_or_default());
        Err(faults)
    }

    /// What is valid and is hardly meant so, a line each: files that are not read, names that take in half the world.
    pub fn notes(&self, snapshot: &Snapshot) -> Vec<String> {
        let mut notes = Vec::new();
        for directory in ["apps.d", "policies.d"] {
            let Some(file) = &self.file else { continue };
            for path in files(&beside(file, directory)).unwrap_or_default() {
                if !is_toml(&path) && !is_put_aside(&path) {
                    notes.push(format!("{} is not read: only files named *.toml are", path.display()));
                }
            }
        }
        for app in snapshot.catalog.apps() {
            for pattern in &app.domains {
                if matches!(pattern, HostPattern::Below(name) if !name.contains('.')) {
                    let id = &app.id;
                    notes.push(format!(
                        "\"{pattern}\" of the app \"{id}\" is every name of a top-level domain"
                    ));
                }
            }
        }
        let (metrics, console) = (&snapshot.config.metrics, snapshot.config.console.listen);
        if let Some(address) = console.filter(|address| metrics.meets(*address)) {
            notes.push(format!(
                "[metrics] listen has the port of [console] listen, {address}: one of them stays away"
            ));
        }
        for policy in snapshot.policies.policies() {
            if let Some(condition) = policy.unmeetable() {
                let (path, line, name) = (&policy.path, policy.line, &policy.name);
                notes.push(format!(
                    "{path}:{line}: the policy \"{name}\" never applies: `{}` excludes all that it includes",
                    condition.name()
                ));
            }
        }
        notes
    }

    /// Reads the settings file alone; `None` when the default one is absent.
    pub fn read_settings(&self) -> Result<Option<SourceFile>, Vec<Diagnostic>> {
        let Some(file) = &self.file else { return Ok(None) };
        match read_file(file) {
            Ok(source) => Ok(Some(source)),
            Err(error) if error.is_absence_of(file) && file == Path::new(DEFAULT_FILE) => Ok(None),
            Err(error) => Err(vec![error.of(file)]),
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
            // A link that leads nowhere is a reason to look as well: reading it says so.
            let meta = fs::metadata(&path).or_else(|_| fs::symlink_metadata(&path)).ok()?;
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

/// Named so that nobody takes it for a file in force: samples, what editors and package managers leave, a text to read.
fn is_put_aside(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let endings = [".sample", ".example", ".bak", ".orig", ".disabled", ".md", ".rpmsave", ".rpmnew", "~"];
    endings.iter().any(|ending| name.ends_with(ending))
        || name.contains(".dpkg-")
        || name.starts_with("README")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::Style;

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
    fn what_cannot_be_read_hides_nothing_of_what_can() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("portcullis.toml");
        fs::write(&file, "[steering]\nmood = 1\n").unwrap();
        let policies = directory.path().join("policies.d");
        fs::create_dir_all(policies.join("10.toml")).unwrap();
        fs::write(policies.join("20.toml"), b"# one\n[[policy]]\nname = \"Gr\xfc\xdfe\"\n").unwrap();
        fs::write(policies.join("30.toml"), "[[policy]]\nstate = \"on\"\n").unwrap();
        let faults = Sources::new(Some(file)).read().unwrap_err();
        let said: Vec<_> = faults
            .iter()
            .map(|fault| format!("{}:{}:{}", fault.path(), fault.line(), fault.column()))
            .collect();
        for wanted in ["10.toml", "20.toml:3:11", "portcullis.toml:2", "30.toml"] {
            assert!(said.iter().any(|title| title.contains(wanted)), "{wanted}: {said:#?}");
        }
        let text = faults.iter().map(|fault| fault.render(Style::Plain)).collect::<String>();
        assert!(text.contains("this is not UTF-8"), "{text}");
    }

    #[test]
    fn what_is_hardly_meant_is_noted() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("portcullis.toml");
        fs::write(&file, "[metrics]\nlisten = \"0.0.0.0:9465\"\n").unwrap();
        for name in ["apps.d", "policies.d"] {
            fs::create_dir(directory.path().join(name)).unwrap();
        }
        let app = "[[app]]\nid = \"x\"\nname = \"X\"\ncategory = \"x\"\ndomains = [\"*.com\", \"*.x.com\"]\n";
        fs::write(directory.path().join("apps.d/x.toml"), app).unwrap();
        for name in ["block.json", "block.tml", "block.toml.sample", "block.toml~", "README"] {
            fs::write(directory.path().join("policies.d").join(name), "").unwrap();
        }
        let nobody = "[[policy]]\nname = \"N\"\napps.include = [\"all\"]\nusers.exclude = [\"all\"]\n";
        fs::write(directory.path().join("policies.d/nobody.toml"), nobody).unwrap();
        let sources = Sources::new(Some(file));
        let notes = sources.notes(&compile(&sources.read().unwrap(), 1).unwrap());
        assert_eq!(notes.len(), 5, "{notes:#?}");
        assert!(notes[3].contains("127.0.0.1:9465"), "{notes:#?}");
        assert!(notes[4].contains("nobody.toml:2: the policy \"N\" never applies: `users`"), "{notes:#?}");
        assert!(notes[0].contains("block.json is not read") && notes[1].contains("block.tml"), "{notes:#?}");
        assert!(notes[2].contains("\"*.com\"") && notes[2].contains("\"x\""), "{notes:#?}");
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
    fn what_a_link_led_to_and_is_gone_keeps_the_set_from_being_read() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("portcullis.toml");
        fs::write(&file, "").unwrap();
        fs::create_dir(directory.path().join("policies.d")).unwrap();
        let target = directory.path().join("managed");
        fs::write(&target, "").unwrap();
        let sources = Sources::new(Some(file));
        let without = sources.fingerprint();
        std::os::unix::fs::symlink(&target, directory.path().join("policies.d/a.toml")).unwrap();
        let before = sources.fingerprint();
        assert_eq!(sources.read().unwrap().policies.len(), 1);
        fs::remove_file(&target).unwrap();
        let after = sources.fingerprint();
        assert!(before != after && after != without, "each is looked at anew");
        assert!(sources.read().unwrap_err()[0].message.contains("managed, which is not there"));
    }

    #[test]
    fn a_settings_file_that_was_asked_for_and_is_not_there_is_named() {
        let sources = Sources::new(Some("/nonexistent/portcullis.toml".into()));
        let faults = sources.read().unwrap_err();
        assert_eq!(faults[0].path(), "/nonexistent/portcullis.toml");
    }
}
