//! The record of an exchange: made of what was observed, and of what it has in common with the one before.

use std::sync::Arc;

use jiff::Timestamp;
use uuid::Uuid;

use super::Judge;
use crate::activity::{Context, Observed, Outcome, Own};
use crate::classify::{ActivityType, Classification};
use crate::http::head::{RequestHead, ResponseHead};
use crate::policy::decision::{Action, Decision};
use crate::proxy::enforce::Answer;
use crate::record::{Record, SharedContext};
use crate::session::{Device, Session};

impl Judge<'_> {
    /// Records what was decided; the answer when it blocks.
    pub(super) fn record(
        &self,
        session: &Session,
        device: &Device,
        (classification, size): (&Classification, Option<u64>),
        decision: &Decision,
        outcome: Outcome<'_>,
        (request, response): (&RequestHead, Option<&ResponseHead>),
    ) -> Option<Answer> {
        let id = Uuid::now_v7();
        let networks = &self.shared.snapshot.load().config.networks;
        let observed = Observed {
            session,
            device,
            request,
            response,
            classification,
            size,
            decision,
            outcome,
            networks,
        };
        let record = Record {
            row: observed.row(id, Timestamp::now()),
            shared: self.context(&observed),
            own: Own::of(&observed),
        };
        if classification.activity == ActivityType::Download && decision.action() != Action::Block {
            *self.transfer.borrow_mut() = Some(self.shared.recorder.download(self.guard.app(), record));
        } else {
            // A lost record is counted by the log; it slows or stops nothing here.
            let _ = self.shared.recorder.activity(self.guard.app(), record);
        }
        Answer::of_decision(decision, request, classification, id, &session.app.name)
    }

    /// What the record of an exchange has in common with others, which is mostly what it was for the exchange before.
    fn context(&self, observed: &Observed<'_>) -> Arc<SharedContext> {
        let Observed { device, decision, outcome, .. } = *observed;
        let mut last = self.context.borrow_mut();
        match &*last {
            Some(shared) if shared.value.holds(device, decision, outcome.enforced) => Arc::clone(shared),
            _ => Arc::clone(last.insert(SharedContext::of(Context::of(observed)))),
        }
    }
}
