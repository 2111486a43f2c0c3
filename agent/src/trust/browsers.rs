//! Browsers that are told by policy what to trust: where Firefox and the relatives of Chromium look for policies.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::change::{FOREIGN_MAX, Of, Part, read, replace};
use super::{Filled, Place, StoreError, firefox};
use crate::tls::Certificates;

/// Firefox's policies for all installations of it; where it exists, those in `distribution` are not read.
const FIREFOX_POLICIES: &str = "/etc/firefox/policies/policies.json";
/// Beside it, where a Snap may read as well.
const FIREFOX_ROOTS: &str = "/etc/firefox/policies/portcullis";
const FIREFOX_PROGRAMS: [&str; 2] = ["firefox", "firefox-esr"];
/// Installations, each with a `distribution/policies.json` perhaps.
const FIREFOX_HOMES: [&str; 6] = [
    "/usr/lib/firefox",
    "/usr/lib64/firefox",
    "/usr/lib/firefox-esr",
    "/usr/share/firefox-esr",
    "/opt/firefox",
    "/snap/firefox/current",
];
/// Where profiles lie below a home directory.
const FIREFOX_PROFILES: [&str; 3] = [
    ".mozilla/firefox",
    "snap/firefox/common/.mozilla/firefox",
    ".var/app/org.mozilla.firefox/.mozilla/firefox",
];
/// How every root of this product is called (`tls::authority`).
const NICKNAME: &str = "Portcullis root ";
/// Profiles that are looked into.
const PROFILES: usize = 1024;

/// A relative of Chromium: directory of its policies, and its programs.
struct Relative {
    name: &'static str,
    directory: &'static str,
    programs: &'static [&'static str],
}

const RELATIVES: [Relative; 5] = [
    Relative { name: "Chromium", directory: "/etc/chromium", programs: &["chromium"] },
    Relative { name: "Chromium", directory: "/etc/chromium-browser", programs: &["chromium-browser"] },
    Relative {
        name: "Chrome",
        directory: "/etc/opt/chrome",
        programs: &["google-chrome", "google-chrome-stable"],
    },
    Relative {
        name: "Edge",
        directory: "/etc/opt/edge",
        programs: &["microsoft-edge", "microsoft-edge-stable"],
    },
    Relative { name: "Brave", directory: "/etc/brave", programs: &["brave-browser", "brave"] },
];
/// Read in the order of names, the last one wins.
const MANAGED: &str = "policies/managed";
const MANAGED_FILE: &str = "portcullis.json";
/// Certificates of an organisation, each DER in base64. It holds one list: that of the last file.
const CHROMIUM_POLICY: &str = "CACertificates";

pub(super) fn fill_firefox(
    place: &Place,
    journal: &mut Of<'_>,
    certificates: &Certificates,
) -> Result<Filled, StoreError> {
    let policies = Path::new(FIREFOX_POLICIES);
    let installed = FIREFOX_PROGRAMS.iter().any(|name| place.program(name).is_some())
        || FIREFOX_HOMES.iter().any(|home| place.at(home).is_dir());
    if !installed && !place.at(policies).exists() {
        return Ok(Filled::Absent("Firefox is not installed".to_owned()));
    }
    let mut lines = Vec::new();
    let mut files = Vec::new();
    for (suffix, pem) in certificates.roots() {
        let file = format!("{FIREFOX_ROOTS}{suffix}.pem");
        lines.push(journal.write(place, Path::new(&file), pem.as_bytes())?);
        files.push(file);
    }
    if !place.at(policies).exists() {
        // What an installation brings along would not be read any more, so it is taken over.
        let brought = FIREFOX_HOMES
            .iter()
            .map(|home| place.at(Path::new(home).join("distribution/policies.json")))
            .find(|path| path.is_file());
        let base = match &brought {
            Some(path) => read(path)?,
            None => b"{}\n".to_vec(),
        };
        lines.push(journal.write(place, policies, &base)?);
        if let Some(path) = brought {
            lines.push(format!("took over what {} says", place.name_of(&path).display()));
        }
    }
    let part = Part::FirefoxInstalls(files.clone());
    lines.push(journal.edit(place, policies, part, |path, text| {
        let merged = files
            .iter()
            .try_fold(text, |text, file| firefox::with(&text, file))
            .map_err(|fault| StoreError::Unusable { path: path.into(), fault: fault.to_string() })?;
        replace(path, &merged, Some(path)).map_err(|error| StoreError::io(path, error))
    })?);
    lines.push("takes effect when Firefox is started again".to_owned());
    Ok(Filled::Done(lines))
}

