//! The decision on a connection that was made before it could be steered: what `[steering] existing` says.

use super::decision::{Action, Decision, Reason};

impl Decision {
    /// `closes`: the connection is ended, else it goes on. `revision` is that of the policy set in force.
    pub fn for_existing(closes: bool, revision: u64) -> Self {
        let (action, words) = if closes {
            (Action::Block, "the connection was made before it could be inspected, and is closed")
        } else {
            (Action::Monitor, "the connection was made before it could be inspected, and goes on unseen")
        };
        Self {
            action,
            policy: None,
            rule: None,
            reason: Reason::Failure(words),
            message: None,
            report_only: Vec::new(),
            revision,
            set: None,
        }
    }
}
