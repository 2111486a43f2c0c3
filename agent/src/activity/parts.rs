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

/// Who, with which app, on which device, by which process, where to, how it was asked, and what was decided. Equal for most
/// records of one user and app.
#[derive(PartialEq, Eq, Hash, Serialize)]
pub struct Context<'a> {
    app: &'a AppFacts,
    user: &'a UserFacts,
    device: &'a DeviceFacts,
    process: &'a ProcessFacts,
    server: &'a ServerFacts,
    decision: Untimed<'a>,
    report_only: &'a [Arc<str>],
    client: Option<Portless<'a>>,
    request: Option<Pathless<'a>>,
}

/// The same, kept for itself.
#[derive(Debug, Clone, Deserialize)]
pub struct Common {
    pub app: AppFacts,
    pub user: UserFacts,
    pub device: DeviceFacts,
    pub process: ProcessFacts,
    pub server: ServerFacts,
    pub decision: DecisionFacts,
    pub report_only: Vec<Arc<str>>,
    /// But for the port. Absent in texts of versions that kept it with each record.
    pub client: Option<ClientFacts>,
    /// But for the path. Absent likewise.
    pub request: Option<RequestFacts>,
}

impl Common {
    pub fn context(&self) -> Context<'_> {
        Context {
            app: &self.app,
            user: &self.user,
            device: &self.device,
            process: &self.process,
            server: &self.server,
            decision: Untimed(&self.decision),
            report_only: &self.report_only,
            client: self.client.as_ref().map(Portless),
            request: self.request.as_ref().map(Pathless),
        }
    }
}

/// Makes a borrowed part of a record one that is equal, hashed and written without what differs from record to record.
macro_rules! without {
    ($(#[$about:meta])* $name:ident of $facts:ident: $($kept:ident),+; $($left:ident: $none:expr),+) => {
        $(#[$about])*
        struct $name<'a>(&'a $facts);

        impl<'a> $name<'a> {
            fn key(&self) -> impl Eq + Hash + use<'a> {
                let $facts { $($kept),+, $($left: _),+ } = self.0;
                ($($kept),+)
            }
        }

        impl PartialEq for $name<'_> {
            fn eq(&self, other: &Self) -> bool {
                self.key() == other.key()
            }
        }

        impl Eq for $name<'_> {}

        impl Hash for $name<'_> {
            fn hash<H: Hasher>(&self, state: &mut H) {
                self.key().hash(state);
            }
        }

        impl Serialize for $name<'_> {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                $facts { $($left: $none),+, ..self.0.clone() }.serialize(to)
            }
        }
    };
}

without! {
    /// A decision but for the time it took.
    Untimed of DecisionFacts: action, enforced, policy, rule, reason, policy_set; micros: 0
}
without! {
    /// A client but for its port.
    Portless of ClientFacts: address, kind, user_agent, locations; port: 0
}
without! {
    /// A request but for its path.
    Pathless of RequestFacts: method, host, version; path: "".into()
}

/// What is neither in the context nor, beside it, in [`Row`].
#[derive(Serialize)]
pub struct Own<'a> {
    /// The client's.
    port: u16,
    /// The request's.
    path: &'a str,
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
struct OwnRead {
    port: Option<u16>,
    path: Option<Arc<str>>,
    /// In texts of versions that kept it with each record, and so the next.
    client: Option<ClientFacts>,
    request: Option<RequestFacts>,
    response: Option<ResponseFacts>,
    file: Option<FileFacts>,
    content: Option<ContentFacts>,
    evaluated: Option<Evaluated>,
}

impl OwnRead {
    fn client(&mut self, common: Option<ClientFacts>) -> Option<ClientFacts> {
        self.client.take().or_else(|| Some(ClientFacts { port: self.port?, ..common? }))
    }

    fn request(&mut self, common: Option<RequestFacts>) -> Option<RequestFacts> {
        self.request.take().or_else(|| Some(RequestFacts { path: self.path.take()?, ..common? }))
    }
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
            client: Some(Portless(&self.client)),
            request: Some(Pathless(&self.request)),
        }
    }

    /// [`context`](Self::context), kept for itself.
    pub fn common(&self) -> Common {
        Common {
            app: self.app.clone(),
            user: self.user.clone(),
            device: self.device.clone(),
            process: self.process.clone(),
            server: self.server.clone(),
            decision: self.decision.clone(),
            report_only: self.report_only.clone(),
            client: Some(self.client.clone()),
            request: Some(self.request.clone()),
        }
    }

    pub fn own(&self) -> Own<'_> {
        Own {
            port: self.client.port,
            path: &self.request.path,
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
        let common: Common = serde_json::from_str(context)?;
        let mut own: OwnRead = serde_json::from_str(own)?;
        let missing = |what| serde::de::Error::missing_field(what);
        let Row { id, time, kind, micros, transfer } = row;
        Ok(Self {
            id,
            time,
            kind,
            app: common.app,
            user: common.user,
            device: common.device,
            process: common.process,
            client: own.client(common.client).ok_or_else(|| missing("client"))?,
            server: common.server,
            request: own.request(common.request).ok_or_else(|| missing("request"))?,
            response: own.response,
            file: own.file,
            decision: DecisionFacts { micros, ..common.decision },
            report_only: common.report_only,
            content: own.content,
            evaluated: own.evaluated,
            transfer,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::activity::tests::sample;

    fn row(activity: &Activity) -> Row {
        let Activity { id, time, kind, decision: DecisionFacts { micros, .. }, transfer, .. } = *activity;
        Row { id, time, kind, micros, transfer }
    }

    #[test]
    fn what_was_taken_apart_is_put_together_again() {
        let activity = sample();
        let (context, own) = (activity.context(), activity.own());
        let (context, own) = (serde_json::to_string(&context).unwrap(), serde_json::to_string(&own).unwrap());
        assert_eq!(Activity::from_parts(&context, &own, row(&activity)).unwrap(), activity);
        // And records that had more of their own.
        let mut context: serde_json::Value = serde_json::from_str(&context).unwrap();
        let (client, request) = (context["client"].take(), context["request"].take());
        let mut own: serde_json::Value = serde_json::from_str(&own).unwrap();
        let error = Activity::from_parts(&context.to_string(), &own.to_string(), row(&activity)).unwrap_err();
        assert!(error.to_string().contains("client"), "{error}");
        (own["client"], own["request"]) = (client, request);
        (own["client"]["port"], own["request"]["path"]) = (own["port"].take(), own["path"].take());
        assert_eq!(
            Activity::from_parts(&context.to_string(), &own.to_string(), row(&activity)).unwrap(),
            activity
        );
    }

    #[test]
    fn records_that_differ_in_port_path_and_time_have_one_context() {
        let activity = sample();
        let mut other = activity.clone();
        (other.client.port, other.decision.micros) = (1, 2);
        other.request.path = "/elsewhere".into();
        assert!(activity.context() == other.context());
        assert!(other.common().context() == activity.context());
        other.request.method = "PUT".into();
        assert!(activity.context() != other.context());
    }
}
