//! The process behind a connection, from /proc: read at once, because short-lived programs are gone in milliseconds.

mod holder;
mod place;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use agent_common::abi::Flow;

use crate::session::{ClientKind, Process};

pub use holder::{holders, own_sockets};
pub use place::Place;

/// Where only an administrator puts programs. A file name alone proves nothing: anyone can copy a program under another.
const INSTALLED: [&str; 8] = [
    "/usr/",
    "/opt/",
    "/snap/",
    "/app/",
    "/var/lib/flatpak/",
    "/var/lib/snapd/",
    "/nix/store/",
    "/gnu/store/",
];

/// Executables that are browsers, by file name. Wrappers of Flatpak and Snap run the same names inside.
const BROWSERS: [&str; 26] = [
    "brave",
    "brave-browser",
    "chrome",
    "chromium",
    "chromium-browser",
    "epiphany",
    "epiphany-browser",
    "falkon",
    "firefox",
    "firefox-bin",
    "firefox-esr",
    "google-chrome",
    "headless_shell",
    "konqueror",
    "librewolf",
    "microsoft-edge",
    "midori",
    "msedge",
    "opera",
    "palemoon",
    "QtWebEngineProcess",
    "qutebrowser",
    "vivaldi",
    "vivaldi-bin",
    "WebKitNetworkProcess",
    "zen",
];

/// Everything known about the process that connected. What the process took with it when it ended is absent.
pub fn process_of(flow: &Flow) -> Process {
    let comm = flow.comm.split(|byte| *byte == 0).next().unwrap_or_default();
    let mut process = process(flow.pid);
    process.name = process.name.or_else(|| Some(String::from_utf8_lossy(comm).into()));
    process
}

/// Everything /proc says about a process; nothing but its id when it has ended.
pub fn process(pid: u32) -> Process {
    let directory = Path::new("/proc").join(pid.to_string());
    let exe = fs::read_link(directory.join("exe")).ok().map(|path| {
        let path = path.to_string_lossy();
        // The kernel adds this to the name of a replaced file, as after an upgrade of a running program.
        Arc::from(path.strip_suffix(" (deleted)").unwrap_or(&path))
    });
    let name = fs::read_to_string(directory.join("comm")).ok().map(|name| name.trim_end().into());
    let cgroup = fs::read_to_string(directory.join("cgroup"))
        .ok()
        .and_then(|text| text.lines().find_map(|line| line.strip_prefix("0::").map(Arc::from)));
    let place = cgroup.as_deref().map(Place::of).unwrap_or_default();
    Process { pid: Some(pid), exe, name, cgroup, unit: place.unit, container: place.container }
}

/// Browser or native by the executable. One that is not known is native: a process that is gone reads no response, so
/// whoever holds its connection now took it over, and what it claims to be counts for nothing.
pub fn kind_of(process: &Process) -> ClientKind {
    let exe = process.exe.as_deref().unwrap_or_default();
    let name = exe.rsplit('/').next().unwrap_or(exe);
    let installed = INSTALLED.iter().any(|directory| exe.starts_with(directory));
    if installed && BROWSERS.contains(&name) { ClientKind::Browser } else { ClientKind::Native }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_found_with_its_executable() {
        let flow = Flow { pid: std::process::id(), comm: *b"thread-name\0\0\0\0\0", ..Flow::default() };
        let process = process_of(&flow);
        let own = std::env::current_exe().unwrap();
        assert_eq!(process.exe.as_deref(), own.to_str());
        assert_eq!(kind_of(&process), ClientKind::Native);
    }

    #[test]
    fn a_process_that_ended_keeps_what_the_kernel_noted() {
        let flow = Flow { pid: u32::MAX, comm: *b"curl\0\0\0\0\0\0\0\0\0\0\0\0", ..Flow::default() };
        let process = process_of(&flow);
        assert_eq!((process.exe.as_deref(), process.name.as_deref()), (None, Some("curl")));
        assert_eq!(kind_of(&process), ClientKind::Native);
    }

    #[test]
    fn browsers_are_known_by_their_executable_where_only_an_administrator_can_put_it() {
        let of = |exe: &str| kind_of(&Process { exe: Some(exe.into()), ..Process::default() });
        assert_eq!(of("/usr/lib/chromium/chromium"), ClientKind::Browser);
        assert_eq!(of("/usr/lib/firefox-esr/firefox-esr"), ClientKind::Browser);
        assert_eq!(of("/app/lib/firefox/firefox"), ClientKind::Browser);
        assert_eq!(of("/usr/bin/curl"), ClientKind::Native);
        for copy in ["/tmp/firefox", "/home/mallory/chrome", "/home/mallory/usr/bin/chrome", "chrome"] {
            assert_eq!(of(copy), ClientKind::Native, "{copy}");
        }
    }
}
