//! The screen lock: does the system's configuration lock an idle screen, in a way that users cannot undo?

use std::fs;
use std::path::Path;

use super::Verdict;

/// Where installed desktops list their sessions. Without any there is no screen to lock.
const SESSIONS: [&str; 2] = ["usr/share/xsessions", "usr/share/wayland-sessions"];
/// Files of one directory that are read, and bytes of each.
const MAX_FILES: usize = 256;
const MAX_BYTES: u64 = 256 * 1024;

const LOCK: (&str, &str) = ("org/gnome/desktop/screensaver", "lock-enabled");
const IDLE: (&str, &str) = ("org/gnome/desktop/session", "idle-delay");

pub(super) fn judge(root: &Path) -> Verdict {
    let desktops: Vec<String> = SESSIONS.iter().flat_map(|directory| names(&root.join(directory))).collect();
    if desktops.is_empty() {
        return Verdict::passed("no desktop is installed");
    }
    let has = |word: &str| desktops.iter().any(|name| name.to_ascii_lowercase().contains(word));
    let mut unlocked = Vec::new();
    let mut known = false;
    if has("gnome") || has("ubuntu") {
        known = true;
        unlocked.extend(gnome(root));
    }
    if has("plasma") || has("kde") {
        known = true;
        unlocked.extend(plasma(root));
    }
    match (known, unlocked.is_empty()) {
        (_, false) => Verdict::failed(unlocked.join("; ")),
        (true, true) => Verdict::passed("an idle screen locks itself, and users cannot change that"),
        (false, true) => {
            Verdict::unknown(format!("nothing is known about the desktop {}", desktops.join(", ")))
        }
    }
}

/// What is missing for GNOME: a value of the system's dconf databases, and a lock on it (dconf(7)).
fn gnome(root: &Path) -> Option<String> {
    let mut values = [None, None];
    let mut locked = [false, false];
    for database in directories(&root.join("etc/dconf/db")) {
        for file in files(&database) {
            for (value, key) in values.iter_mut().zip([LOCK, IDLE]) {
                if let Some(found) = ini(&file, key.0, key.1) {
                    *value = Some(found.to_owned());
                }
            }
        }
        for list in files(&database.join("locks")) {
            for (locked, (directory, key)) in locked.iter_mut().zip([LOCK, IDLE]) {
                *locked |= list.lines().any(|line| {
                    let line = line.trim();
                    line == format!("/{directory}/{key}") || line == format!("/{directory}/")
                });
            }
        }
    }
    // GNOME's own defaults lock after five minutes; only what is not changed and cannot be changed counts.
    let on = values[0].as_deref() != Some("false");
    let soon = values[1].as_deref().is_none_or(|delay| delay.trim_start_matches("uint32").trim() != "0");
    match (on && soon, locked == [true, true]) {
        (true, true) => None,
        (false, _) => Some("GNOME's screen lock is switched off in /etc/dconf/db".to_owned()),
        (true, false) => Some(format!(
            "users can switch GNOME's screen lock off: name /{}/{} and /{}/{} in /etc/dconf/db/local.d/locks",
            LOCK.0, LOCK.1, IDLE.0, IDLE.1
        )),
    }
}

/// What is missing for Plasma: an immutable `Autolock` (KDE's kiosk marks a group or key with `[$i]`).
fn plasma(root: &Path) -> Option<String> {
    let text = read(&root.join("etc/xdg/kscreenlockerrc")).unwrap_or_default();
    let group_fixed = text.lines().any(|line| line.trim() == "[Daemon][$i]");
    let group = if group_fixed { "Daemon][$i" } else { "Daemon" };
    let (fixed, free) = (ini(&text, group, "Autolock[$i]"), ini(&text, group, "Autolock"));
    match (fixed.or(free), fixed.is_some() || group_fixed) {
        (Some("false"), _) => {
            Some("Plasma's screen lock is switched off in /etc/xdg/kscreenlockerrc".to_owned())
        }
        (Some(_), true) => None,
        _ => Some(
            "users can switch Plasma's screen lock off: write `Autolock[$i]=true` below [Daemon] in \
             /etc/xdg/kscreenlockerrc"
                .to_owned(),
        ),
    }
}

