//! Browser or native, by the executable of the process that connected.
//!
//! A name alone proves nothing, because anyone can copy a program under another. Where only an administrator puts programs
//! it counts; elsewhere (a home directory) the files that every browser of its family has must lie beside it. That is no
//! wall: whoever may install programs can rename a browser, or make a directory look like one. Policies that must hold
//! against that leave `client_apps` out.

use crate::session::{ClientKind, Process};

/// Where only an administrator puts programs. `/app` is inside of Flatpak's sandboxes, whoever installed them.
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

/// On what a browser is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Chromium,
    Gecko,
    /// WebKit, Qt, and others whose files lie in libraries of the system.
    Other,
}

impl Family {
    /// Files that lie beside the executable.
    const fn files(self) -> &'static [&'static str] {
        match self {
            Self::Chromium => &["icudtl.dat", "resources.pak"],
            Self::Gecko => &["libxul.so", "omni.ja"],
            Self::Other => &[],
        }
    }
}

/// Executables that are browsers, by file name. Wrappers of Flatpak and Snap run the same names inside.
const BROWSERS: &[(&str, Family)] = {
    use Family::{Chromium, Gecko, Other};
    &[
        ("QtWebEngineProcess", Other),
        ("RequestServer", Other),
        ("WebKitNetworkProcess", Other),
        ("basilisk", Gecko),
        ("brave", Chromium),
        ("brave-browser", Chromium),
        ("chrome", Chromium),
        ("chromium", Chromium),
        ("chromium-browser", Chromium),
        ("epiphany", Other),
        ("epiphany-browser", Other),
        ("falkon", Other),
        ("firefox", Gecko),
        ("firefox-beta", Gecko),
        ("firefox-bin", Gecko),
        ("firefox-devedition", Gecko),
        ("firefox-developer-edition", Gecko),
        ("firefox-esr", Gecko),
        ("firefox-nightly", Gecko),
        ("firefox.real", Gecko),
        ("floorp", Gecko),
        ("google-chrome", Chromium),
        ("headless_shell", Chromium),
        ("icecat", Gecko),
        ("iridium", Chromium),
        ("iridium-browser", Chromium),
        ("konqueror", Other),
        ("librewolf", Gecko),
        ("librewolf-bin", Gecko),
        ("microsoft-edge", Chromium),
        ("midori", Other),
        ("msedge", Chromium),
        ("mullvadbrowser", Gecko),
        ("mullvadbrowser.real", Gecko),
        ("opera", Chromium),
        ("palemoon", Gecko),
        ("palemoon-bin", Gecko),
        ("qutebrowser", Other),
        ("seamonkey", Gecko),
        ("servo", Other),
        ("servoshell", Other),
        ("thorium", Chromium),
        ("thorium-browser", Chromium),
        ("vivaldi", Chromium),
        ("vivaldi-bin", Chromium),
        ("waterfox", Gecko),
        ("waterfox-bin", Gecko),
        ("yandex_browser", Chromium),
        ("zen", Gecko),
        ("zen-bin", Gecko),
    ]
};

/// Decides for a process. One that is not known is native: a process that is gone reads no response, so whoever holds
/// its connection now took it over, and what it claims to be counts for nothing. `exists` looks for a file.
pub(super) fn kind_of(process: &Process, exists: impl Fn(&str) -> bool) -> ClientKind {
    let known = process.exe.as_deref().and_then(|exe| {
        let (directory, name) = exe.rsplit_once('/')?;
        let family = BROWSERS.iter().find(|(known, _)| *known == name).map(|(_, family)| *family)?;
        let installed = INSTALLED.iter().any(|root| exe.starts_with(root));
        let files = family.files();
        let complete =
            || !files.is_empty() && files.iter().all(|file| exists(&format!("{directory}/{file}")));
        (exe.starts_with('/') && (installed || complete())).then_some(())
    });
    if known.is_some() { ClientKind::Browser } else { ClientKind::Native }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(exe: &str, files: &[&str]) -> ClientKind {
        let process = Process { exe: Some(exe.into()), ..Process::default() };
        kind_of(&process, |path| files.contains(&path))
    }

    #[test]
    fn browsers_are_known_where_only_an_administrator_can_put_them() {
        for exe in [
            "/usr/lib/chromium/chromium",
            "/usr/lib/firefox-esr/firefox-esr",
            "/usr/lib/x86_64-linux-gnu/opera/opera",
            "/usr/libexec/webkit2gtk-4.1/WebKitNetworkProcess",
            "/usr/local/firefox/firefox",
            "/opt/google/chrome/chrome",
            "/opt/microsoft/msedge/msedge",
            "/opt/brave.com/brave/brave",
            "/opt/vivaldi/vivaldi-bin",
            "/snap/firefox/4173/usr/lib/firefox/firefox",
            "/snap/chromium/2897/usr/lib/chromium-browser/chrome",
            "/app/lib/firefox/firefox",
            "/app/extra/chrome",
            "/var/lib/flatpak/app/org.chromium.Chromium/x86_64/stable/1/files/chromium/chromium",
            "/nix/store/0a-firefox-130.0/lib/firefox/firefox",
        ] {
            assert_eq!(of(exe, &[]), ClientKind::Browser, "{exe}");
        }
        for exe in
            ["/usr/bin/curl", "/usr/bin/python3.12", "/opt/slack/slack", "/usr/lib/thunderbird/thunderbird"]
        {
            assert_eq!(of(exe, &[]), ClientKind::Native, "{exe}");
        }
    }

    #[test]
    fn elsewhere_a_browser_has_the_files_of_one() {
        let gecko = ["/home/ann/firefox/libxul.so", "/home/ann/firefox/omni.ja"];
        assert_eq!(of("/home/ann/firefox/firefox", &gecko), ClientKind::Browser);
        assert_eq!(of("/home/ann/firefox/firefox", &gecko[..1]), ClientKind::Native);
        assert_eq!(of("/home/ann/firefox/curl", &gecko), ClientKind::Native);
        let cache = "/home/ann/.cache/ms-playwright/chromium-1140/chrome-linux";
        let chromium = [format!("{cache}/icudtl.dat"), format!("{cache}/resources.pak")];
        let files: Vec<&str> = chromium.iter().map(String::as_str).collect();
        assert_eq!(of(&format!("{cache}/chrome"), &files), ClientKind::Browser);
        for copy in [
            "/tmp/firefox",
            "/home/mallory/chrome",
            "/home/mallory/usr/bin/chrome",
            "/root/konqueror",
            "chrome",
            "",
        ] {
            assert_eq!(of(copy, &[]), ClientKind::Native, "{copy}");
        }
    }

    #[test]
    fn a_process_without_an_executable_is_native() {
        assert_eq!(kind_of(&Process::default(), |_| true), ClientKind::Native);
    }

    #[test]
    fn the_list_is_in_order_and_names_nothing_twice() {
        assert!(BROWSERS.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }
}
