//! Java runtimes: those that follow the system's store, and keystores of their own that keytool edits.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use super::change::{Of, Part};
use super::{Filled, Place, StoreError, system};
use crate::tls::Certificates;

/// Where packages and administrators put runtimes, one below another.
const HOMES: [&str; 3] = ["/usr/lib/jvm", "/usr/java", "/opt"];
/// The store of a runtime since 9, and before.
const KEYSTORES: [&str; 2] = ["lib/security/cacerts", "jre/lib/security/cacerts"];
/// Stores that the system's own tools write.
const SYSTEMS: [&str; 3] = ["/etc/ssl/certs/java", "/etc/pki", "/var/lib/ca-certificates"];
/// The password that every distribution of Java gives its store of public authorities: it protects nothing.
const PASSWORD: &str = "changeit";
const ALIAS: &str = "portcullis";
/// Runtimes that are looked at.
const RUNTIMES: usize = 64;
/// Octets of a keystore that are looked at: the distributions' have a sixth of a mebibyte.
const KEYSTORE: u64 = 16 << 20;
/// How a keystore begins that has its certificates in it as they are (`JKS`).
pub(super) const JKS: [u8; 4] = [0xfe, 0xed, 0xfe, 0xed];
/// By this variable dpkg tells a script of a package what it is; triggers then run after it.
const WITHIN_DPKG: &str = "DPKG_MAINTSCRIPT_PACKAGE";

pub(super) fn fill(
    place: &Place,
    journal: &mut Of<'_>,
    certificates: &Certificates,
) -> Result<Filled, StoreError> {
    let (mut lines, mut following) = (Vec::new(), BTreeSet::new());
    let mut seen = BTreeSet::new();
    for home in homes(place) {
        for keystore in KEYSTORES.map(|below| home.join(below)) {
            let Some(real) = resolved(place, &keystore) else { continue };
            if SYSTEMS.iter().any(|directory| real.starts_with(directory)) {
                following.insert(real);
            } else if seen.insert(real.clone()) {
                lines.push(import(place, journal, certificates, &home, &real)?);
            }
        }
    }
    if let Some(layout) = system::layout(place).filter(|_| !following.is_empty()) {
        lines.push("runtimes of the distribution follow the system's store".to_owned());
        // Debian's tool reports success whatever became of the programs that it told of the change.
        let looks = layout.name == "Debian" && place.at(layout.anchor("")).exists();
        let lacks = |keystore: &Path| certificates.roots().iter().any(|(_, pem)| lacks(keystore, pem));
        let behind = following.iter().find(|keystore| looks && lacks(&place.at(keystore)));
        match behind {
            Some(keystore) if std::env::var_os(WITHIN_DPKG).is_none() => {
                return Err(StoreError::Unusable { path: place.at(keystore), fault: BEHIND.to_owned() });
            }
            Some(_) => lines.push("their keystore is written when dpkg has ended".to_owned()),
            None => {}
        }
    }
    if lines.is_empty() {
        return Ok(Filled::Absent(format!("no Java runtime below {}", HOMES.join(", "))));
    }
    Ok(Filled::Done(lines))
}

const BEHIND: &str = "the root is in the system's store but not in this one, which follows it: its hook failed. \
    Was dpkg at work? When it has ended run `dpkg --triggers-only --pending`, then `portcullis ca trust --store java`";

/// Whether a keystore certainly has not this certificate; of those in other formats than `JKS` nobody can say.
fn lacks(keystore: &Path, pem: &str) -> bool {
    let Ok(certificate) = CertificateDer::from_pem_slice(pem.as_bytes()) else { return false };
    let mut octets = Vec::new();
    let read = fs::File::open(keystore).and_then(|file| file.take(KEYSTORE).read_to_end(&mut octets));
    read.is_ok() && octets.starts_with(&JKS) && memchr::memmem::find(&octets, &certificate).is_none()
}

fn homes(place: &Place) -> Vec<PathBuf> {
    let mut homes: Vec<PathBuf> = HOMES
        .iter()
        .filter_map(|directory| fs::read_dir(place.at(directory)).ok())
        .flat_map(|entries| entries.flatten().take(RUNTIMES))
        .map(|entry| place.name_of(&entry.path()))
        .collect();
    homes.sort();
    homes
}

/// Where a path of that system leads to in it; `None` where nothing is.
fn resolved(place: &Place, path: &Path) -> Option<PathBuf> {
    /// As the kernel has it for one path.
    const LINKS: usize = 40;
    let mut path = path.to_owned();
    for _ in 0..LINKS {
        // One link at a time, because a link's target is a path of that system, not of this one.
        let link = path.ancestors().find(|step| place.at(step).is_symlink()).map(Path::to_owned);
        let Some(link) = link else { return place.at(&path).is_file().then_some(path) };
        let target = fs::read_link(place.at(&link)).ok()?;
        let rest = path.strip_prefix(&link).ok()?.to_owned();
        let target = link.parent()?.join(target);
        path = if rest.as_os_str().is_empty() { target } else { target.join(rest) };
        // `..` as written: none of the layouts has links on the way there.
        path = plain(&path);
    }
    None
}

fn plain(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::ParentDir => drop(out.pop()),
            std::path::Component::CurDir => {}
            part => out.push(part),
        }
    }
    out
}

fn import(
    place: &Place,
    journal: &mut Of<'_>,
    certificates: &Certificates,
    home: &Path,
    keystore: &Path,
) -> Result<String, StoreError> {
    let own = ["bin/keytool", "jre/bin/keytool"].map(|below| home.join(below));
    let keytool = own
        .iter()
        .find(|path| place.at(path).is_file())
        .map(|path| path.display().to_string())
        .or_else(|| place.program("keytool"))
        .ok_or_else(|| StoreError::Unusable {
            path: place.at(keystore),
            fault: "there is no keytool to change it with".to_owned(),
        })?;
    let roots = certificates.roots();
    let alias = |suffix: &str| format!("{ALIAS}{suffix}");
    let aliases = roots.iter().map(|(suffix, _)| alias(suffix)).collect();
    let part = Part::KeystoreAliases { keytool: keytool.clone(), aliases };
    journal.edit(place, keystore, part, |_, _| {
        let keystore = keystore.display().to_string();
        roots.iter().try_for_each(|(suffix, pem)| {
            let alias = alias(suffix);
            let begin = ["-importcert", "-noprompt", "-trustcacerts", "-alias", &alias];
            // Without -file it reads the certificate from its input.
            place.run(
                &keytool,
                &[&begin[..], &["-keystore", &keystore, "-storepass", PASSWORD]].concat(),
                pem,
            )
        })
    })
}

/// Takes our entry out of a keystore that others have changed since.
pub(super) fn remove(place: &Place, keytool: &str, keystore: &Path, alias: &str) -> Result<(), StoreError> {
    let keystore = keystore.display().to_string();
    let shared = ["-alias", alias, "-keystore", &keystore, "-storepass", PASSWORD];
    let run = |verb: &str| place.run(keytool, &[&[verb], &shared[..]].concat(), "");
    // Whoever changed the store may have taken the entry out.
    if run("-list").is_err() {
        return Ok(());
    }
    run("-delete")
}