/// The value of a key in a section of a key file.
fn ini<'t>(text: &'t str, section: &str, key: &str) -> Option<&'t str> {
    let mut inside = false;
    let mut found = None;
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            inside = name == section;
        } else if let Some((name, value)) = line.split_once('=')
            && inside
            && name.trim() == key
        {
            found = Some(value.trim());
        }
    }
    found
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten().take(MAX_FILES);
    let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names.iter().filter_map(|name| name.strip_suffix(".desktop").map(str::to_owned)).collect()
}

/// `*.d` directories, in their order.
fn directories(directory: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten().take(MAX_FILES);
    let mut found: Vec<_> = entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    found.sort();
    found
}

/// The texts of a directory's files, in the order of their names.
fn files(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten().take(MAX_FILES);
    let mut paths: Vec<_> = entries.map(|entry| entry.path()).filter(|path| path.is_file()).collect();
    paths.sort();
    paths.iter().filter_map(|path| read(path)).collect()
}

fn read(path: &Path) -> Option<String> {
    let small = fs::metadata(path).is_ok_and(|metadata| metadata.len() <= MAX_BYTES);
    if small { fs::read_to_string(path).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::super::Outcome;
    use super::*;

    #[track_caller]
    fn check(files: &[(&str, &str)], expected: Outcome) {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let verdict = judge(root.path());
        assert_eq!(verdict.outcome, expected, "{verdict:?}");
    }

    const GNOME: (&str, &str) = ("usr/share/wayland-sessions/gnome.desktop", "");
    const PLASMA: (&str, &str) = ("usr/share/xsessions/plasma.desktop", "");
    const LOCKS: (&str, &str) = (
        "etc/dconf/db/local.d/locks/screen",
        "/org/gnome/desktop/screensaver/lock-enabled\n/org/gnome/desktop/session/idle-delay\n",
    );

    #[test]
    fn a_lock_counts_when_users_cannot_undo_it() {
        check(&[], Outcome::Passed);
        check(&[("usr/share/xsessions/i3.desktop", "")], Outcome::Unknown);
        check(&[GNOME], Outcome::Failed);
        check(&[GNOME, LOCKS], Outcome::Passed);
        let value = |text| ("etc/dconf/db/local.d/00-screen", text);
        check(
            &[GNOME, LOCKS, value("[org/gnome/desktop/screensaver]\nlock-enabled=false\n")],
            Outcome::Failed,
        );
        check(&[GNOME, LOCKS, value("[org/gnome/desktop/session]\nidle-delay=uint32 0\n")], Outcome::Failed);
        check(
            &[GNOME, LOCKS, value("[org/gnome/desktop/session]\nidle-delay=uint32 300\n")],
            Outcome::Passed,
        );
        check(&[GNOME, value("[org/gnome/desktop/screensaver]\nlock-enabled=true\n")], Outcome::Failed);
    }

    #[test]
    fn plasma_marks_what_users_cannot_change() {
        let lock = |text| ("etc/xdg/kscreenlockerrc", text);
        check(&[PLASMA], Outcome::Failed);
        check(&[PLASMA, lock("[Daemon]\nAutolock=true\n")], Outcome::Failed);
        check(&[PLASMA, lock("[Daemon]\nAutolock[$i]=true\n")], Outcome::Passed);
        check(&[PLASMA, lock("[Daemon][$i]\nAutolock=true\n")], Outcome::Passed);
        check(&[PLASMA, lock("[Daemon][$i]\nAutolock=false\n")], Outcome::Failed);
        check(&[PLASMA, lock("[Other]\nAutolock[$i]=true\n")], Outcome::Failed);
        check(&[PLASMA, GNOME, LOCKS, lock("[Daemon]\nAutolock[$i]=true\n")], Outcome::Passed);
    }
}
