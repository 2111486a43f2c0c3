//! Stores in scratch roots: every layout filled and emptied, and compared byte for byte with what was there before.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use super::java::JKS;
use super::system::LAYOUTS;
use super::*;
use crate::catalog::HostPattern;
use crate::tls::Authority;

/// A root directory with nothing in it but what a test puts there.
struct Scratch {
    _directory: tempfile::TempDir,
    root: PathBuf,
    state: PathBuf,
    certificates: Certificates,
}

impl Scratch {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let hosts = [HostPattern::Below("corp.test".into())];
        let authority = Authority::create(&directory.path().join("ca"), &hosts).unwrap();
        let (root, state) = (directory.path().join("root"), directory.path().join("state"));
        fs::create_dir(&root).unwrap();
        fs::create_dir(&state).unwrap();
        Self { certificates: authority.certificates().clone(), _directory: directory, root, state }
    }

    fn place(&self) -> Place {
        Place::new(&self.root)
    }

    fn file(&self, path: &str, content: &str) -> PathBuf {
        let path = self.place().at(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    fn directory(&self, path: &str) {
        fs::create_dir_all(self.place().at(path)).unwrap();
    }

    fn put(&self, store: Store) -> Outcome {
        put(&self.place(), &self.state, &self.certificates, &[store]).unwrap().pop().unwrap().outcome
    }

    fn take(&self, store: Store) -> Outcome {
        take(&self.place(), &self.state, &[store]).unwrap().pop().unwrap().outcome
    }

    /// Every file, directory and link below the root and in the state directory, with mode and content.
    fn everything(&self) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
        let mut found = BTreeMap::new();
        let mut waiting = vec![self.root.clone(), self.state.clone()];
        while let Some(path) = waiting.pop() {
            let about = path.symlink_metadata().unwrap();
            let content = if about.is_dir() {
                waiting.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
                Vec::new()
            } else if about.is_symlink() {
                fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes()
            } else {
                fs::read(&path).unwrap()
            };
            found.insert(path, (about.permissions().mode(), content));
        }
        found
    }
}

