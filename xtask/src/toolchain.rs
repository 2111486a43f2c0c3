//! The toolchain of the kernel object: which compiler, which linker, with which settings. Finds, never installs.
//!
//! Two ways lead to an object for the `bpfel-unknown-none` target. A nightly of rustup builds `core` itself (rust-src).
//! Debian packages a compiler with `core` prebuilt for the target, in step with a packaged LLVM. Either way
//! `bpf-linker` must have been built against an LLVM at least as new as the compiler's.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::command;
use crate::workspace::{find_program, own_cargo, plain, target_dir};

/// Overrides the search: path of a rustc that has `core` for the target, or rust-src beside it.
pub(crate) const RUSTC_VARIABLE: &str = "AGENT_EBPF_RUSTC";
pub(crate) const BPF_TARGET: &str = "bpfel-unknown-none";
/// Version of bpf-linker that is installed when none is there.
pub(crate) const BPF_LINKER_VERSION: &str = "0.13.0";
/// LLVM that Debian's compiler was built with.
pub(crate) const LLVM_PREFIX: &str = "/usr/lib/llvm-22";
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";

/// A compiler and a linker that fit together.
pub(crate) struct Toolchain {
    /// For progress lines.
    pub(crate) name: &'static str,
    cargo: PathBuf,
    rustc: PathBuf,
    build_std: bool,
    linker: PathBuf,
}

impl Toolchain {
    /// The one that the user names, else a rustup nightly, else Debian's. `None` when none is complete.
    pub(crate) fn find() -> Result<Option<Self>> {
        if let Some(rustc) = std::env::var_os(RUSTC_VARIABLE) {
            return Self::named(PathBuf::from(rustc)).map(Some);
        }
        Ok(Self::nightly().or_else(Self::debian))
    }

    fn named(rustc: PathBuf) -> Result<Self> {
        let sysroot = sysroot(plain(&rustc)).with_context(|| {
            format!("{RUSTC_VARIABLE} names {}, which does not answer --print sysroot", rustc.display())
        })?;
        let build_std = !has_core(&sysroot);
        anyhow::ensure!(
            !build_std || has_source(&sysroot),
            "{RUSTC_VARIABLE} names {}, which has neither core for {BPF_TARGET} nor rust-src",
            rustc.display()
        );
        let linker = linker().with_context(|| {
            format!("{RUSTC_VARIABLE} is set, but there is no bpf-linker in PATH: install one that was built against the LLVM of that compiler")
        })?;
        Ok(Self {
            name: "the compiler that AGENT_EBPF_RUSTC names",
            cargo: own_cargo(),
            rustc,
            build_std,
            linker,
        })
    }

    fn nightly() -> Option<Self> {
        let rustup = find_program("rustup")?;
        let which = |tool: &str| -> Option<PathBuf> {
            let path = command::read(plain(&rustup).args(["which", "--toolchain", "nightly", tool])).ok()?;
            Some(PathBuf::from(path.trim()))
        };
        let rustc = which("rustc")?;
        if !has_source(&sysroot(plain(&rustc))?) {
            return None;
        }
        // Only a linker of the user's own: ours is built against Debian's LLVM, which may be older than the nightly's.
        let linker = find_program("bpf-linker")?;
        Some(Self { name: "rustup's nightly", cargo: which("cargo")?, rustc, build_std: true, linker })
    }

    fn debian() -> Option<Self> {
        let rustc = PathBuf::from(DEBIAN_RUSTC);
        if !rustc.exists() || !Path::new(LLVM_PREFIX).join("bin/llvm-config").exists() {
            return None;
        }
        if !has_core(&sysroot(plain(&rustc))?) {
            return None;
        }
        Some(Self {
            name: "Debian's rustc",
            cargo: own_cargo(),
            rustc,
            build_std: false,
            linker: own_linker().ok()?,
        })
    }

    /// A cargo command (`build`, …) that compiles for the kernel. `extra` are further compiler flags.
    pub(crate) fn cargo(&self, verb: &str, extra: &str) -> Result<Command> {
        self.command(&self.cargo, verb, extra)
    }

    /// Clippy of the same release as the compiler, if there is one beside it.
    pub(crate) fn clippy(&self, extra: &str) -> Option<Result<Command>> {
        let program = self.rustc.parent()?.join("cargo-clippy");
        program.exists().then(|| self.command(&program, "clippy", extra))
    }

    fn command(&self, program: &Path, verb: &str, extra: &str) -> Result<Command> {
        let mut command = plain(program);
        command
            .arg(verb)
            .args(["--release", "--target", BPF_TARGET])
            .current_dir(crate::workspace::root().join("agent-ebpf"))
            .env("CARGO", &self.cargo)
            .env("RUSTC", &self.rustc)
            .env("PATH", self.path()?)
            // Only aya-ebpf uses an unstable feature; our crates stay on stable Rust. Building `core` takes them all.
            .env("RUSTC_BOOTSTRAP", if self.build_std { "1" } else { "aya_ebpf" })
            .env(
                "RUSTFLAGS",
                format!(
                    "--cfg bpf_target_arch=\"{}\" -Cdebuginfo=2 -Clink-arg=--btf {extra}",
                    std::env::consts::ARCH
                ),
            );
        if self.build_std {
            command.args(["-Z", "build-std=core"]);
        }
        Ok(command)
    }

    /// PATH with the linker and its LLVM first.
    fn path(&self) -> Result<OsString> {
        let mut directories: Vec<PathBuf> = self.linker.parent().map(PathBuf::from).into_iter().collect();
        directories.push(Path::new(LLVM_PREFIX).join("bin"));
        directories.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
        Ok(std::env::join_paths(directories)?)
    }
}

/// Directory that our own bpf-linker is installed under.
pub(crate) fn tools_dir() -> Result<PathBuf> {
    Ok(target_dir()?.join("tools"))
}

/// The bpf-linker that setup installs, when it is there and starts.
pub(crate) fn own_linker() -> Result<PathBuf> {
    let path = tools_dir()?.join("bin/bpf-linker");
    let version = command::read(plain(&path).arg("--version"))?;
    anyhow::ensure!(version.trim().ends_with(BPF_LINKER_VERSION), "{} is {version}", path.display());
    Ok(path)
}

fn linker() -> Option<PathBuf> {
    find_program("bpf-linker").or_else(|| own_linker().ok())
}

fn sysroot(mut rustc: Command) -> Option<PathBuf> {
    let path = command::read(rustc.args(["--print", "sysroot"])).ok()?;
    Some(PathBuf::from(path.trim()))
}

fn has_core(sysroot: &Path) -> bool {
    sysroot.join("lib/rustlib").join(BPF_TARGET).join("lib").is_dir()
}

fn has_source(sysroot: &Path) -> bool {
    sysroot.join("lib/rustlib/src/rust/library/core/Cargo.toml").is_file()
}