/// Firefox copies what a policy installs into each profile, and leaves it there. Takes it out of them, and says where
/// that could not be done.
pub(super) fn left_in_profiles(place: &Place) -> Vec<String> {
    if !place.is_this_system() {
        return vec!["profiles of Firefox below this root were not looked into".to_owned()];
    }
    let mut lines = Vec::new();
    for profile in profiles() {
        match clear(&profile) {
            Ok(0) => {}
            Ok(_) => lines.push(format!("took the authority out of {}", profile.display())),
            Err(why) => lines.push(format!(
                "{} was not looked into ({why}); `certutil -L -d sql:{0}` shows whether the authority is left in it",
                profile.display()
            )),
        }
    }
    lines
}

/// Directories with a certificate database.
fn profiles() -> Vec<PathBuf> {
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let mut homes: Vec<&str> = users.lines().filter_map(|line| line.split(':').nth(5)).collect();
    homes.sort_unstable();
    homes.dedup();
    homes
        .iter()
        .flat_map(|home| FIREFOX_PROFILES.map(|below| Path::new(home).join(below)))
        .filter_map(|directory| fs::read_dir(directory).ok())
        .flat_map(|entries| entries.flatten().map(|entry| entry.path()))
        .filter(|profile| profile.join("cert9.db").is_file())
        .take(PROFILES)
        .collect()
}

/// Removes our roots from one profile, as its owner: the directory is in that user's hands.
fn clear(profile: &Path) -> Result<usize, String> {
    let owner = fs::symlink_metadata(profile).map_err(|error| error.to_string())?;
    let certutil = |arguments: &[&str]| -> Result<String, String> {
        let mut command = Command::new("certutil");
        command.arg("-d").arg(format!("sql:{}", profile.display())).args(arguments);
        command.stdin(Stdio::null()).uid(owner.uid()).gid(owner.gid()).env_clear();
        command.env("PATH", "/usr/bin:/bin");
        let output = command.output().map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => "certutil is not installed".to_owned(),
            _ => error.to_string(),
        })?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let listed = certutil(&["-L"])?;
    // `Portcullis root host 0123abcd - Portcullis        CT,CT,`: the nickname ends where its column does.
    let ours = listed.lines().filter(|line| line.starts_with(NICKNAME)).filter_map(|line| {
        let (nickname, _flags) = line.trim_end().rsplit_once(' ')?;
        Some(nickname.trim_end().to_owned())
    });
    let mut removed = 0;
    for nickname in ours.collect::<Vec<_>>() {
        certutil(&["-D", "-n", &nickname])?;
        removed += 1;
    }
    Ok(removed)
}

pub(super) fn fill_chromium(
    place: &Place,
    journal: &mut Of<'_>,
    certificates: &Certificates,
) -> Result<Filled, StoreError> {
    let roots: Vec<String> = certificates.roots().iter().map(|(_, pem)| base64(pem)).collect();
    let mut lines = Vec::new();
    for relative in &RELATIVES {
        let managed = Path::new(relative.directory).join(MANAGED);
        let there = relative.programs.iter().any(|name| place.program(name).is_some());
        if !there && !place.at(&managed).is_dir() {
            continue;
        }
        if let Some(rival) = rival(&place.at(&managed)) {
            return Err(StoreError::Unusable {
                path: rival,
                fault: format!(
                    "sets {CHROMIUM_POLICY} as well, of which {} takes only one: add the authority to it \
                     (`portcullis ca export`), or remove it from there",
                    relative.name
                ),
            });
        }
        let policy = serde_json::json!({ CHROMIUM_POLICY: roots });
        lines.push(journal.write(place, &managed.join(MANAGED_FILE), format!("{policy:#}\n").as_bytes())?);
    }
    if lines.is_empty() {
        return Ok(Filled::Absent("no Chromium, Chrome, Edge or Brave is installed".to_owned()));
    }
    lines.push("takes effect when the browser is started again".to_owned());
    Ok(Filled::Done(lines))
}

/// Another file that sets the same policy.
fn rival(managed: &Path) -> Option<PathBuf> {
    fs::read_dir(managed).ok()?.flatten().map(|entry| entry.path()).find(|path| {
        path.extension().is_some_and(|extension| extension == "json")
            && path.metadata().is_ok_and(|about| about.len() <= FOREIGN_MAX)
            && fs::read(path)
                .ok()
                .and_then(|text| serde_json::from_slice::<serde_json::Value>(&text).ok())
                .is_some_and(|policies| policies.get(CHROMIUM_POLICY).is_some())
    })
}

/// The body of a PEM file is the base64 that the policy takes.
fn base64(pem: &str) -> String {
    pem.lines().filter(|line| !line.starts_with("-----")).map(str::trim).collect()
}
