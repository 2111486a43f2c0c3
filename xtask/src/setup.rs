//! Finds or installs what the other commands take, in groups: the kernel toolchain, the lab's programs, a browser.

use anyhow::{Context as _, Result};

use crate::apt;
use crate::command::{run, say};
use crate::toolchain::{BPF_LINKER_VERSION, LLVM_PREFIX, RUSTC_VARIABLE, Toolchain, own_linker, tools_dir};
use crate::workspace::{host_cargo, own_cargo, plain};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Also what the demo and the netns tests run
    #[arg(long)]
    lab: bool,
    /// Also Chromium and Firefox, for the demo's browser lines and the tests in browsers
    #[arg(long)]
    browser: bool,
    /// Also qemu and what makes an initramfs, for vm-test
    #[arg(long)]
    vm: bool,
}

pub(crate) fn main(arguments: &Arguments) -> Result<()> {
    let toolchain = kernel_toolchain()?;
    say(format_args!("the kernel object is built with {}", toolchain.name));
    if arguments.lab {
        lab()?;
    }
    if arguments.browser {
        browser()?;
    }
    if arguments.vm {
        crate::vm::setup()?;
    }
    say("setup is complete");
    Ok(())
}

const WITHOUT_APT: &str = "Remedy: `rustup toolchain install nightly --component rust-src` and `cargo install bpf-linker` \
    (with an LLVM as new as the nightly's), so that bpf-linker is in PATH; or set AGENT_EBPF_RUSTC to a rustc that \
    has core for bpfel-unknown-none.";

/// What `agent-ebpf` is built with; installs Debian's packages and bpf-linker when there is nothing yet.
pub(crate) fn kernel_toolchain() -> Result<Toolchain> {
    if let Some(found) = Toolchain::find()? {
        return Ok(found);
    }
    say("no complete toolchain for the kernel object yet");
    apt::ensure(
        &["rustc-web", "libstd-rust-web-dev-bpf", "llvm-22-dev", "g++"],
        "build the kernel object",
        WITHOUT_APT,
    )?;
    if own_linker().is_err() {
        install_linker()?;
    }
    Toolchain::find()?.with_context(|| {
        format!("the packages are installed, but there is still no complete toolchain (is {RUSTC_VARIABLE} set, or /usr/bin/rustc not Debian's?)\n{WITHOUT_APT}")
    })
}

fn install_linker() -> Result<()> {
    let tools = tools_dir()?;
    say(format_args!(
        "needed to link the kernel object, will be built into {}: bpf-linker {BPF_LINKER_VERSION} (a minute or two)",
        tools.display()
    ));
    let path = std::env::var("PATH").unwrap_or_default();
    run(plain(own_cargo())
        .args(["install", "bpf-linker", "--version", BPF_LINKER_VERSION, "--locked", "--force"])
        .args(["--no-default-features", "--features", "llvm-22", "--root"])
        .arg(&tools)
        // It asks llvm-config first and these prefixes next; without all of them it looks in /usr and fails to link.
        .env("PATH", format!("{LLVM_PREFIX}/bin:{path}"))
        .env("LLVM_PREFIX", LLVM_PREFIX)
        .env("LLVM_SYS_221_PREFIX", LLVM_PREFIX))
}

/// The packages that the lab is made of; vm-test takes them along.
pub(crate) const LAB: [&str; 13] = [
    "bpftool",
    "curl",
    "dnsmasq-base",
    "iproute2",
    "nghttp2-client",
    "nghttp2-server",
    "nginx-light",
    "openssl",
    "procps",
    "python3-minimal",
    "python3",
    "python3-h2",
    "util-linux",
];

/// What receives exported records, reads metrics, checks outputs, makes disks that fail, carries a rootless container's
/// packets and asks in ways of its own (wget, programs that Go makes); the virtual machine does without.
const BESIDE: [&str; 8] = [
    "e2fsprogs",
    "golang-go",
    "prometheus",
    "python3-jsonschema",
    "rsyslog",
    "rsyslog-openssl",
    "slirp4netns",
    "wget",
];

/// The programs that the lab is made of.
pub(crate) fn lab() -> Result<()> {
    apt::ensure(
        &[&LAB[..], &BESIDE].concat(),
        "run real servers and clients",
        "Remedy: install nginx, nghttp2 (nghttpd, h2load), dnsmasq, iproute2, curl, wget, python3 with h2 and jsonschema, openssl, procps, \
         prometheus, rsyslog, slirp4netns, e2fsprogs, Go and bpftool by hand.",
    )
}

/// Chromium, Firefox and the tool that puts a CA into their profiles.
pub(crate) fn browser() -> Result<()> {
    apt::ensure(
        &["chromium", "firefox-esr", "libnss3-tools"],
        "show the product in browsers",
        "Remedy: install Chromium, Firefox ESR and certutil (NSS tools) by hand.",
    )
}

/// Whether the demo can show its browser lines without installing anything.
pub(crate) fn has_browser() -> bool {
    ["chromium", "certutil"].iter().all(|name| crate::workspace::find_program(name).is_some())
}

/// Rust's own parts that the checks take.
pub(crate) fn lints() -> Result<()> {
    for tool in ["fmt", "clippy"] {
        let there =
            host_cargo().args([tool, "--version"]).output().is_ok_and(|output| output.status.success());
        anyhow::ensure!(there, "cargo {tool} is missing: `rustup component add rustfmt clippy`");
    }
    // Clippy of the same release as the compiler of the kernel object, where that is Debian's.
    let toolchain = kernel_toolchain()?;
    if toolchain.clippy("").is_none() {
        apt::ensure(
            &["rust-web-clippy"],
            "lint the kernel object",
            "Remedy: `rustup component add clippy --toolchain nightly`.",
        )?;
    }
    Ok(())
}