#[track_caller]
fn done(outcome: Outcome) -> Vec<String> {
    match outcome {
        Outcome::Done(lines) => lines,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn failed(outcome: Outcome) -> String {
    match outcome {
        Outcome::Failed(error) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

const FIREFOX: &str = "/etc/firefox/policies/policies.json";

#[test]
fn firefox_gets_a_policy_and_loses_it_without_a_trace() {
    for theirs in [None, Some("{\"policies\":\n {\"DisableTelemetry\" : true}}")] {
        let scratch = Scratch::new();
        scratch.file("/usr/bin/firefox", "");
        if let Some(text) = theirs {
            let path = scratch.file(FIREFOX, text);
            fs::set_permissions(path, fs::Permissions::from_mode(0o640)).unwrap();
        }
        let before = scratch.everything();
        done(scratch.put(Store::Firefox));
        let policies = fs::read_to_string(scratch.place().at(FIREFOX)).unwrap();
        let value: serde_json::Value = serde_json::from_str(&policies).unwrap();
        let installed = value["policies"]["Certificates"]["Install"][0].as_str().unwrap();
        assert_eq!(
            fs::read_to_string(scratch.place().at(installed)).unwrap(),
            scratch.certificates.root_pem,
            "{installed}"
        );
        assert_eq!(value["policies"]["DisableTelemetry"], serde_json::json!(theirs.map(|_| true)));
        // Once more is the same as once.
        done(scratch.put(Store::Firefox));
        done(scratch.take(Store::Firefox));
        assert_eq!(scratch.everything(), before);
        assert!(matches!(scratch.take(Store::Firefox), Outcome::Absent(_)));
    }
}

#[test]
fn what_an_administrator_added_to_a_policy_meanwhile_stays() {
    let scratch = Scratch::new();
    scratch.file("/usr/bin/firefox", "");
    done(scratch.put(Store::Firefox));
    let path = scratch.place().at(FIREFOX);
    let mut value: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    value["policies"]["DisablePocket"] = true.into();
    fs::write(&path, value.to_string()).unwrap();
    let lines = done(scratch.take(Store::Firefox)).join("\n");
    assert!(lines.contains("which somebody changed"), "{lines}");
    let left: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    assert_eq!(left, serde_json::json!({"policies": {"DisablePocket": true}}));
    assert!(!scratch.state.join(DIRECTORY).exists(), "{:?}", scratch.everything().keys());
}

#[test]
fn what_an_installation_of_firefox_brings_along_still_holds() {
    let scratch = Scratch::new();
    scratch.file("/usr/lib/firefox/distribution/policies.json", "{\"policies\": {\"AppUpdateURL\": \"x\"}}");
    done(scratch.put(Store::Firefox));
    let text = fs::read_to_string(scratch.place().at(FIREFOX)).unwrap();
    assert!(text.contains("\"AppUpdateURL\": \"x\"") && text.contains("portcullis.pem"), "{text}");
}

#[test]
fn a_broken_policy_file_is_named_and_nothing_is_left_half_done() {
    let scratch = Scratch::new();
    scratch.file(FIREFOX, "{\"policies\": [}");
    let before = scratch.everything();
    let error = failed(scratch.put(Store::Firefox));
    assert!(error.contains("policies.json") && error.contains("put it right"), "{error}");
    assert_eq!(scratch.everything(), before);
}

#[test]
fn each_relative_of_chromium_that_is_there_gets_the_policy() {
    let scratch = Scratch::new();
    assert!(matches!(scratch.put(Store::Chromium), Outcome::Absent(_)));
    scratch.file("/usr/bin/chromium", "");
    scratch.directory("/etc/opt/chrome/policies/managed");
    let before = scratch.everything();
    done(scratch.put(Store::Chromium));
    for directory in ["/etc/chromium", "/etc/opt/chrome"] {
        let path = scratch.place().at(format!("{directory}/policies/managed/portcullis.json"));
        let policy: serde_json::Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        let certificate = policy["CACertificates"][0].as_str().unwrap();
        assert!(scratch.certificates.root_pem.replace('\n', "").contains(certificate), "{certificate}");
    }
    assert!(!scratch.place().at("/etc/opt/edge").exists());
    done(scratch.take(Store::Chromium));
    assert_eq!(scratch.everything(), before);

    scratch.file("/etc/opt/chrome/policies/managed/corp.json", "{\"CACertificates\": []}");
    let before = scratch.everything();
    let error = failed(scratch.put(Store::Chromium));
    assert!(error.contains("corp.json") && error.contains("portcullis ca export"), "{error}");
    assert_eq!(scratch.everything(), before);
}

#[test]
fn every_layout_of_the_system_store_is_found_by_what_is_there() {
    for layout in LAYOUTS {
        let scratch = Scratch::new();
        assert!(matches!(scratch.put(Store::System), Outcome::Absent(_)));
        // Some distributions have Debian's directory beside their own.
        scratch.directory("/usr/local/share/ca-certificates");
        scratch.directory(layout.anchors);
        let error = failed(scratch.put(Store::System));
        assert!(error.contains(layout.program) && error.contains("install the package"), "{error}");
        assert_eq!(system::layout(&scratch.place()), Some(layout), "{}", layout.name);
        assert!(!scratch.place().at(layout.anchor("")).exists());
        scratch.file(layout.bundle, "");
        let before = scratch.everything();
        done(scratch.put(Store::Python));
        let environment = environment::of_new_sessions(&scratch.place());
        let bundle = layout.bundle.to_owned();
        assert_eq!(
            environment,
            [("SSL_CERT_FILE".to_owned(), bundle.clone()), ("REQUESTS_CA_BUNDLE".to_owned(), bundle)]
        );
        done(scratch.take(Store::Python));
        assert_eq!(scratch.everything(), before);
    }
}

#[test]
fn a_file_of_somebody_else_is_not_overwritten_and_one_that_somebody_changed_stays() {
    let scratch = Scratch::new();
    let path = scratch.file("/etc/profile.d/portcullis-node.sh", "theirs");
    let before = scratch.everything();
    let error = failed(scratch.put(Store::Node));
    assert!(error.contains("is not ours"), "{error}");
    assert_eq!(scratch.everything(), before);

    fs::remove_file(&path).unwrap();
    done(scratch.put(Store::Node));
    fs::write(&path, "changed").unwrap();
    let lines = done(scratch.take(Store::Node)).join("\n");
    assert!(lines.contains("left /etc/profile.d/portcullis-node.sh"), "{lines}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "changed");
    assert!(!scratch.place().at("/etc/portcullis").exists());
}

#[test]
fn a_keystore_is_told_from_one_that_follows_the_system() {
    let scratch = Scratch::new();
    assert!(matches!(scratch.put(Store::Java), Outcome::Absent(_)));
    scratch.directory("/usr/local/share/ca-certificates");
    scratch.file("/etc/ssl/certs/java/cacerts", "the system's");
    scratch.directory("/usr/lib/jvm/jdk-17/lib/security");
    symlink("/etc/ssl/certs/java/cacerts", scratch.place().at("/usr/lib/jvm/jdk-17/lib/security/cacerts"))
        .unwrap();
    symlink("jdk-17", scratch.place().at("/usr/lib/jvm/default")).unwrap();
    let before = scratch.everything();
    let lines = done(scratch.put(Store::Java));
    assert_eq!(lines, ["runtimes of the distribution follow the system's store"]);
    assert_eq!(scratch.everything(), before);

    // A keystore that can be looked into, after a hook that did nothing.
    fs::write(scratch.place().at("/etc/ssl/certs/java/cacerts"), JKS).unwrap();
    done(scratch.put(Store::Java));
    scratch.file("/usr/local/share/ca-certificates/portcullis.crt", "the anchor");
    let error = failed(scratch.put(Store::Java));
    assert!(error.contains("java/cacerts") && error.contains("--triggers-only"), "{error}");
    let root = CertificateDer::from_pem_slice(scratch.certificates.root_pem.as_bytes()).unwrap();
    fs::write(scratch.place().at("/etc/ssl/certs/java/cacerts"), [&JKS[..], &root].concat()).unwrap();
    assert_eq!(done(scratch.put(Store::Java)), lines);

    scratch.file("/opt/jdk-8/jre/lib/security/cacerts", "its own");
    let error = failed(scratch.put(Store::Java));
    assert!(error.contains("/opt/jdk-8/jre/lib/security/cacerts") && error.contains("keytool"), "{error}");
}

#[test]
fn a_manifest_that_cannot_be_read_ends_it_before_anything_is_changed() {
    let scratch = Scratch::new();
    scratch.file("/usr/bin/chromium", "");
    fs::create_dir(scratch.state.join(DIRECTORY)).unwrap();
    for (text, fault) in
        [("{", "not a list of changes"), ("{\"version\":2,\"entries\":[]}", "its version is 2")]
    {
        fs::write(scratch.state.join(DIRECTORY).join("manifest.json"), text).unwrap();
        let before = scratch.everything();
        let error = put(&scratch.place(), &scratch.state, &scratch.certificates, &Store::ALL).unwrap_err();
        assert!(error.to_string().contains(fault), "{error}");
        assert_eq!(scratch.everything(), before);
    }
}

/// After a crash between two steps the manifest names what may have been done, and that is taken back.
#[test]
fn what_a_crash_left_is_taken_back() {
    let scratch = Scratch::new();
    scratch.file("/usr/bin/firefox", "");
    let path = scratch.file(FIREFOX, "{\"policies\": {}}");
    let before = scratch.everything();
    let mut journal = Journal::open(&scratch.state).unwrap();
    let part = change::Part::FirefoxInstall("x".to_owned());
    let crashed = journal.of(Store::Firefox).edit(&scratch.place(), Path::new(FIREFOX), part, |path, _| {
        fs::write(path, "half").unwrap();
        Err(StoreError::Unusable { path: path.into(), fault: "crash".to_owned() })
    });
    assert!(crashed.is_err() && fs::read_to_string(&path).unwrap() == "half");
    drop(journal);
    done(scratch.take(Store::Firefox));
    assert_eq!(scratch.everything(), before);
}
