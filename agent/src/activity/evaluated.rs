//! What a decision looked at, so that the record alone suffices to ask policies again.

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::text;
use super::{Activity, ContentFacts, FileFacts, MAX_FILE_NAME, MAX_LISTED, MAX_NAME};
use crate::catalog::App;
use crate::classify::{Classification, FileType, Kind};
use crate::policy::Circumstances;
use crate::session::{Device, Session, User};

/// Most groups, and most tags, that a record keeps for asking again.
pub const MAX_GROUPS: usize = 1024;
/// Most names of a file that a record keeps. Clients have two ways to read a name, and some fall back to the URL.
const MAX_NAMES: usize = 8;

/// What policies looked at and no other field of the record says. Lists are empty where other fields say it all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evaluated {
    pub download: bool,
    /// Which evidence said what the exchange is, and in words.
    #[serde(with = "super::names::kind")]
    pub kind: Kind,
    pub why: Cow<'static, str>,
    /// Size of the file in bytes as it was known beforehand.
    pub size: Option<u64>,
    /// Media type, where the record is about no file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mime: Option<Arc<str>>,
    /// What the content is by its first octets, where they were seen and the record is about no file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_type: Option<Cow<'static, str>>,
    /// All names that some client might save under, where `file.name` is not the only one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<Arc<str>>,
    /// All groups, and all tags, where the lists of user and device are cut.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<Arc<str>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<Arc<str>>,
    /// Something was longer than the record may be: an answer that depends on it may differ.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cut: bool,
}

/// Why policies cannot be asked about a record again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotEvaluated {
    #[error("no policy was asked: it was refused before")]
    Refused,
    #[error("it was recorded by a version that did not keep what policies looked at")]
    Older,
}

impl Evaluated {
    pub(super) fn of(
        session: &Session,
        device: &Device,
        class: &Classification,
        size: Option<u64>,
        file: Option<&FileFacts>,
    ) -> Self {
        let recorded = file.and_then(|file| file.name.as_deref());
        let names = || class.filename.iter().chain(&class.other_filenames);
        let said = class.other_filenames.is_empty() && recorded == class.filename.as_deref();
        let mime_said = file.is_some_and(|file| file.mime.as_deref() == class.mime.as_deref());
        let (groups, tags) = (&session.user.groups, &device.tags);
        Self {
            download: class.download,
            kind: class.kind,
            why: text::words(class.reason.clone()),
            size,
            mime: class.mime.as_deref().filter(|_| !mime_said).map(|m| text::bounded(m, MAX_NAME).into()),
            file_type: class.file_type.filter(|_| file.is_none()).map(|known| known.name().into()),
            names: match said {
                true => Vec::new(),
                false => names().take(MAX_NAMES).map(|n| text::bounded(n, MAX_FILE_NAME).into()).collect(),
            },
            groups: all_if_cut(groups),
            tags: all_if_cut(tags),
            cut: groups.len() > MAX_GROUPS
                || tags.len() > MAX_GROUPS
                || names().count() > MAX_NAMES
                || names().any(|name| name.len() > MAX_FILE_NAME)
                || groups.iter().chain(tags).any(|word| word.len() > MAX_NAME)
                || class.mime.as_deref().is_some_and(|mime| mime.len() > MAX_NAME),
        }
    }
}

fn all_if_cut(words: &[Arc<str>]) -> Vec<Arc<str>> {
    if words.len() <= MAX_LISTED {
        return Vec::new();
    }
    words.iter().take(MAX_GROUPS).map(|word| text::shared(word, MAX_NAME)).collect()
}

impl Activity {
    /// What policies were asked about.
    ///
    /// # Errors
    /// None was asked, or the record does not say enough.
    pub fn circumstances(&self) -> Result<Circumstances, NotEvaluated> {
        let Some(evaluated) = &self.evaluated else {
            let older = self.device.reason.is_none();
            return Err(if older { NotEvaluated::Older } else { NotEvaluated::Refused });
        };
        let whole =
            |cut: &[Arc<str>], all: &[Arc<str>]| if all.is_empty() { cut.to_vec() } else { all.to_vec() };
        let file = self.file.as_ref();
        let mut names: Vec<String> = evaluated.names.iter().map(|name| name.to_string()).collect();
        if names.is_empty() {
            names.extend(file.and_then(|file| file.name.as_deref()).map(str::to_owned));
        }
        let mut names = names.into_iter();
        let said = file.and_then(|file| file.file_type.as_deref());
        let class = Classification {
            activity: self.kind,
            download: evaluated.download,
            filename: names.next(),
            other_filenames: names.collect(),
            mime: evaluated.mime.as_deref().or(file.and_then(|file| file.mime.as_deref())).map(str::to_owned),
            file_type: evaluated.file_type.as_deref().or(said).and_then(FileType::from_name),
            kind: evaluated.kind,
            reason: evaluated.why.clone(),
        };
        let user = User {
            uid: self.user.uid,
            name: self.user.name.clone(),
            groups: whole(&self.user.groups, &evaluated.groups),
        };
        let device = Device {
            id: self.device.id.clone(),
            compliant: self.device.compliant,
            reason: self.device.reason.clone().unwrap_or_default(),
            tags: whole(&self.device.tags, &evaluated.tags),
            os: self.device.os.clone(),
        };
        let app = App {
            id: self.app.id.clone(),
            name: self.app.name.clone(),
            suite: self.app.suite.clone(),
            category: self.app.category.clone(),
            ..App::default()
        };
        let (client, address) = (self.client.kind, Some(self.client.address));
        let mut asked =
            Circumstances::new(app.into(), user.into(), client, address, device, class, evaluated.size);
        asked.content = self.content.as_ref().map(ContentFacts::scan);
        asked.at_request = self.response.is_none();
        Ok(asked)
    }
}
