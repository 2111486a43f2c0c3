//! Sets of policies by what they do: of each word of places all sets stand side by side in memory, because a decision
//! asks for several sets of few words.

use super::bits::{Bits, Live};
use crate::classify::Classification;
use crate::policy::decision::Action;
use crate::policy::rule::RuleActivity;
use crate::policy::{Control, Policy, Rule, State};

/// Policies by state and control. Without a word about the state: enabled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Set {
    Enabled,
    BlockDownloads,
    MonitorOnly,
    /// Custom ones that can ask for no more than to allow, to monitor, to block.
    CustomAllow,
    CustomMonitor,
    CustomBlock,
    ReportOnly,
    ReportBlockDownloads,
    ReportCustom,
}

impl Set {
    const ALL: [Self; 9] = [
        Self::Enabled,
        Self::BlockDownloads,
        Self::MonitorOnly,
        Self::CustomAllow,
        Self::CustomMonitor,
        Self::CustomBlock,
        Self::ReportOnly,
        Self::ReportBlockDownloads,
        Self::ReportCustom,
    ];

    pub(super) const fn ceiling(action: Action) -> Self {
        match action {
            Action::Allow => Self::CustomAllow,
            Action::Monitor => Self::CustomMonitor,
            Action::Block => Self::CustomBlock,
        }
    }

    fn holds(self, policy: &Policy) -> bool {
        let enabled = policy.state == State::Enabled;
        let Some(control) = &policy.control else { return false };
        match (self, control) {
            (Self::Enabled, _) => enabled,
            (Self::ReportOnly, _) => !enabled,
            (Self::BlockDownloads, Control::BlockDownloads) => enabled,
            (Self::ReportBlockDownloads, Control::BlockDownloads) => !enabled,
            (Self::MonitorOnly, Control::MonitorOnly) => enabled,
            (Self::CustomAllow | Self::CustomMonitor | Self::CustomBlock, Control::Custom(_)) => {
                enabled && self == Self::ceiling(control.ceiling())
            }
            (Self::ReportCustom, Control::Custom(_)) => !enabled,
            _ => false,
        }
    }
}

/// The activities of rules that an exchange is, a bit each.
#[derive(Debug, Clone, Copy)]
pub(in crate::policy) struct About(u16);

impl About {
    pub(in crate::policy) fn of(class: &Classification) -> Self {
        let activities = RuleActivity::CHOICES.iter().zip(0..);
        Self(activities.fold(0, |bits, ((_, activity), bit)| bits | u16::from(activity.covers(class)) << bit))
    }
}

/// 64 places.
#[derive(Debug, Clone, Copy, Default)]
struct Word {
    sets: [u64; Set::ALL.len()],
    /// Policies whose control is custom and has a rule about it, by activity.
    activities: [u64; RuleActivity::CHOICES.len()],
}

#[derive(Debug, Clone, Default)]
pub(super) struct Controls {
    words: Box<[Word]>,
    live: [Live; Set::ALL.len()],
}

impl Controls {
    /// Of policies in force, in as many words.
    pub(super) fn new(policies: &[&Policy], words: usize) -> Self {
        let set = |wanted: &dyn Fn(&Policy) -> bool| {
            let found = policies.iter().zip(0..).filter(|(policy, _)| wanted(policy));
            Bits::new(found.map(|(_, place)| place), words)
        };
        let sets = Set::ALL.map(|kind| set(&|policy| kind.holds(policy)));
        let activities = RuleActivity::CHOICES.map(|(_, activity)| {
            let about = |rule: &Rule| rule.activities.is_empty() || rule.activities.contains(&activity);
            set(&|policy| matches!(&policy.control, Some(Control::Custom(rules)) if rules.iter().any(about)))
        });
        let word = |bits: &Bits, number: usize| bits.words().get(number).copied().unwrap_or_default();
        Self {
            words: (0..words)
                .map(|number| Word {
                    sets: sets.each_ref().map(|set| word(set, number)),
                    activities: activities.each_ref().map(|set| word(set, number)),
                })
                .collect(),
            live: sets.map(|set| set.live()),
        }
    }

    /// Words in which a set has members.
    pub(super) fn live(&self, set: Set) -> &Live {
        let [first, ..] = &self.live;
        self.live.get(set as usize).unwrap_or(first)
    }

    pub(super) fn word(&self, number: usize, set: Set) -> u64 {
        self.words.get(number).and_then(|word| word.sets.get(set as usize)).copied().unwrap_or_default()
    }

    /// Of the set of custom policies with a rule about what this is.
    pub(super) fn about(&self, number: usize, about: About) -> u64 {
        let Some(word) = self.words.get(number) else { return 0 };
        let covering = word.activities.iter().zip(0..).filter(|(_, bit)| about.0 >> bit & 1 != 0);
        covering.fold(0, |all, (set, _)| all | set)
    }
}
