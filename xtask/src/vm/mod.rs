//! Boots packaged kernels in a virtual machine and runs the agent there, between real programs: which kernels accept
//! the programs, and whether those steer.
//!
//! ```text
//!  apt: linux-image-… ──► boot/vmlinuz, some modules ─┐
//!  this machine: the lab's packages ──────────────────┼─► initramfs ─► qemu (emulated) ─► serial lines ─► verdict
//!  this checkout: portcullis, its netns tests ────────┘
//! ```
//! Everything is in the initramfs: the guest has no disk and no network, and ends with its last test.

mod boot;
mod guest;
mod kernels;
mod verdict;

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use lab::agent::BINARY_VARIABLE;

use crate::command::{read, say};
use crate::workspace::{host_cargo, root, target_dir};
use crate::{apt, build, setup};

use kernels::Series;
use verdict::Verdict;

pub(crate) use boot::run as boot;
pub(crate) use guest::{pack, tree, with_modules};
pub(crate) use kernels::Kernel;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// A series, such as 6.1; may be given again. The oldest supported and the newest packaged ones when left out
    #[arg(long, value_name = "SERIES")]
    kernel: Vec<Series>,
    /// Netns tests whose name contains this, instead of the usual selection; may be given again
    #[arg(long)]
    filter: Vec<String>,
    /// Only load the programs, without tests
    #[arg(long, conflicts_with = "filter")]
    load_only: bool,
}

/// The tests that depend on the kernel: what is steered, what remains, what is enforced on the way. Each of them
/// must match a test.
const SELECTION: [&str; 11] = [
    "netns::steering::",
    "netns::guard::a_monitored_name_at_an_address_that_another_name_explains_is_stopped_once_and_then_inspected",
    "netns::guard::a_hello_in_pieces_is_read_all_the_same",
    "netns::failure_modes::closed_a_killed",
    "netns::gateway::hosts_behind_a_bridge_are_blocked_by_name_in_both_families",
    "netns::gateway_net::a_hello_in_pieces_is_read_on_its_way_through",
    "netns::lifecycle::an_orderly_end_leaves_nothing_in_the_kernel",
    "netns::lifecycle::a_killed_agent_does_not_disturb_unmonitored_sites",
    "netns::enforcement::every_attachment_is_blocked_and_nothing_else",
    "netns::kernel_tls::",
    "netns::hostile::dns_answers_that_a_user_forges_are_not_learned",
];

/// An emulated machine is this much slower than the lab's deadlines were made for.
const PATIENCE_FACTOR: u32 = 6;
/// Longest that one kernel may take, from power on to power off: an idle machine needs a tenth of it, a busy one only longer.
const DEADLINE: Duration = Duration::from_secs(45 * 60);

const WITHOUT_APT: &str = "The kernels are Debian's: run this on a Debian machine or in a Debian container.";

/// Qemu and what makes an initramfs; says so before it installs.
pub(crate) fn setup() -> Result<()> {
    ensure!(
        std::env::consts::ARCH == "x86_64",
        "the virtual machine runs the programs of this machine, and its kernels are packaged for x86-64 only"
    );
    apt::ensure(
        &["qemu-system-x86", "busybox-static", "cpio", "kmod", "binutils"],
        "boot other kernels in a virtual machine",
        WITHOUT_APT,
    )
}

/// The oldest supported kernel, from the cache or the archive.
pub(crate) fn oldest_kernel() -> Result<Kernel> {
    kernels::fetch(&[kernels::OLDEST], &target_dir()?.join("vm/kernels"))?
        .into_iter()
        .next()
        .context("the archive has no kernel of the oldest supported series")
}

pub(crate) fn main(arguments: &Arguments) -> Result<()> {
    setup()?;
    setup::lab()?;
    let directory = target_dir()?.join("vm");
    let kernels = kernels::fetch(&arguments.kernel, &directory.join("kernels"))?;
    // An agent that was built before, to look into a failure without the release profile's build.
    let agent = match std::env::var_os(BINARY_VARIABLE) {
        Some(path) => path.into(),
        None => build::agent()?,
    };
    let filters = if arguments.load_only { Vec::new() } else { filters(&arguments.filter) };
    let tests = if filters.is_empty() { None } else { Some(tests(&filters)?) };
    let guest = guest::Guest { agent, tests, filters, patience: PATIENCE_FACTOR };
    let common = guest.archive(&directory)?;

    let mut verdicts = Vec::new();
    for kernel in &kernels {
        let initramfs = guest::with_modules(&common, kernel, &directory)?;
        say(format_args!("booting Linux {} ({})", kernel.release, kernel.package));
        let start = Instant::now();
        let lines = boot::run(kernel, &initramfs, DEADLINE)?;
        let verdict = Verdict::of(&lines, guest.tests.is_some());
        verdicts.push((kernel, verdict, start.elapsed()));
    }

    let mut refused = Vec::new();
    for (kernel, verdict, took) in &verdicts {
        println!("\nLinux {} ({} s)\n{verdict}", kernel.release, took.as_secs());
        if !verdict.is_good() {
            refused.push(kernel.release.as_str());
        }
    }
    if !refused.is_empty() {
        bail!("vm-test: not good on Linux {}", refused.join(", "));
    }
    let good: Vec<&str> = verdicts.iter().map(|(kernel, ..)| kernel.release.as_str()).collect();
    say(format_args!("vm-test: good on Linux {}", good.join(", ")));
    Ok(())
}

fn filters(wanted: &[String]) -> Vec<String> {
    if wanted.is_empty() { SELECTION.map(str::to_owned).to_vec() } else { wanted.to_vec() }
}

/// Builds the netns tests and returns their program; a filter that matches none of them is a mistake.
fn tests(filters: &[String]) -> Result<std::path::PathBuf> {
    // As `test netns` builds it, so that nothing is built twice.
    let build = ["test", "--locked", "--workspace", "--test", "it", "--no-run"];
    say(format_args!("cargo {}", build.join(" ")));
    let messages = read(host_cargo().args(build).arg("--message-format=json-render-diagnostics"))?;
    let program = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["target"]["name"] == "it")
        .find_map(|message| message["executable"].as_str().map(std::path::PathBuf::from));
    let Some(program) = program else { bail!("cargo names no program of the netns tests") };
    let list = read(std::process::Command::new(&program).arg("--list").current_dir(root()))?;
    for filter in filters {
        ensure!(list.lines().any(|line| line.contains(filter)), "no netns test has `{filter}` in its name");
    }
    Ok(program)
}
