//! The built-in checks of this device: each reads what the host says about itself, and gives a verdict in words.

mod disk;
mod firewall;
mod os_version;
mod program;
mod screen_lock;
mod secure_boot;
mod updates;

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;

use super::report::Report;
use crate::config::Check;

/// What a check found. Unknown counts as not passed, and says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Passed,
    Failed,
    Unknown,
}

impl Outcome {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
        }
    }
}

/// One check with its outcome, and why in a sentence an admin can act on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    pub check: Check,
    pub outcome: Outcome,
    pub reason: String,
}

/// What a check says before it is known which one it was.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Verdict {
    outcome: Outcome,
    reason: String,
}

impl Verdict {
    fn passed(reason: impl Into<String>) -> Self {
        Self { outcome: Outcome::Passed, reason: reason.into() }
    }

    fn failed(reason: impl Into<String>) -> Self {
        Self { outcome: Outcome::Failed, reason: reason.into() }
    }

    fn unknown(reason: impl Into<String>) -> Self {
        Self { outcome: Outcome::Unknown, reason: reason.into() }
    }
}

/// Runs the checks, one after the other, each for `deadline` at most. `root` is where the host's files are.
pub(super) async fn run(root: &Path, checks: &[Check], deadline: Duration) -> Vec<Checked> {
    let mut checked = Vec::with_capacity(checks.len());
    for &check in checks {
        let verdict = match tokio::time::timeout(deadline, one(root, check)).await {
            Ok(verdict) => verdict,
            Err(_) => Verdict::unknown(format!("took longer than {deadline:?}")),
        };
        checked.push(Checked { check, outcome: verdict.outcome, reason: verdict.reason });
    }
    checked
}

async fn one(root: &Path, check: Check) -> Verdict {
    let now = Timestamp::now();
    match check {
        Check::Firewall => firewall::judge(root).await,
        Check::SecurityUpdates => updates::judge(root, now).await,
        Check::DiskEncryption => reading(root, disk::judge).await,
        Check::ScreenLock => reading(root, screen_lock::judge).await,
        Check::SecureBoot => reading(root, secure_boot::judge).await,
        Check::OsVersion => {
            reading(root, move |root| {
                os_version::judge(root, jiff::ZonedDateTime::new(now, jiff::tz::TimeZone::UTC).date())
            })
            .await
        }
    }
}

/// Files of a host that is in trouble may answer slowly: read them where nothing else waits.
async fn reading(root: &Path, judge: impl FnOnce(&Path) -> Verdict + Send + 'static) -> Verdict {
    let root = root.to_owned();
    tokio::task::spawn_blocking(move || judge(&root))
        .await
        .unwrap_or_else(|error| Verdict::unknown(format!("the check ended early: {error}")))
}

/// All of them as one report: compliant when every one passed.
pub(super) fn report(checked: &[Checked]) -> Report {
    let missed: Vec<String> = checked
        .iter()
        .filter(|checked| checked.outcome != Outcome::Passed)
        .map(|checked| format!("{} {}: {}", checked.check.name(), checked.outcome.name(), checked.reason))
        .collect();
    let compliant = missed.is_empty() && !checked.is_empty();
    let reason = match (compliant, checked.len()) {
        (true, 1) => "the built-in check passed".to_owned(),
        (true, count) => format!("all {count} built-in checks passed"),
        (false, 0) => "no check ran".to_owned(),
        (false, _) => missed.join("; "),
    };
    Report { compliant, reason, tags: Vec::new(), expires: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(check: Check, outcome: Outcome) -> Checked {
        Checked { check, outcome, reason: "so it is".into() }
    }

    #[test]
    fn every_check_must_pass_and_those_that_did_not_are_named() {
        let good = checked(Check::Firewall, Outcome::Passed);
        assert!(report(std::slice::from_ref(&good)).compliant);
        for outcome in [Outcome::Failed, Outcome::Unknown] {
            let told = report(&[good.clone(), checked(Check::SecureBoot, outcome)]);
            assert!(!told.compliant);
            assert_eq!(told.reason, format!("secure-boot {}: so it is", outcome.name()));
        }
        assert!(!report(&[]).compliant);
    }

    #[tokio::test]
    async fn an_empty_host_passes_nothing_but_a_screen_that_is_not_there() {
        let root = tempfile::tempdir().unwrap();
        let checked = run(root.path(), &Check::ALL, Duration::from_secs(10)).await;
        let passed: Vec<_> =
            checked.iter().filter(|c| c.outcome == Outcome::Passed).map(|c| c.check).collect();
        assert_eq!(passed, [Check::ScreenLock], "{checked:?}");
        assert_eq!(checked.len(), Check::ALL.len());
    }
}
