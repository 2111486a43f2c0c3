//! Who has read the notice that an app is monitored: asked by every worker, kept in the state directory.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use super::enforce::Answer;
use crate::config::Notice;
use crate::http::head::RequestHead;
use crate::notice::{Asked, Told, behind};
use crate::session::{ClientKind, Session};
use crate::state_file;

/// In the state directory: who sees no notices, until when.
const FILE: &str = "notices-hidden.json";

/// Locked for pages that users open while notices are shown, and for nothing else.
pub struct Notices {
    told: Mutex<Told>,
    path: PathBuf,
}

impl Notices {
    /// With what an earlier agent kept. A damaged file means that notices are shown again.
    pub fn open(state: &Path) -> Self {
        let path = state.join(FILE);
        let told = match fs::read_to_string(&path) {
            Ok(text) => Told::from_text(&text).unwrap_or_else(|| {
                tracing::warn!("{} is damaged: hidden notices are shown again", path.display());
                Told::default()
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Told::default(),
            Err(error) => {
                tracing::warn!("cannot read {}: {error}: hidden notices are shown again", path.display());
                Told::default()
            }
        };
        Self { told: Mutex::new(told), path }
    }

    /// What the client gets in place of the page it asked for, if anything.
    pub(super) fn answer(
        &self,
        notice: &Notice,
        session: &Session,
        request: &RequestHead,
        now: Timestamp,
    ) -> Option<Answer> {
        let (whom, app) = (session.whom(), &session.app);
        match Asked::of(request, session.kind == ClientKind::Browser)? {
            Asked::Page => self
                .told()
                .is_due(whom, &app.id, now)
                .then(|| Answer::notice(notice.text.as_deref(), &app.name, &behind(request))),
            Asked::Continue { then, hide } => {
                let mut told = self.told();
                told.read(whom, &app.id, now);
                if hide {
                    told.hide(whom, now);
                    self.keep(told.to_text());
                }
                Some(Answer::see_other(&then))
            }
        }
    }

    /// Off the data path. What cannot be written holds until the agent ends.
    fn keep(&self, text: String) {
        let path = self.path.clone();
        tokio::task::spawn_blocking(move || {
            if let Err(error) = state_file::replace(&path, &text) {
                tracing::warn!("cannot write {}: {error}", path.display());
            }
        });
    }

    /// What is held is whole after every step, also after one that panicked.
    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
