//! The device's state: id, operating system, compliant or not. Unknown or stale counts as not compliant.

mod checks;
mod command;
pub mod inventory;
mod report;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use uuid::Uuid;

use crate::config::{Device as Settings, Posture};
use crate::session::Device;
pub use checks::{Checked, Outcome};
use report::Report;

/// How often a watched file is looked at; a flip applies to the next response after it.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Where everybody reads the device's state now.
pub type Current = Arc<ArcSwap<Device>>;

/// What the built-in checks found last; empty where another source decides.
pub type Results = Arc<ArcSwap<Vec<Checked>>>;

/// What does not change while the agent runs.
#[derive(Debug, Clone)]
pub struct Host {
    id: Arc<str>,
    os: Arc<str>,
}

impl Host {
    pub fn read() -> Self {
        let machine = fs::read_to_string("/etc/machine-id").unwrap_or_default();
        let os = fs::read_to_string("/etc/os-release").unwrap_or_default();
        Self { id: device_id(machine.trim()), os: os_name(&os) }
    }

    /// The state before anything was reported.
    pub fn unknown(&self, settings: &Settings, reason: &str) -> Device {
        self.device(
            settings,
            &Report { compliant: false, reason: reason.to_owned(), tags: Vec::new(), expires: None },
        )
    }

    fn device(&self, settings: &Settings, report: &Report) -> Device {
        let mut tags: Vec<Arc<str>> = settings.tags.clone();
        for tag in &report.tags {
            if !tags.iter().any(|known| **known == **tag) {
                tags.push(tag.as_str().into());
            }
        }
        Device {
            id: self.id.clone(),
            compliant: report.compliant,
            reason: report.reason.as_str().into(),
            tags,
            os: self.os.clone(),
        }
    }
}

/// An id of this host that does not give away /etc/machine-id, which is confidential (machine-id(5)).
fn device_id(machine: &str) -> Arc<str> {
    /// Namespace of Portcullis device ids.
    const NAMESPACE: Uuid = Uuid::from_u128(0x7a6f_19a4_53c2_4b62_9f0e_21d7_5c3b_8e10);
    if machine.is_empty() {
        return "unknown".into();
    }
    Uuid::new_v5(&NAMESPACE, machine.as_bytes()).to_string().into()
}

fn os_name(os_release: &str) -> Arc<str> {
    let name = os_release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.map_or("Linux", |name| name.trim_matches('"')).into()
}

/// Keeps `current` and `results` up to date until the task is dropped. `settings` may change with each reload.
pub async fn watch(
    host: Host,
    current: Current,
    results: Results,
    settings: impl Fn() -> Arc<crate::config::Config>,
) {
    let mut ran: Option<Ran> = None;
    loop {
        let config = settings();
        let device = &config.device;
        // A source that takes time runs only every so often, and anew when the settings say something else.
        ran = ran.filter(|ran| ran.settings == *device && ran.at.elapsed() < device.every);
        let report = match (&ran, device.posture) {
            (_, Posture::File) => report::from_file(&device.file),
            (Some(ran), Posture::Command | Posture::Checks) => ran.report.clone(),
            (None, Posture::Command) => {
                Ran::new(command::run(&device.command, device.deadline).await, device, &mut ran)
            }
            (None, Posture::Checks) => {
                let checked = checks::run(Path::new("/"), &device.checks, device.deadline).await;
                let report = checks::report(&checked);
                results.store(Arc::new(checked));
                Ran::new(report, device, &mut ran)
            }
        };
        if device.posture != Posture::Checks && !results.load().is_empty() {
            results.store(Arc::default());
        }
        let next = host.device(device, &report.at(Timestamp::now()));
        if **current.load() != next {
            tracing::info!(compliant = next.compliant, reason = %next.reason, "device state");
            current.store(Arc::new(next));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// A report that counts for a while.
struct Ran {
    at: std::time::Instant,
    settings: Settings,
    report: Report,
}

impl Ran {
    fn new(report: Report, settings: &Settings, place: &mut Option<Self>) -> Report {
        *place =
            Some(Self { at: std::time::Instant::now(), settings: settings.clone(), report: report.clone() });
        report
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_device_id_is_stable_and_is_not_the_machine_id() {
        let machine = "0123456789abcdef0123456789abcdef";
        assert_eq!(device_id(machine), device_id(machine));
        assert_ne!(device_id(machine), device_id("another"));
        assert!(!device_id(machine).replace('-', "").contains(machine));
        assert_eq!(&*device_id(""), "unknown");
    }

    #[test]
    fn the_operating_system_has_its_pretty_name() {
        assert_eq!(&*os_name("ID=debian\nPRETTY_NAME=\"Debian GNU/Linux 12\"\n"), "Debian GNU/Linux 12");
        assert_eq!(&*os_name(""), "Linux");
    }
}
