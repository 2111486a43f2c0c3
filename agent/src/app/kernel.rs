//! Whether this kernel is one to start on: by its release, and where that is too old by whether it takes the programs.

use super::Fault;
use crate::doctor::{OLDEST, Program, Release};
use crate::steering::probe;

/// Refuses to start on a kernel that is older than the oldest supported and does not take the programs either.
pub(super) fn check() -> Result<(), Fault> {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    match judge(release.trim(), probe::programs) {
        Ok(None) => Ok(()),
        Ok(Some(warning)) => {
            tracing::warn!("{warning}");
            Ok(())
        }
        Err(why) => Err(Fault::Unavailable(why)),
    }
}

/// A warning, or why not to start. The programs are tried only where the release does not suffice: loading takes time.
fn judge(
    release: &str,
    programs: impl FnOnce() -> anyhow::Result<Vec<Program>>,
) -> Result<Option<String>, String> {
    let Some(parsed) = Release::parse(release) else {
        return Ok(Some(format!("cannot read the kernel's release \"{release}\", going on")));
    };
    if parsed.is_supported() {
        return Ok(None);
    }
    let refuse = |what: String| {
        format!(
            "Linux {release} is older than {OLDEST}, the oldest supported, and {what}: use a newer kernel; \
             `portcullis doctor` lists what is missing"
        )
    };
    match programs() {
        Err(error) => Err(refuse(format!("refuses the kernel object ({error:#})"))),
        Ok(programs) => match programs.iter().find(|program| program.refusal.is_some()) {
            Some(program) => Err(refuse(format!("refuses the program {}", program.name))),
            None => Ok(Some(format!(
                "Linux {release} is older than {OLDEST}, the oldest supported; it takes the programs, going on"
            ))),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(refusal: Option<&str>) -> Program {
        Program {
            name: "pc_dns_in".to_owned(),
            instructions: None,
            micros: 1,
            refusal: refusal.map(str::to_owned),
        }
    }

    #[test]
    fn a_supported_release_starts_without_trying() {
        for release in ["6.1.0-56-cloud-amd64", "6.18.44", "7.0.0"] {
            assert_eq!(judge(release, || panic!("tried")), Ok(None), "{release}");
        }
    }

    #[test]
    fn an_older_release_starts_only_if_it_takes_every_program() {
        let warning = judge("5.14.0-427.el9", || Ok(vec![program(None)])).unwrap().unwrap();
        assert!(warning.contains("5.14.0-427.el9 is older than 6.1"), "{warning}");
        let why = judge("5.10.0", || Ok(vec![program(None), program(Some("unknown func"))])).unwrap_err();
        assert!(why.contains("Linux 5.10.0 is older than 6.1") && why.contains("pc_dns_in"), "{why}");
        let why = judge("4.19.0", || anyhow::bail!("no BTF")).unwrap_err();
        assert!(why.contains("no BTF") && why.contains("portcullis doctor"), "{why}");
    }

    #[test]
    fn an_unreadable_release_is_no_reason_not_to_start() {
        assert!(judge("?", || panic!("tried")).unwrap().is_some());
    }
}
