//! What a record shares with no other, and how it is stored: as lists, whose places stand for the names of the members.

use jiff::Timestamp;
use serde::ser::{SerializeTuple, Serializer};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::text;
use super::{
    ClientFacts, ContentFacts, Evaluated, FileFacts, MAX_HOST, MAX_USER_AGENT, Observed, RequestFacts,
    ResponseFacts, TransferFacts,
};
use crate::classify::ActivityType;

/// What is neither in the context nor, beside it, in [`Row`]. What a client can choose anew for each request is here.
///
/// Written as a list of lists, in the order of the members and of theirs: the names would be half of a record. Read from that and
/// from the objects that were written before, which is what serde makes of a struct; so a member that is added goes to the end of
/// its struct, with a default.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Own {
    pub client: ClientFacts,
    pub request: RequestFacts,
    pub response: Option<ResponseFacts>,
    pub file: Option<FileFacts>,
    pub content: Option<ContentFacts>,
    pub evaluated: Option<Evaluated>,
}

/// What is in neither of the texts.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    pub id: Uuid,
    /// In whole microseconds.
    pub time: Timestamp,
    pub kind: ActivityType,
    /// [`DecisionFacts::micros`](super::DecisionFacts::micros)
    pub micros: u64,
    pub transfer: Option<TransferFacts>,
}

impl Observed<'_> {
    /// `id` and `time` as in [`Activity::new`](super::Activity::new).
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

impl Own {
    pub fn of(observed: &Observed<'_>) -> Self {
        let Observed { session, device, request, response, classification, size, decision, outcome, .. } =
            *observed;
        let address = session.location.0.to_canonical();
        let locations =
            observed.networks.iter().filter(|(_, nets)| nets.iter().any(|n| n.contains(&address)));
        let file = FileFacts::of(request, response, classification, outcome.file_size);
        let asked = decision.set().is_some();
        Self {
            client: ClientFacts {
                address,
                port: session.client.0.port(),
                kind: session.kind,
                user_agent: request.fields().get("user-agent").map(|v| text::lossy(v, MAX_USER_AGENT)),
                locations: text::list(locations.map(|(name, _)| name)),
            },
            request: RequestFacts {
                method: text::method(request.method()),
                host: request.host().map(|h| text::bounded(h, MAX_HOST).into()),
                path: text::path(request.path()),
                version: request.version().name().into(),
            },
            response: response.map(ResponseFacts::from_head),
            evaluated: asked.then(|| Evaluated::of(session, device, classification, size, file.as_ref())),
            file,
            content: outcome.content.map(ContentFacts::of),
        }
    }
}

impl Serialize for Own {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let ClientFacts { address, port, kind, user_agent, locations } = &self.client;
        let RequestFacts { method, host, path, version } = &self.request;
        let response = self
            .response
            .as_ref()
            .map(|ResponseFacts { status, mime, disposition }| (status, mime, disposition));
        let file = self.file.as_ref().map(|FileFacts { name, extension, size, mime, file_type }| {
            (name, extension, size, mime, file_type)
        });
        let content = self.content.as_ref().map(|ContentFacts { matches, unscanned }| {
            let matches: Vec<_> = matches.iter().map(|found| (&found.detector, found.count)).collect();
            (matches, unscanned)
        });
        let mut list = to.serialize_tuple(6)?;
        list.serialize_element(&(address, port, kind.name(), user_agent, locations))?;
        list.serialize_element(&(method, host, path, version))?;
        list.serialize_element(&response)?;
        list.serialize_element(&file)?;
        list.serialize_element(&content)?;
        list.serialize_element(&self.evaluated.as_ref().map(Listed))?;
        list.end()
    }
}

struct Listed<'a>(&'a Evaluated);

impl Serialize for Listed<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let Evaluated { download, kind, why, size, mime, file_type, names, groups, tags, cut } = self.0;
        let said = (download, kind.name(), why, size);
        // The rest is seldom there, and has a default.
        let lists = [names, groups, tags];
        if mime.is_none() && file_type.is_none() && lists.iter().all(|list| list.is_empty()) && !cut {
            return said.serialize(to);
        }
        let (download, kind, why, size) = said;
        (download, kind, why, size, mime, file_type, names, groups, tags, cut).serialize(to)
    }
}
