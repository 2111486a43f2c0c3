//! The package for Red Hat, SUSE and their relatives.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};

use super::{DESCRIPTION, Package, SUMMARY, files};
use crate::apt;
use crate::command::{read, run};
use crate::workspace::plain;

/// Directories that the package owns: its own, and those of shells that a system without them does not have.
const DIRECTORIES: [&str; 11] = [
    "/etc/portcullis",
    "/etc/portcullis/policies.d",
    "/etc/portcullis/apps.d",
    "/usr/share/portcullis",
    "/usr/share/portcullis/schemas",
    "/usr/share/portcullis/grafana",
    "/usr/share/portcullis/prometheus",
    "/usr/share/zsh",
    "/usr/share/zsh/site-functions",
    "/usr/share/fish",
    "/usr/share/fish/vendor_completions.d",
];

/// Builds `portcullis-VERSION-RELEASE.ARCH.rpm` with rpmbuild, and fails when a file of the tree is not in it.
pub(super) fn build(package: &Package, release: u32) -> Result<PathBuf> {
    apt::ensure(&["rpm", "binutils"], "make an .rpm", "Remedy: install rpmbuild by hand.")?;
    let tree = package.tree("rpm")?;
    // Debian's zsh alone looks into vendor-completions.
    let shells = tree.join("usr/share/zsh");
    fs::rename(shells.join("vendor-completions"), shells.join("site-functions"))?;
    let wanted = files(&tree)?;
    let list = package.directory.join("rpm-files");
    let lines: String = wanted
        .iter()
        .map(|file| {
            let kind = if file.starts_with("etc") { "%config(noreplace) " } else { "" };
            // rpm compresses manual pages and then calls them by another name.
            let end = if file.starts_with("usr/share/man") { "*" } else { "" };
            format!("{kind}/{}{end}\n", file.display())
        })
        .collect();
    let directories: String = DIRECTORIES.iter().map(|directory| format!("%dir {directory}\n")).collect();
    fs::write(&list, lines + &directories)?;
    let top = package.directory.join("rpmbuild");
    let define = |name: &str, value: &str| ["--define".to_owned(), format!("{name} {value}")];
    run(plain("rpmbuild")
        .arg("-bb")
        .args(define("_topdir", &top.display().to_string()))
        .args(define("pc_version", &package.version))
        .args(define("pc_release", &release.to_string()))
        .args(define("pc_summary", SUMMARY))
        .args(define("pc_description", &DESCRIPTION.replace('\n', " ")))
        .args(define("pc_tree", &tree.display().to_string()))
        .args(define("pc_files", &list.display().to_string()))
        // The program is stripped already, and nothing in the tree is to be rewritten.
        .args(define("__os_install_post", "%{nil}"))
        .args(define("debug_package", "%{nil}"))
        .arg(package.packaging("rpm/portcullis.spec")))?;
    let architecture = read(plain("rpm").args(["--eval", "%{_arch}"]))?.trim().to_owned();
    let built = top
        .join("RPMS")
        .join(&architecture)
        .join(format!("portcullis-{}-{release}.{architecture}.rpm", package.version));
    let to = package.directory.join(built.file_name().context("no name")?);
    fs::rename(&built, &to).with_context(|| format!("rpmbuild left no {}", built.display()))?;
    let listed = read(plain("rpm").args(["--query", "--list", "--package"]).arg(&to))?;
    for file in wanted {
        let path = format!("/{}", file.display());
        anyhow::ensure!(listed.lines().any(|line| line == path), "{path} is not in {}", to.display());
    }
    Ok(to)
}
