//! The system's trust store, in the layouts of the distributions: where anchors go and what takes them up.

use std::fs;
use std::path::{Path, PathBuf};

use super::change::Of;
use super::{Filled, Place, StoreError};
use crate::tls::Certificates;

/// How a distribution keeps what its administrator trusts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) name: &'static str,
    /// Directory of the administrator's anchors; that it is there is how the layout is told.
    pub(super) anchors: &'static str,
    pub(super) file: &'static str,
    pub(super) program: &'static str,
    pub(super) arguments: &'static [&'static str],
    /// Everything the system trusts, as one PEM file.
    pub(super) bundle: &'static str,
    /// The package that the program is of.
    package: &'static str,
}

/// In the order of asking: some have `/usr/local/share/ca-certificates` beside their own.
pub(super) const LAYOUTS: [Layout; 4] = [
    Layout {
        name: "Red Hat",
        anchors: "/etc/pki/ca-trust/source/anchors",
        file: "portcullis.pem",
        program: "update-ca-trust",
        arguments: &["extract"],
        bundle: "/etc/pki/tls/certs/ca-bundle.crt",
        package: "ca-certificates",
    },
    Layout {
        name: "SUSE",
        anchors: "/etc/pki/trust/anchors",
        file: "portcullis.pem",
        program: "update-ca-certificates",
        arguments: &[],
        bundle: "/etc/ssl/ca-bundle.pem",
        package: "ca-certificates",
    },
    Layout {
        name: "Arch",
        anchors: "/etc/ca-certificates/trust-source/anchors",
        file: "portcullis.pem",
        program: "update-ca-trust",
        arguments: &[],
        bundle: "/etc/ssl/certs/ca-certificates.crt",
        package: "ca-certificates-utils",
    },
    Layout {
        name: "Debian",
        anchors: "/usr/local/share/ca-certificates",
        file: "portcullis.crt",
        program: "update-ca-certificates",
        arguments: &[],
        bundle: "/etc/ssl/certs/ca-certificates.crt",
        package: "ca-certificates",
    },
];

/// Debian's directory of links to every anchor, and of the programs that are told of each one that came or went.
const DEBIAN_LINKS: &str = "/etc/ssl/certs";
const DEBIAN_LINK: [(&str, &str); 2] = [("", "portcullis.pem"), ("-next", "portcullis-next.pem")];
const DEBIAN_HOOKS: &str = "/etc/ca-certificates/update.d";

impl Layout {
    /// `suffix` tells the anchors of several authorities apart.
    pub(super) fn anchor(&self, suffix: &str) -> PathBuf {
        let (stem, ending) = self.file.split_once('.').unwrap_or((self.file, "pem"));
        Path::new(self.anchors).join(format!("{stem}{suffix}.{ending}"))
    }
}

/// The layout of the system at `place`.
pub(super) fn layout(place: &Place) -> Option<Layout> {
    LAYOUTS.into_iter().find(|layout| place.at(layout.anchors).is_dir())
}

pub(super) fn fill(
    place: &Place,
    journal: &mut Of<'_>,
    certificates: &Certificates,
) -> Result<Filled, StoreError> {
    let Some(layout) = layout(place) else {
        return Ok(Filled::Absent(format!(
            "none of {} is there: is the package ca-certificates installed?",
            LAYOUTS.map(|layout| layout.anchors).join(", ")
        )));
    };
    // Asked first: an anchor that nothing takes up would be half a change.
    let program = program(place, layout)?;
    let mut lines = Vec::new();
    for (suffix, pem) in certificates.roots() {
        lines.push(journal.write(place, &layout.anchor(suffix), pem.as_bytes())?);
    }
    place.run(&program, layout.arguments, "")?;
    lines.push(format!("ran {program} ({} layout)", layout.name));
    Ok(Filled::Done(lines))
}

/// After the anchor was removed.
pub(super) fn refresh_after_removal(place: &Place) -> Result<(), StoreError> {
    let Some(layout) = layout(place) else { return Ok(()) };
    let program = program(place, layout)?;
    let gone = forget_links(place)?;
    place.run(&program, layout.arguments, "")?;
    if gone {
        // What the program tells its hooks of what it removed itself (Java's keystore hangs on it).
        debian_hooks(place)?;
    }
    Ok(())
}

/// Before anchors are put where others were: what points to those. Whether anything did.
pub(super) fn forget_links(place: &Place) -> Result<bool, StoreError> {
    match layout(place) {
        Some(layout) if layout.name == "Debian" => debian_links(place),
        _ => Ok(false),
    }
}

fn program(place: &Place, layout: Layout) -> Result<String, StoreError> {
    place.program(layout.program).ok_or_else(|| StoreError::Unusable {
        path: place.at(layout.anchors),
        fault: format!(
            "there is no {} to take anchors up; install the package {}",
            layout.program, layout.package
        ),
    })
}

/// update-ca-certificates leaves the links of an anchor that went, unless it makes all of them anew (`--fresh`), and
/// then it takes away what others left as well. So ours are taken here. Whether there was one.
fn debian_links(place: &Place) -> Result<bool, StoreError> {
    let directory = place.at(DEBIAN_LINKS);
    let own = DEBIAN_LINK.map(|(suffix, name)| (LAYOUTS[3].anchor(suffix), Path::new(name)));
    let mut found = false;
    let entries = fs::read_dir(&directory).map_err(|error| StoreError::io(&directory, error))?;
    for entry in entries.flatten() {
        let path = entry.path();
        let Ok(target) = fs::read_link(&path) else { continue };
        // `portcullis.pem` points to the anchor, and the links by hash to `portcullis.pem`.
        let ours = own
            .iter()
            .any(|(anchor, name)| entry.file_name() == *name && target == *anchor || target == *name);
        if ours {
            fs::remove_file(&path).map_err(|error| StoreError::io(&path, error))?;
            found = true;
        }
    }
    Ok(found)
}

fn debian_hooks(place: &Place) -> Result<(), StoreError> {
    let Ok(entries) = fs::read_dir(place.at(DEBIAN_HOOKS)) else { return Ok(()) };
    let mut names: Vec<_> = entries.flatten().map(|entry| entry.file_name()).collect();
    names.sort();
    let gone: String = DEBIAN_LINK.iter().map(|(_, link)| format!("-{DEBIAN_LINKS}/{link}\n")).collect();
    for name in names {
        // run-parts takes no other names, so neither does update-ca-certificates.
        let plain = name
            .to_str()
            .filter(|name| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_'));
        if let Some(name) = plain {
            let hook = format!("{DEBIAN_HOOKS}/{name}");
            place.run(&hook, &[], &gone)?;
        }
    }
    Ok(())
}
