//! What state each part of the agent is in. Parts report; probes and `status` read.

use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

/// The parts that readiness depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    Steering,
    /// Whether the kernel takes the agent for alive.
    Heartbeat,
    Listener,
    /// Whether the agent keeps within the memory it may use.
    Memory,
    Policies,
    CertificateAuthority,
    ActivityLog,
    DevicePosture,
    /// Whether the page of metrics and probes is to be had.
    Metrics,
}

impl Part {
    pub const ALL: [Self; 9] = [
        Self::Steering,
        Self::Heartbeat,
        Self::Listener,
        Self::Memory,
        Self::Policies,
        Self::CertificateAuthority,
        Self::ActivityLog,
        Self::DevicePosture,
        Self::Metrics,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Steering => "steering",
            Self::Heartbeat => "heartbeat",
            Self::Listener => "listener",
            Self::Memory => "memory",
            Self::Policies => "policies",
            Self::CertificateAuthority => "certificate-authority",
            Self::ActivityLog => "activity-log",
            Self::DevicePosture => "device-posture",
            Self::Metrics => "metrics",
        }
    }

    const fn index(self) -> usize {
        self as usize
    }
}

/// `Degraded` still does its work, but someone should look; `Failed` does not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", content = "reason", rename_all = "kebab-case")]
pub enum Condition {
    Ok,
    Degraded(String),
    Failed(String),
}

/// One line of a health report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartHealth {
    pub part: Part,
    #[serde(flatten)]
    pub condition: Condition,
}

/// Shared by all parts. Until a part has reported, it has failed: a probe must not find an agent ready that has not
/// finished starting.
#[derive(Debug)]
pub struct Health {
    parts: Mutex<[Condition; Part::ALL.len()]>,
}

impl Default for Health {
    fn default() -> Self {
        Self { parts: Mutex::new(Part::ALL.map(|_| Condition::Failed("has not started yet".to_owned()))) }
    }
}

impl Health {
    pub fn set(&self, part: Part, condition: Condition) {
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = parts.get_mut(part.index()) {
            *slot = condition;
        }
    }

    pub fn report(&self) -> Vec<PartHealth> {
        let parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        let conditions = parts.iter().cloned();
        Part::ALL
            .into_iter()
            .zip(conditions)
            .map(|(part, condition)| PartHealth { part, condition })
            .collect()
    }
}

/// Whether traffic may be sent to an agent that reports this.
pub fn is_ready(report: &[PartHealth]) -> bool {
    !report.iter().any(|part| matches!(part.condition, Condition::Failed(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_is_ready_once_every_part_said_so_and_as_long_as_none_fails() {
        let health = Health::default();
        for part in Part::ALL {
            assert!(!is_ready(&health.report()), "{part:?} has not reported");
            health.set(part, Condition::Ok);
        }
        assert!(is_ready(&health.report()));
        health.set(Part::Policies, Condition::Degraded("broken file".into()));
        assert!(is_ready(&health.report()), "the last good policies still hold");
        health.set(Part::Steering, Condition::Failed("detached".into()));
        assert!(!is_ready(&health.report()));
    }

    #[test]
    fn parts_keep_their_own_places_and_their_names_in_json() {
        let health = Health::default();
        for part in Part::ALL {
            health.set(part, Condition::Degraded(part.name().into()));
        }
        for line in health.report() {
            let json = serde_json::to_value(&line).unwrap();
            assert_eq!(
                json,
                serde_json::json!({
                    "part": line.part.name(), "state": "degraded", "reason": line.part.name()
                })
            );
            assert_eq!(serde_json::from_value::<PartHealth>(json).unwrap(), line);
        }
        let ok = PartHealth { part: Part::Listener, condition: Condition::Ok };
        assert_eq!(
            serde_json::to_value(&ok).unwrap(),
            serde_json::json!({"part": "listener", "state": "ok"})
        );
    }
}
