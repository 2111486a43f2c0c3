//! What a record shares with no other, and how it is stored: as lists, whose places stand for the names of the members.

use serde::{Deserialize, Serialize, Serializer};

use super::text;
use super::{
    ClientFacts, ContentFacts, Evaluated, FileFacts, MAX_HOST, MAX_USER_AGENT, Observed, RequestFacts,
    ResponseFacts,
};

/// What is neither in the context nor, beside it, in [`Row`](super::Row). What a client can choose anew for each request is here.
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
        let file = self.file.as_ref().map(FileFacts::listed);
        let content = self.content.as_ref().map(ContentFacts::listed);
        let client = (address, port, kind.name(), user_agent, locations);
        let request = (method, host, path, version);
        (client, request, response, file, content, self.evaluated.as_ref().map(Listed)).serialize(to)
    }
}

impl FileFacts {
    pub(super) fn listed(&self) -> impl Serialize {
        let Self { name, extension, size, mime, file_type } = self;
        (name, extension, size, mime, file_type)
    }
}

impl ContentFacts {
    pub(super) fn listed(&self) -> impl Serialize {
        let Self { matches, unscanned } = self;
        let matches: Vec<_> = matches.iter().map(|found| (&found.detector, found.count)).collect();
        (matches, unscanned)
    }
}

struct Listed<'a>(&'a Evaluated);

impl Serialize for Listed<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let Evaluated { download, kind, why, size, mime, file_type, names, groups, tags, cut } = self.0;
        let (kind, lists) = (kind.name(), [names, groups, tags]);
        // What stands behind the size is seldom there, and has a default.
        if mime.is_none() && file_type.is_none() && lists.iter().all(|list| list.is_empty()) && !cut {
            return (download, kind, why, size).serialize(to);
        }
        (download, kind, why, size, mime, file_type, names, groups, tags, cut).serialize(to)
    }
}
