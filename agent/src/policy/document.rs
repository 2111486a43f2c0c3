//! A policy set as one text that says all of it, so that what was decided can be asked again when files, catalog and
//! networks have changed.

use std::collections::BTreeMap;
use std::sync::Arc;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{AppRule, LocationRule, Networks, PolicySet, References};
use crate::catalog::Catalog;
use crate::diagnostic::SourceFile;

/// Changes when a reader of the old form would misread the new one.
const FORMAT: u32 = 1;
/// Name space of the ids of policy sets: any constant will do, as long as it stays.
const IDS: Uuid = Uuid::from_u128(0x706f_7274_6375_6c6c_6973_0070_6f6c_6963);

/// The texts of the policies, and what the words in them stood for.
#[derive(Debug, Serialize, Deserialize)]
struct Document {
    format: u32,
    files: Vec<File>,
    /// Each app, alias or suite that is named: the ids it stood for.
    apps: BTreeMap<Arc<str>, Vec<Arc<str>>>,
    /// Each named location that is named.
    networks: BTreeMap<Arc<str>, Vec<String>>,
}

#[derive(Debug, Serialize, Deserialize)]
struct File {
    path: Arc<str>,
    text: Arc<str>,
}

/// Why a document cannot be read back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    #[error("not a policy set: {0}")]
    Malformed(String),
    #[error("a policy set of form {0}, which this version does not read")]
    Format(u32),
    #[error("a policy set that this version reads otherwise: {0}")]
    Policies(String),
}

/// RFC 9562 section 5.5: the same text, the same id.
pub(super) fn id_of(document: &str) -> Uuid {
    Uuid::new_v5(&IDS, document.as_bytes())
}

impl PolicySet {
    /// JSON that [`from_document`](Self::from_document) reads back to a set that decides alike, whatever the catalog
    /// and the networks are by then.
    pub fn document(&self) -> String {
        let (mut apps, mut networks) = (BTreeMap::new(), BTreeMap::new());
        for policy in &self.policies {
            for selector in policy.apps.include().iter().chain(policy.apps.exclude()) {
                if let AppRule::Ids(ids) = &selector.rule {
                    apps.insert(selector.text.clone(), ids.to_vec());
                }
            }
            for selector in policy.locations.include().iter().chain(policy.locations.exclude()) {
                if let LocationRule::Network(nets) = &selector.rule {
                    networks.insert(selector.text.clone(), nets.iter().map(IpNet::to_string).collect());
                }
            }
        }
        let files = self.sources.iter();
        let files = files.map(|file| File { path: file.path.clone(), text: file.text.clone() }).collect();
        let document = Document { format: FORMAT, files, apps, networks };
        serde_json::to_string(&document).unwrap_or_default()
    }

    /// # Errors
    /// The text is none of ours, or of another version.
    pub fn from_document(text: &str) -> Result<Self, DocumentError> {
        let malformed = |error: &dyn std::fmt::Display| DocumentError::Malformed(error.to_string());
        let document: Document = serde_json::from_str(text).map_err(|error| malformed(&error))?;
        if document.format != FORMAT {
            return Err(DocumentError::Format(document.format));
        }
        let mut networks = Networks::new();
        for (name, nets) in document.networks {
            let nets: Result<Vec<IpNet>, _> = nets.iter().map(|net| net.parse()).collect();
            networks.insert(name, nets.map_err(|error| malformed(&error))?.into());
        }
        let catalog = Catalog::of_words(&document.apps);
        let sources: Vec<SourceFile> =
            document.files.into_iter().map(|file| SourceFile::new(file.path, file.text)).collect();
        let known = References { catalog: &catalog, apps_complete: true, networks: Some(&networks) };
        let (set, diagnostics) = Self::recover(&sources, &known);
        match diagnostics.first() {
            None => Ok(Self { id: id_of(text), ..set }),
            Some(first) => Err(DocumentError::Policies(first.to_string())),
        }
    }
}
