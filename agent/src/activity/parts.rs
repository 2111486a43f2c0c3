//! A record in two parts, as it is stored: what many records have in common, and what is its own.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize, Serializer};
use uuid::Uuid;

use super::{
    Activity, AppFacts, ClientFacts, ContentFacts, DecisionFacts, DeviceFacts, Evaluated, FileFacts,
    ProcessFacts, RequestFacts, ResponseFacts, ServerFacts, TransferFacts, UserFacts,
};
use crate::classify::ActivityType;

/// Who, with which app, on which device, by which process, where to, and what was decided. Equal for most records of one user
/// and app.
#[derive(PartialEq, Eq, Hash, Serialize)]
pub struct Context<'a> {
    app: &'a AppFacts,
    user: &'a UserFacts,
    device: &'a DeviceFacts,
    process: &'a ProcessFacts,
    server: &'a ServerFacts,
    decision: Untimed<'a>,
    report_only: &'a [Arc<str>],
}

/// A decision but for the time it took.
struct Untimed<'a>(&'a DecisionFacts);

impl<'a> Untimed<'a> {
    fn key(&self) -> impl Eq + Hash + use<'a> {
        let DecisionFacts { action, enforced, policy, rule, reason, policy_set, micros: _ } = self.0;
        (action, enforced, policy, rule, reason, policy_set)
    }
}

impl PartialEq for Untimed<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Untimed<'_> {}

impl Hash for Untimed<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key().hash(state);
    }
}

impl Serialize for Untimed<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        DecisionFacts { micros: 0, ..self.0.clone() }.serialize(to)
    }
}

/// What is neither in the context nor, beside it, in [`Row`]. What a client can choose anew for each request is here: a context
/// of its own would make each of its records several times as large.
#[derive(Serialize)]
pub struct Own<'a> {
    client: &'a ClientFacts,
    request: &'a RequestFacts,
    #[serde(skip_serializing_if = "Option::is_none")]
    response: &'a Option<ResponseFacts>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: &'a Option<FileFacts>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: &'a Option<ContentFacts>,
    #[serde(skip_serializing_if = "Option::is_none")]
    evaluated: &'a Option<Evaluated>,
}

/// What is in neither of the texts.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    pub id: Uuid,
    pub time: Timestamp,
    pub kind: ActivityType,
    /// [`DecisionFacts::micros`]
    pub micros: u64,
    pub transfer: Option<TransferFacts>,
}

#[derive(Deserialize)]
struct ContextRead {
    app: AppFacts,
    user: UserFacts,
    device: DeviceFacts,
    process: ProcessFacts,
    server: ServerFacts,
    decision: DecisionFacts,
    report_only: Vec<Arc<str>>,
}

#[derive(Deserialize)]
struct OwnRead {
    client: ClientFacts,
    request: RequestFacts,
    response: Option<ResponseFacts>,
    file: Option<FileFacts>,
    content: Option<ContentFacts>,
    evaluated: Option<Evaluated>,
}

impl Activity {
    pub fn context(&self) -> Context<'_> {
        Context {
            app: &self.app,
            user: &self.user,
            device: &self.device,
            process: &self.process,
            server: &self.server,
            decision: Untimed(&self.decision),
            report_only: &self.report_only,
        }
    }

    pub fn own(&self) -> Own<'_> {
        Own {
            client: &self.client,
            request: &self.request,
            response: &self.response,
            file: &self.file,
            content: &self.content,
            evaluated: &self.evaluated,
        }
    }

    /// The record that was taken apart into the JSON of [`context`](Self::context) and [`own`](Self::own), and `row`.
    ///
    /// # Errors
    /// One of the texts is not what it should be.
    pub fn from_parts(context: &str, own: &str, row: Row) -> serde_json::Result<Self> {
        let ContextRead { app, user, device, process, server, decision, report_only } =
            serde_json::from_str(context)?;
        let OwnRead { client, request, response, file, content, evaluated } = serde_json::from_str(own)?;
        let Row { id, time, kind, micros, transfer } = row;
        let decision = DecisionFacts { micros, ..decision };
        Ok(Self {
            id,
            time,
            kind,
            app,
            user,
            device,
            process,
            client,
            server,
            request,
            response,
            file,
            decision,
            report_only,
            content,
            evaluated,
            transfer,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::activity::tests::sample;

    #[test]
    fn what_was_taken_apart_is_put_together_again() {
        let whole = sample();
        let without = Activity { response: None, file: None, content: None, evaluated: None, ..sample() };
        for activity in [whole, without] {
            let context = serde_json::to_string(&activity.context()).unwrap();
            let own = serde_json::to_string(&activity.own()).unwrap();
            let Activity { id, time, kind, transfer, .. } = activity;
            let row = Row { id, time, kind, micros: activity.decision.micros, transfer };
            assert_eq!(Activity::from_parts(&context, &own, row).unwrap(), activity);
        }
    }

    #[test]
    fn a_client_cannot_make_a_context_by_what_it_says() {
        let activity = sample();
        let mut other = activity.clone();
        (other.client.port, other.decision.micros) = (1, 2);
        (other.client.user_agent, other.request.host) = (Some("another".into()), Some("elsewhere".into()));
        (other.request.method, other.request.path) = ("OTHER".into(), "/elsewhere".into());
        assert!(activity.context() == other.context());
        other.decision.enforced = !other.decision.enforced;
        assert!(activity.context() != other.context());
    }
}
