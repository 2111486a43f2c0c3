//! A record in the parts in which it is made and stored, and put together of them.

use std::net::IpAddr;

use jiff::Timestamp;
use uuid::Uuid;

use super::{Activity, Context, DecisionFacts, Observed, Own, TransferFacts};
use crate::classify::ActivityType;

/// What is in neither of the texts.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    pub id: Uuid,
    /// In whole microseconds.
    pub time: Timestamp,
    pub kind: ActivityType,
    /// [`DecisionFacts::micros`]
    pub micros: u64,
    pub transfer: Option<TransferFacts>,
}

impl Observed<'_> {
    /// `id` and `time` as in [`Activity::new`].
    pub fn row(&self, id: Uuid, time: Timestamp) -> Row {
        Row {
            id,
            time: whole_micros(time),
            kind: self.classification.activity,
            micros: self.outcome.micros,
            transfer: None,
        }
    }
}

/// The log stores microseconds; a record that carried more would not come back equal.
fn whole_micros(time: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(time.as_microsecond()).unwrap_or(time)
}

impl Activity {
    pub fn from_parts(row: Row, context: Context, own: Own) -> Self {
        let Context { app, user, device, process, server, decision, report_only } = context;
        let Own { client, request, response, file, content, evaluated } = own;
        let Row { id, time, kind, micros, transfer } = row;
        Self {
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
            decision: DecisionFacts { micros, ..decision },
            report_only,
            content,
            evaluated,
            transfer,
        }
    }

    pub fn into_parts(self) -> (Row, Context, Own) {
        let row = Row {
            id: self.id,
            time: self.time,
            kind: self.kind,
            micros: self.decision.micros,
            transfer: self.transfer,
        };
        let context = Context {
            app: self.app,
            user: self.user,
            device: self.device,
            process: self.process,
            server: self.server,
            decision: DecisionFacts { micros: 0, ..self.decision },
            report_only: self.report_only,
        };
        let own = Own {
            client: self.client,
            request: self.request,
            response: self.response,
            file: self.file,
            content: self.content,
            evaluated: self.evaluated,
        };
        (row, context, own)
    }

    /// The record whose parts were stored as `row` and the JSON of `context` and `own`: where there is a `shape`, with the client's
    /// address, of what it leaves.
    ///
    /// # Errors
    /// One of the texts is not what it should be.
    pub fn from_stored(
        row: Row,
        context: &str,
        shape: Option<(&str, IpAddr)>,
        own: &str,
    ) -> serde_json::Result<Self> {
        let own = match shape {
            Some((shape, address)) => {
                Own::joined(address, serde_json::from_str(shape)?, serde_json::from_str(own)?)
            }
            None => serde_json::from_str(own)?,
        };
        Ok(Self::from_parts(row, serde_json::from_str(context)?, own))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::activity::tests::{full, sample};

    fn stored(activity: &Activity) -> (Row, String, String) {
        let (row, context, own) = activity.clone().into_parts();
        (row, serde_json::to_string(&context).unwrap(), serde_json::to_string(&own).unwrap())
    }

    #[test]
    fn what_was_taken_apart_is_put_together_again() {
        let without = Activity { response: None, file: None, content: None, evaluated: None, ..sample() };
        for activity in [sample(), full(), without] {
            let (row, context, own) = stored(&activity);
            assert_eq!(Activity::from_stored(row, &context, None, &own).unwrap(), activity);
        }
    }

    /// The files of users have these: a member that changes its place would be read as another.
    #[test]
    fn what_is_stored_stays_what_it_is() {
        let own = r#"[["10.1.2.3",40000,"native","Mozilla/5.0 (X11)",["office"]],["GET","files.corp.test","/sites/hr/q3%20plan.xlsx","HTTP/1.1"],[200,"application/pdf","attachment"],["q3 plan.xlsx","xlsx",12345,"application/vnd.ms-excel","pdf"],[[["iban",3]],"too large"],[true,"attachment","says attachment",12345,"text/plain","zip",["a","b"],["g"],["t"],true]]"#;
        assert_eq!(stored(&full()).2, own);
        let short = r#"[["10.1.2.3",40000,"native","Mozilla/5.0 (X11)",[]],["GET","files.corp.test","/sites/hr/q3%20plan.xlsx","HTTP/1.1"],[200,"application/pdf","attachment"],["q3 plan.xlsx","xlsx",12345,"application/vnd.ms-excel",null],null,[true,"attachment","says attachment",12345]]"#;
        assert_eq!(stored(&sample()).2, short);
    }

    /// As the versions wrote them that named every member.
    #[test]
    fn objects_are_read_as_well() {
        let own = r#"{"client":{"address":"10.1.2.3","port":40000,"kind":"native","user_agent":"Mozilla/5.0 (X11)","locations":[]},"request":{"method":"GET","host":"files.corp.test","path":"/sites/hr/q3%20plan.xlsx","version":"HTTP/1.1"},"response":{"status":200,"mime":"application/pdf","disposition":"attachment"},"file":{"name":"q3 plan.xlsx","extension":"xlsx","size":12345,"mime":"application/vnd.ms-excel","type":null},"evaluated":{"download":true,"kind":"attachment","why":"says attachment","size":12345}}"#;
        let (row, context, _) = stored(&sample());
        assert_eq!(Activity::from_stored(row, &context, None, own).unwrap(), sample());
    }

    #[test]
    fn a_client_cannot_make_a_context_by_what_it_says() {
        let activity = sample();
        let context = |activity: &Activity| activity.clone().into_parts().1;
        let mut other = activity.clone();
        (other.client.port, other.decision.micros) = (1, 2);
        (other.client.user_agent, other.request.host) = (Some("another".into()), Some("elsewhere".into()));
        (other.request.method, other.request.path) = ("OTHER".into(), "/elsewhere".into());
        assert_eq!(context(&activity), context(&other));
        other.decision.enforced = !other.decision.enforced;
        assert_ne!(context(&activity), context(&other));
    }
}
