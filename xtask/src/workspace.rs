//! Where things are: the workspace, its target directory, and a cargo that is not fooled by the cargo that runs us.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context as _, Result};

/// What `cargo run` and rustup leave in the environment of a child and what would bend a build of another target:
/// the toolchain choice, the compiler, its libraries, and flags. An empty `CARGO_ENCODED_RUSTFLAGS` would even switch
/// `RUSTFLAGS` off.
const INHERITED: [&str; 11] = [
    "LD_LIBRARY_PATH",
    "CARGO",
    "RUSTC",
    "RUSTC_WRAPPER",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTDOC",
    "RUSTFLAGS",
    "RUSTUP_TOOLCHAIN",
    "RUSTC_BOOTSTRAP",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_BUILD_TARGET",
];

/// Root of the workspace.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// Cargo's target directory, as cargo itself sees it (environment and configuration files included).
pub(crate) fn target_dir() -> Result<&'static Path> {
    static TARGET: OnceLock<PathBuf> = OnceLock::new();
    if let Some(found) = TARGET.get() {
        return Ok(found);
    }
    let output = host_cargo()
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .output()
        .context("cannot run cargo metadata")?;
    anyhow::ensure!(
        output.status.success(),
        "cargo metadata failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let path = metadata["target_directory"].as_str().context("cargo metadata names no target directory")?;
    Ok(TARGET.get_or_init(|| PathBuf::from(path)))
}

/// Path of the agent's binary in the release profile.
pub(crate) fn agent_binary() -> Result<PathBuf> {
    Ok(target_dir()?.join("release/portcullis"))
}

/// The cargo that runs us: the same toolchain, for everything that is built for this host.
pub(crate) fn host_cargo() -> Command {
    let mut command = Command::new(own_cargo());
    command.current_dir(root());
    command
}

/// A command free of the toolchain choices that `cargo run` left in the environment.
pub(crate) fn plain(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    for name in INHERITED {
        command.env_remove(name);
    }
    // A missing toolchain is to be found missing, not to be fetched behind the user's back.
    command.env("RUSTUP_AUTO_INSTALL", "0");
    command
}

/// Path of the cargo that runs us, of the toolchain and not rustup's proxy.
pub(crate) fn own_cargo() -> PathBuf {
    std::env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from)
}

/// Where `name` is in PATH, or in one of the system's directories that a user's PATH often lacks.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|directory| directory.join(name))
        .find(|candidate| candidate.is_file())
}

pub(crate) fn is_root() -> bool {
    lab::is_root()
}
