//! Programs that read their anchors from the environment: variables for login shells and for user sessions of systemd.

use std::path::Path;

use super::change::Of;
use super::{Filled, Place, StoreError, system};
use crate::tls::Certificates;

/// A copy of the root that every user can read; `ca.pem` of the state directory is root's.
pub(super) const SHARED_ROOT: &str = "/etc/portcullis/ca.pem";
/// Read by login shells (sh, bash, zsh, dash).
const PROFILE: &str = "/etc/profile.d";
/// Read by systemd for user sessions, graphical ones among them (environment.d(5)).
const SESSION: &str = "/etc/environment.d";

pub(super) fn fill_node(
    place: &Place,
    journal: &mut Of<'_>,
    certificates: &Certificates,
) -> Result<Filled, StoreError> {
    let roots: String = certificates.roots().iter().map(|(_, pem)| *pem).collect();
    let mut lines = vec![journal.write(place, Path::new(SHARED_ROOT), roots.as_bytes())?];
    lines.extend(variables(place, journal, "node", &[("NODE_EXTRA_CA_CERTS", SHARED_ROOT)])?);
    Ok(Filled::Done(lines))
}

/// Python's own `ssl` asks OpenSSL, which has the system's store or, in other builds than the distribution's, one of its
/// own; `requests` and what is built on it carries one in the package certifi. Both variables replace, so they name
/// everything the system trusts.
pub(super) fn fill_python(place: &Place, journal: &mut Of<'_>) -> Result<Filled, StoreError> {
    let Some(layout) = system::layout(place).filter(|layout| place.at(layout.bundle).is_file()) else {
        return Ok(Filled::Absent("there is no system's store that the variables could name".to_owned()));
    };
    let variables = variables(
        place,
        journal,
        "python",
        &[("SSL_CERT_FILE", layout.bundle), ("REQUESTS_CA_BUNDLE", layout.bundle)],
    )?;
    Ok(Filled::Done(variables))
}

fn variables(
    place: &Place,
    journal: &mut Of<'_>,
    name: &str,
    variables: &[(&str, &str)],
) -> Result<Vec<String>, StoreError> {
    let profile = profile(name);
    let session = format!("{SESSION}/60-portcullis-{name}.conf");
    Ok(vec![
        journal.write(place, Path::new(&profile), profile_text(variables).as_bytes())?,
        journal.write(place, Path::new(&session), session_text(variables).as_bytes())?,
        "takes effect in sessions that begin from now on".to_owned(),
    ])
}

/// What sessions that begin from now on have beyond this one, as the files for login shells say.
pub(super) fn of_new_sessions(place: &Place) -> Vec<(String, String)> {
    ["node", "python"]
        .iter()
        .filter_map(|name| std::fs::read_to_string(place.at(profile(name))).ok())
        .flat_map(|text| text.lines().filter_map(exported).collect::<Vec<_>>())
        .collect()
}

/// `export NAME="${NAME:-VALUE}"`, as [`profile_text`] writes it.
fn exported(line: &str) -> Option<(String, String)> {
    let (name, rest) = line.strip_prefix("export ")?.split_once('=')?;
    let value = rest.split_once(":-")?.1.strip_suffix("}\"")?;
    Some((name.to_owned(), value.to_owned()))
}

fn profile(name: &str) -> String {
    format!("{PROFILE}/portcullis-{name}.sh")
}

const HEADER: &str =
    "# Written by `portcullis ca trust`; `portcullis ca untrust` removes it. What is set already stays.\n";

/// For sh: a value that somebody set before stays.
fn profile_text(variables: &[(&str, &str)]) -> String {
    let mut text = HEADER.to_owned();
    for (name, value) in variables {
        text += &format!("export {name}=\"${{{name}:-{value}}}\"\n");
    }
    text
}

/// For environment.d(5), which knows the same expansion but neither `export` nor quotes that matter here.
fn session_text(variables: &[(&str, &str)]) -> String {
    let mut text = HEADER.to_owned();
    for (name, value) in variables {
        text += &format!("{name}=${{{name}:-{value}}}\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_already_stays() {
        let text = profile_text(&[("NODE_EXTRA_CA_CERTS", SHARED_ROOT)]);
        for (before, after) in [("", SHARED_ROOT), ("NODE_EXTRA_CA_CERTS=/mine; ", "/mine")] {
            let script =
                format!("unset NODE_EXTRA_CA_CERTS; {before}{text}printf %s \"$NODE_EXTRA_CA_CERTS\"");
            let output = std::process::Command::new("/bin/sh").args(["-euc", &script]).output().unwrap();
            assert_eq!(String::from_utf8_lossy(&output.stdout), after, "{output:?}");
        }
        assert!(session_text(&[("A", "/b")]).ends_with("\nA=${A:-/b}\n"));
    }
}
