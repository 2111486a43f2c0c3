//! What many records of one client program have in common beside their context, and what is left of each then.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};

use super::{ClientFacts, ContentFacts, Evaluated, FileFacts, Own, RequestFacts, ResponseFacts};
use crate::classify::Kind;
use crate::session::ClientKind;

/// Mostly equal for requests of one program to one host that are answered alike. A client can make another one with each request,
/// by its user agent or the host that it asks for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Shape {
    #[serde(with = "super::names::client_kind")]
    kind: ClientKind,
    user_agent: Option<Arc<str>>,
    locations: Vec<Arc<str>>,
    method: Cow<'static, str>,
    host: Option<Arc<str>>,
    version: Cow<'static, str>,
    response: Option<ResponseFacts>,
    evaluated: Option<Judged>,
}

/// Of [`Evaluated`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Judged {
    download: bool,
    #[serde(with = "super::names::kind")]
    kind: Kind,
    why: Cow<'static, str>,
    mime: Option<Arc<str>>,
    file_type: Option<Cow<'static, str>>,
}

/// What [`Own`] says that neither the shape nor the row does. Written as a list, as [`Own`] is, with the same rule for what is
/// added; what is absent at the end is not written.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Rest {
    port: u16,
    path: Arc<str>,
    /// Of [`Evaluated`]; `None` too where that is absent.
    #[serde(default)]
    size: Option<u64>,
    #[serde(default)]
    file: Option<FileFacts>,
    #[serde(default)]
    content: Option<ContentFacts>,
    /// These, too, of [`Evaluated`]. Long where they are there at all.
    #[serde(default)]
    names: Vec<Arc<str>>,
    #[serde(default)]
    cut: bool,
    #[serde(default)]
    groups: Vec<Arc<str>>,
    #[serde(default)]
    tags: Vec<Arc<str>>,
}

impl Own {
    /// Without the client's address, which stands in a column.
    pub fn split(self) -> (Shape, Rest) {
        let Self { client, request, response, file, content, evaluated } = self;
        let ClientFacts { address: _, port, kind, user_agent, locations } = client;
        let RequestFacts { method, host, path, version } = request;
        let (mut size, mut cut) = (None, false);
        let [mut names, mut groups, mut tags] = [const { Vec::new() }; 3];
        let evaluated = evaluated.map(|evaluated| {
            let Evaluated { download, kind, why, mime, file_type, .. } = evaluated;
            (size, cut) = (evaluated.size, evaluated.cut);
            (names, groups, tags) = (evaluated.names, evaluated.groups, evaluated.tags);
            Judged { download, kind, why, mime, file_type }
        });
        let shape = Shape { kind, user_agent, locations, method, host, version, response, evaluated };
        (shape, Rest { port, path, size, file, content, names, cut, groups, tags })
    }

    /// What was split before.
    pub fn joined(address: IpAddr, shape: Shape, rest: Rest) -> Self {
        let Shape { kind, user_agent, locations, method, host, version, response, evaluated } = shape;
        let Rest { port, path, size, file, content, names, cut, groups, tags } = rest;
        Self {
            client: ClientFacts { address, port, kind, user_agent, locations },
            request: RequestFacts { method, host, path, version },
            response,
            file,
            content,
            evaluated: evaluated.map(|judged| {
                let Judged { download, kind, why, mime, file_type } = judged;
                Evaluated { download, kind, why, size, mime, file_type, names, groups, tags, cut }
            }),
        }
    }
}

impl Serialize for Rest {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let Self { port, path, size, file, content, names, cut, groups, tags } = self;
        let (file, content) =
            (file.as_ref().map(FileFacts::listed), content.as_ref().map(ContentFacts::listed));
        match (&file, &content) {
            _ if *cut || [names, groups, tags].iter().any(|list| !list.is_empty()) => {
                (port, path, size, file, content, names, cut, groups, tags).serialize(to)
            }
            (_, Some(content)) => (port, path, size, file, content).serialize(to),
            (Some(file), None) => (port, path, size, file).serialize(to),
            (None, None) => (port, path, size).serialize(to),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::activity::Activity;
    use crate::activity::tests::{full, sample};

    fn split(activity: &Activity) -> (Shape, Rest) {
        activity.clone().into_parts().2.split()
    }

    #[test]
    fn what_was_split_is_stored_and_joined_again() {
        let without = Activity { response: None, file: None, content: None, evaluated: None, ..sample() };
        let no_file = Activity { file: None, ..full() };
        let no_content = Activity { content: None, ..full() };
        for activity in [sample(), full(), without, no_file, no_content] {
            let (shape, rest) = split(&activity);
            let texts = (serde_json::to_string(&shape).unwrap(), serde_json::to_string(&rest).unwrap());
            let shape = serde_json::from_str(&texts.0).unwrap();
            let rest = serde_json::from_str(&texts.1).unwrap();
            let (row, context, own) = activity.clone().into_parts();
            assert_eq!(Own::joined(activity.client.address, shape, rest), own);
            assert_eq!(Activity::from_parts(row, context, own), activity);
        }
    }

    /// The files of users have these: a member that changes its place would be read as another.
    #[test]
    fn what_is_stored_stays_what_it_is() {
        let rest = |activity: &Activity| serde_json::to_string(&split(activity).1).unwrap();
        let all = r#"[40000,"/sites/hr/q3%20plan.xlsx",12345,["q3 plan.xlsx","xlsx",12345,"application/vnd.ms-excel","pdf"],[[["iban",3]],"too large"],["a","b"],true,["g"],["t"]]"#;
        assert_eq!(rest(&full()), all);
        let short = r#"[40000,"/sites/hr/q3%20plan.xlsx",12345,["q3 plan.xlsx","xlsx",12345,"application/vnd.ms-excel",null]]"#;
        assert_eq!(rest(&sample()), short);
        let shape = r#"{"kind":"native","user_agent":"Mozilla/5.0 (X11)","locations":["office"],"method":"GET","host":"files.corp.test","version":"HTTP/1.1","response":{"status":200,"mime":"application/pdf","disposition":"attachment"},"evaluated":{"download":true,"kind":"attachment","why":"says attachment","mime":"text/plain","file_type":"zip"}}"#;
        assert_eq!(serde_json::to_string(&split(&full()).0).unwrap(), shape);
    }

    #[test]
    fn requests_that_differ_in_what_is_left_have_one_shape() {
        let activity = sample();
        let mut other = activity.clone();
        (other.client.port, other.request.path) = (1, "/elsewhere".into());
        (other.client.address, other.file) = ("10.9.9.9".parse().unwrap(), None);
        assert_eq!(split(&activity).0, split(&other).0);
        other.client.user_agent = Some("another".into());
        assert_ne!(split(&activity).0, split(&other).0);
    }
}
