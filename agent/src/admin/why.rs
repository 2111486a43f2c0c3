//! Why a recorded activity was decided the way it was, by the policies as they were then.

use uuid::Uuid;

use crate::activity::{Activity, NotEvaluated};
use crate::policy::{DocumentError, Explanation, PolicySet};
use crate::record::query::{QueryError, Reader};

/// What is known about the way to a recorded decision.
pub enum Why {
    Policies(Box<Explanation>),
    /// No policy can be asked again.
    NotAsked(NotEvaluated),
    /// The policies of then are not in the log.
    NotKept(Uuid),
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum WhyError {
    #[error(transparent)]
    Log(#[from] QueryError),
    #[error("the policies of then: {0}")]
    Policies(#[from] DocumentError),
}

impl Why {
    /// Asks the policies that decided it again.
    pub fn of(activity: &Activity, reader: &Reader) -> Result<Self, WhyError> {
        Ok(match (activity.circumstances(), activity.decision.policy_set) {
            (Err(reason), _) => Why::NotAsked(reason),
            (Ok(_), None) => Why::NotAsked(NotEvaluated::Older),
            (Ok(circumstances), Some(set)) => match reader.policy_set(set)? {
                None => Why::NotKept(set),
                Some(document) => {
                    let policies = PolicySet::from_document(&document)?;
                    Why::Policies(Box::new(circumstances.explain(&policies)))
                }
            },
        })
    }

    /// What makes the explanation less than exact, in words.
    pub fn caveats(&self, activity: &Activity) -> Vec<String> {
        let mut caveats = Vec::new();
        match self {
            Why::Policies(explanation) => {
                let (now, then) = (&explanation.decision, &activity.decision);
                if (now.action(), now.policy(), now.rule())
                    != (then.action, then.policy.as_ref(), then.rule.as_ref())
                {
                    caveats.push(
                        "this version of the program decides otherwise than the one that recorded it"
                            .to_owned(),
                    );
                }
                if activity.evaluated.as_ref().is_some_and(|evaluated| evaluated.cut) {
                    caveats
                        .push("something that policies looked at was longer than a record may be".to_owned());
                }
            }
            Why::NotAsked(reason) => caveats.push(reason.to_string()),
            Why::NotKept(set) => caveats.push(format!("the policy set {set} of then is not kept any more")),
        }
        caveats
    }
}
