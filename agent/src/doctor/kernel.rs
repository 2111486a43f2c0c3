//! Checks of the kernel: its release, its features, and above all whether it takes the programs.

use super::{Answer, Check, Facts, Feature, KernelTls, Need, Program, Release};

/// Longest part of a refusal that the report shows on one line.
const REFUSAL: usize = 400;

pub(super) fn checks(facts: &Facts) -> Vec<Check> {
    let mut checks = vec![release(facts), btf(facts), lockdown(facts)];
    checks.extend(facts.features.iter().map(|feature| of_feature(feature, facts.gateway)));
    checks.extend(programs(facts));
    checks.push(Check::of("namespace-cookie", &facts.namespace_cookie, |&there| {
        if there {
            Check::ok("namespace-cookie", "network namespaces can be told apart")
        } else {
            Check::failed("namespace-cookie", "the kernel has no SO_NETNS_COOKIE", "use Linux 5.14 or newer")
        }
    }));
    checks.push(Check::of("socket-destroy", &facts.socket_destroy, |&there| {
        if there {
            Check::ok("socket-destroy", "connections of other processes can be ended")
        } else {
            Check::failed(
                "socket-destroy",
                "connections that stood before the start cannot be ended",
                "use a kernel with CONFIG_INET_DIAG_DESTROY, or restart programs that were connected before",
            )
        }
    }));
    checks.extend(facts.kernel_tls.map(kernel_tls));
    checks
}

/// Without it nothing is amiss but the setting: the agent seals itself.
fn kernel_tls(found: KernelTls) -> Check {
    let name = "kernel-tls";
    match found {
        KernelTls::Ready => Check::ok(name, "the kernel can seal what is sent"),
        KernelTls::Loadable => Check::ok(
            name,
            "the kernel can seal what is sent; it loads the module tls with the first connection",
        ),
        KernelTls::Unloaded => Check::failed(
            name,
            "the module tls is not loaded: the agent seals itself",
            "run `modprobe tls` and `portcullis reload`; a line `tls` in a file in /etc/modules-load.d loads it at each boot",
        ),
        KernelTls::Absent => Check::failed(
            name,
            "the kernel has no TLS (CONFIG_TLS): the agent seals itself",
            "use a kernel with the module tls, or take `kernel` out of [tls]",
        ),
    }
}

fn release(facts: &Facts) -> Check {
    let name = "kernel";
    let text = &facts.release;
    let Some(release) = Release::parse(text) else {
        return Check::skipped(name, format!("not checked: cannot read the release \"{text}\""));
    };
    if release.is_supported() {
        return Check::ok(name, format!("Linux {text}"));
    }
    let old = format!("Linux {text} is older than {}", super::OLDEST);
    match &facts.programs {
        // Carried back by a distribution: what counts is that the programs load.
        Answer::Found(programs) if !programs.is_empty() && programs.iter().all(|p| p.refusal.is_none()) => {
            Check::ok(name, format!("{old}, the oldest that was tried, but takes every program"))
        }
        Answer::NeedsRoot => {
            Check::skipped(name, format!("{old}; whether it takes the programs was not checked: needs root"))
        }
        Answer::Found(_) | Answer::Unknown(_) | Answer::Broken(_) => {
            Check::failed(name, old, format!("use Linux {} or newer", super::OLDEST))
        }
    }
}

fn btf(facts: &Facts) -> Check {
    if facts.btf {
        Check::ok("btf", "/sys/kernel/btf/vmlinux is there")
    } else {
        Check::failed(
            "btf",
            "there is no /sys/kernel/btf/vmlinux",
            "use a kernel with CONFIG_DEBUG_INFO_BTF=y, as distributions build them",
        )
    }
}

fn lockdown(facts: &Facts) -> Check {
    match facts.lockdown.as_deref() {
        Some("confidentiality") => Check::failed(
            "lockdown",
            "confidentiality: the kernel lets no program read its memory",
            "boot without lockdown=confidentiality; \"integrity\" does no harm",
        ),
        Some(mode) => Check::ok("lockdown", mode),
        None => Check::ok("lockdown", "none"),
    }
}

fn of_feature(feature: &Feature, gateway: bool) -> Check {
    let name = feature.name;
    Check::of(name, &feature.present, |&present| {
        if present {
            Check::ok(name, "there")
        } else if feature.need == Need::Gateway && !gateway {
            Check::skipped(name, "missing, but only mode = \"gateway\" needs it")
        } else {
            Check::failed(name, "missing", format!("the kernel needs {}", feature.since))
        }
    })
}

/// One line for all that were taken, one for each that was not.
fn programs(facts: &Facts) -> Vec<Check> {
    let name = "programs";
    let Answer::Found(programs) = &facts.programs else {
        let remedy =
            "see the lines above for what the kernel lacks; a build without programs is none to install";
        return vec![Check::with_remedy(name, &facts.programs, remedy, |_| Check::ok(name, ""))];
    };
    let refused: Vec<&Program> = programs.iter().filter(|program| program.refusal.is_some()).collect();
    let all = programs.len();
    if refused.is_empty() {
        let micros: u64 = programs.iter().map(|program| program.micros).sum();
        let most = programs.iter().filter_map(|program| program.instructions).max();
        let walked = most.map(|most| format!(", at most {most} instructions each")).unwrap_or_default();
        let found = format!("all {all} accepted by this kernel's verifier in {} ms{walked}", micros / 1000);
        return vec![Check::ok(name, found)];
    }
    refused
        .into_iter()
        .map(|program| {
            let why = program.refusal.as_deref().unwrap_or_default();
            Check::failed(
                format!("program {}", program.name),
                format!("refused: {}", end_of(why)),
                format!(
                    "use Linux {} or newer; if it is, report this with `portcullis doctor --json`",
                    super::OLDEST
                ),
            )
        })
        .collect()
}

/// The end of a long text, on one line: the verifier says last what it stumbled over.
fn end_of(text: &str) -> String {
    let line =
        text.split('\n').map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" | ");
    let skip = line.chars().count().saturating_sub(REFUSAL);
    if skip == 0 { line } else { format!("… {}", line.chars().skip(skip).collect::<String>()) }
}
