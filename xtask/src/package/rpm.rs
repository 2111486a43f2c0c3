//! The package for Red Hat, SUSE and their relatives.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};

use super::{DESCRIPTION, Package, SUMMARY, files};
use crate::apt;
use crate::command::{read, run};
use crate::workspace::plain;

/// Builds `portcullis-VERSION-1.ARCH.rpm` with rpmbuild, and fails when a file of the tree is not in it.
pub(super) fn build(package: &Package) -> Result<PathBuf> {
    apt::ensure(&["rpm", "binutils"], "make an .rpm", "Remedy: install rpmbuild by hand.")?;
    let tree = package.tree("rpm")?;
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
    fs::write(
        &list,
        lines
            + "%dir /etc/portcullis\n%dir /etc/portcullis/policies.d\n%dir /etc/portcullis/apps.d\n%dir /usr/share/portcullis\n\
            %dir /usr/share/portcullis/schemas\n",
    )?;
    let top = package.directory.join("rpmbuild");
    let define = |name: &str, value: &str| ["--define".to_owned(), format!("{name} {value}")];
    run(plain("rpmbuild")
        .arg("-bb")
        .args(define("_topdir", &top.display().to_string()))
        .args(define("pc_version", &package.version))
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
        .join(format!("portcullis-{}-1.{architecture}.rpm", package.version));
    let to = package.directory.join(built.file_name().context("no name")?);
    fs::rename(&built, &to).with_context(|| format!("rpmbuild left no {}", built.display()))?;
    let listed = read(plain("rpm").args(["--query", "--list", "--package"]).arg(&to))?;
    for file in wanted {
        let path = format!("/{}", file.display());
        anyhow::ensure!(listed.lines().any(|line| line == path), "{path} is not in {}", to.display());
    }
    Ok(to)
}
