//! Programs with a trust store of their own that `ca trust` does not reach, found by where they are installed.

use std::fs;

use super::Place;
use crate::doctor::OwnStore;

/// A program that is known by a directory, and what its user can do.
const KNOWN: [(&str, &str, &str); 7] = [
    (
        "/snap/chromium",
        "Chromium of Snap reads no policy of the host",
        "certutil -d sql:$HOME/snap/chromium/current/.pki/nssdb -A -t C,, -n portcullis -i ca.pem, for each user",
    ),
    (
        "/var/lib/flatpak/app/org.mozilla.firefox",
        "Firefox of Flatpak reads no policy of the host",
        "put policies.json into the extension org.mozilla.firefox.systemconfig, or install the distribution's Firefox",
    ),
    (
        "/var/lib/flatpak/app/org.chromium.Chromium",
        "Chromium of Flatpak has a trust store of its own",
        "certutil -d sql:$HOME/.var/app/org.chromium.Chromium/data/pki/nssdb -A -t C,, -n portcullis -i ca.pem, for each user",
    ),
    (
        "/var/lib/flatpak/app/com.google.Chrome",
        "Chrome of Flatpak has a trust store of its own",
        "certutil -d sql:$HOME/.var/app/com.google.Chrome/data/pki/nssdb -A -t C,, -n portcullis -i ca.pem, for each user",
    ),
    (
        "/opt/conda/ssl",
        "conda's OpenSSL has a trust store of its own",
        "portcullis ca trust --store python, and start a new session; or set SSL_CERT_FILE where it runs",
    ),
    (
        "/opt/miniconda3/ssl",
        "conda's OpenSSL has a trust store of its own",
        "portcullis ca trust --store python, and start a new session; or set SSL_CERT_FILE where it runs",
    ),
    (
        "/opt/anaconda3/ssl",
        "conda's OpenSSL has a trust store of its own",
        "portcullis ca trust --store python, and start a new session; or set SSL_CERT_FILE where it runs",
    ),
];
/// Copies of Mozilla's list that Python's `requests` and pip carry, below a directory of packages.
const CERTIFI: [&str; 2] = ["certifi/cacert.pem", "pip/_vendor/certifi/cacert.pem"];
/// Where an administrator's Python packages are. Those of distributions are patched to trust the system.
const PYTHON_LIBRARIES: &str = "/usr/local/lib";
/// Packages below them.
const PACKAGES: [&str; 2] = ["site-packages", "dist-packages"];
/// Entries of a library directory that are looked at.
const ENTRIES: usize = 4096;

/// What is found at `place`. What the environment of new sessions corrects is not told.
pub fn own_stores(place: &Place) -> Vec<OwnStore> {
    let corrected = super::environment::of_new_sessions(place);
    let corrects = |name: &str| corrected.iter().any(|(key, _)| key == name);
    let mut found: Vec<OwnStore> = KNOWN
        .iter()
        .filter(|(path, ..)| place.at(path).is_dir())
        .filter(|(path, ..)| !(path.ends_with("/ssl") && corrects("SSL_CERT_FILE")))
        .map(|(path, what, remedy)| OwnStore {
            what: format!("{what} ({path})"),
            remedy: (*remedy).to_owned(),
        })
        .collect();
    if !corrects("REQUESTS_CA_BUNDLE")
        && let Some(bundle) = certifi(place)
    {
        found.push(OwnStore {
            what: format!("Python's requests and pip trust {bundle} alone"),
            remedy: "portcullis ca trust --store python, and start a new session".to_owned(),
        });
    }
    found
}

/// The first list of certifi's that is no link to the system's.
fn certifi(place: &Place) -> Option<String> {
    let entries = fs::read_dir(place.at(PYTHON_LIBRARIES)).into_iter().flatten().flatten().take(ENTRIES);
    entries
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("python3"))
        .map(|entry| place.name_of(&entry.path()))
        .flat_map(|version| PACKAGES.map(|packages| version.join(packages)))
        .flat_map(|packages| CERTIFI.map(|below| packages.join(below)))
        .find(|path| place.at(path).symlink_metadata().is_ok_and(|about| about.is_file()))
        .map(|path| path.display().to_string())
}
