//! The package for Debian and its relatives.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use super::{DESCRIPTION, Package, SUMMARY, files};
use crate::apt;
use crate::command::{read, run};
use crate::workspace::plain;

const OTHERWISE: &str =
    "The .deb is made with Debian's own tools: run this on a Debian machine or in a Debian container.";
/// Who may be asked about the package.
const MAINTAINER: &str = "Portcullis authors <portcullis@packages.invalid>";
/// What lintian says that this package means: tag and why.
const INTENDED: [(&str, &str); 1] = [("initial-upload-closes-no-bugs", "this is not an upload to Debian")];

/// Builds `portcullis_VERSION_ARCH.deb`.
pub(super) fn build(package: &Package, version: &str) -> Result<PathBuf> {
    apt::ensure(&["dpkg-dev", "binutils", "gzip"], "make a .deb", OTHERWISE)?;
    let tree = package.tree("deb")?;
    let architecture = read(plain("dpkg").arg("--print-architecture"))?.trim().to_owned();
    documents(package, &tree, version)?;
    compress_manuals(&tree)?;

    let control = tree.join("DEBIAN");
    fs::create_dir(&control)?;
    let depends = libraries(package, &tree)?;
    let size: u64 = files(&tree)?
        .iter()
        .map(|file| fs::symlink_metadata(tree.join(file)).map_or(0, |about| about.len().div_ceil(1024)))
        .sum();
    let description: String = DESCRIPTION.lines().map(|line| format!(" {line}\n")).collect();
    fs::write(
        control.join("control"),
        format!(
            "Package: portcullis\nVersion: {version}\nArchitecture: {architecture}\nMaintainer: {MAINTAINER}\n\
             Installed-Size: {size}\nSection: net\nPriority: optional\n\
             Depends: {depends}, ca-certificates, passwd, systemd\n\
             Description: {SUMMARY}\n{description}"
        ),
    )?;
    let configuration: Vec<String> =
        files(&tree.join("etc"))?.iter().map(|file| format!("/etc/{}\n", file.display())).collect();
    fs::write(control.join("conffiles"), configuration.concat())?;
    for script in ["postinst", "prerm", "postrm"] {
        let to = control.join(script);
        fs::copy(package.packaging("deb").join(script), &to)?;
        fs::set_permissions(&to, fs::Permissions::from_mode(0o755))?;
    }
    let sums: String = files(&tree)?
        .iter()
        .filter(|file| !file.starts_with("DEBIAN") && !file.starts_with("etc"))
        .map(|file| read(plain("md5sum").arg(file).current_dir(&tree)))
        .collect::<Result<_>>()?;
    fs::write(control.join("md5sums"), sums)?;
    for file in ["control", "conffiles", "md5sums"] {
        fs::set_permissions(control.join(file), fs::Permissions::from_mode(0o644))?;
    }
    let deb = package.directory.join(format!("portcullis_{version}_{architecture}.deb"));
    run(plain("dpkg-deb").args(["--root-owner-group", "--build"]).arg(&tree).arg(&deb))?;
    Ok(deb)
}

/// Copyright, changelog and the complaints that are meant.
fn documents(package: &Package, tree: &Path, version: &str) -> Result<()> {
    let documents = tree.join("usr/share/doc/portcullis");
    fs::create_dir_all(&documents)?;
    fs::copy(package.packaging("deb/copyright"), documents.join("copyright"))?;
    let date = read(plain("date").args(["--utc", "--rfc-email", "--date=@0"]).env("LC_ALL", "C"))?;
    let changelog = format!(
        "portcullis ({version}) unstable; urgency=medium\n\n  * Version {}.\n\n -- {MAINTAINER}  {}\n",
        package.version,
        date.trim()
    );
    fs::write(documents.join("changelog.Debian"), changelog)?;
    run(plain("gzip").args(["-9", "--no-name"]).arg(documents.join("changelog.Debian")))?;
    let overrides = tree.join("usr/share/lintian/overrides");
    fs::create_dir_all(&overrides)?;
    let text: String = INTENDED.iter().map(|(tag, why)| format!("# {why}\nportcullis: {tag}\n")).collect();
    fs::write(overrides.join("portcullis"), text)?;
    for file in [documents.join("copyright"), overrides.join("portcullis")] {
        fs::set_permissions(file, fs::Permissions::from_mode(0o644))?;
    }
    Ok(())
}

fn compress_manuals(tree: &Path) -> Result<()> {
    let manuals = tree.join("usr/share/man");
    if !manuals.exists() {
        return Ok(());
    }
    for page in files(&manuals)? {
        run(plain("gzip").args(["-9", "--no-name"]).arg(manuals.join(page)))?;
    }
    Ok(())
}

/// The libraries that the program is linked to, as dependencies with versions.
fn libraries(package: &Package, tree: &Path) -> Result<String> {
    // dpkg-shlibdeps wants the control file of a source package around.
    let source = package.directory.join("shlibdeps");
    fs::create_dir_all(source.join("debian"))?;
    fs::write(
        source.join("debian/control"),
        "Source: portcullis\n\nPackage: portcullis\nArchitecture: any\n",
    )?;
    let text = read(
        plain("dpkg-shlibdeps").arg("-O").arg("-e").arg(tree.join("usr/bin/portcullis")).current_dir(&source),
    )?;
    let depends = text.trim().strip_prefix("shlibs:Depends=").context("dpkg-shlibdeps names no libraries")?;
    Ok(depends.to_owned())
}

/// Fails on any error or warning of lintian's that is not meant.
pub(super) fn lint(deb: &Path) -> Result<()> {
    apt::ensure(&["lintian"], "check the .deb", OTHERWISE)?;
    let output = plain("lintian")
        .args(["--fail-on", "error,warning", "--allow-root", "--no-cfg"])
        .arg(deb)
        .output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "lintian complains about {}:\n{said}", deb.display());
    print!("{said}");
    Ok(())
}
