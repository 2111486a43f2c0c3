//! Policies: what they say, and what they decide for a session and a classified exchange.
//!
//! All policies that match apply and the strictest action wins; exclusion beats inclusion; report-only policies are
//! evaluated and reported, never enforced. Nothing here can fail once the policies are built.

mod circumstances;
mod condition;
mod content;
pub mod decision;
mod document;
mod evaluate;
mod existing;
mod explain;
pub mod failure_mode;
pub mod import;
mod index;
mod never;
mod parse;
mod rule;
mod standing;
mod true_type;
pub mod write;

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::FixedState;
use uuid::Uuid;

pub use circumstances::Circumstances;
pub use condition::{
    AppRule, ClientRule, Condition, DeviceRule, LocationRule, Match, Networks, Scope, Selector, UserRule,
};
pub use content::{Bodies, ContentFilter, WhenUnscanned};
pub use document::DocumentError;
pub use explain::{ConditionExplained, Explanation, PolicyExplained, RuleExplained};
use index::Index;
pub(crate) use parse::References;
pub use rule::{Control, FileFilter, Rule, RuleActivity, Subject};
pub use standing::{MAX_STANDING, Standing};
pub use true_type::TypeRule;

use crate::catalog::{App, Catalog};
use crate::diagnostic::{Diagnostic, SourceFile};

/// Most policies in a set.
pub const MAX_POLICIES: usize = 10_240;

/// One `[[policy]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    pub name: Arc<str>,
    pub state: State,
    pub users: Scope<UserRule>,
    pub apps: Scope<AppRule>,
    pub client_apps: Scope<ClientRule>,
    pub devices: Scope<DeviceRule>,
    pub locations: Scope<LocationRule>,
    /// Without one the policy neither steers nor blocks.
    pub control: Option<Control>,
    /// What the user reads instead of the standard text, where the rule does not say it.
    pub message: Option<Arc<str>>,
    /// File it stands in.
    pub path: Arc<str>,
    /// Line of its name, from 1.
    pub line: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    Enabled,
    ReportOnly,
    Disabled,
}

impl State {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Enabled => "enabled",
            Self::ReportOnly => "report-only",
            Self::Disabled => "disabled",
        }
    }
}

impl Policy {
    /// Whether it is evaluated at all: not disabled, and with a session control.
    pub fn in_force(&self) -> bool {
        match self.state {
            State::Enabled | State::ReportOnly => self.control.is_some(),
            State::Disabled => false,
        }
    }

    /// Whether it is in force and includes the app without excluding it.
    pub fn selects(&self, app: &App) -> bool {
        self.in_force()
            && matches!(self.apps.judge(|rule| rule.matches(&app.id)), Match::NotGiven | Match::Included(_))
    }
}

/// All policies of one configuration, indexed by what they look at. Immutable; a reload makes a new one.
#[derive(Debug, Clone, Default)]
pub struct PolicySet {
    policies: Vec<Policy>,
    index: Index,
    revision: u64,
    /// The texts it was read from.
    sources: Vec<SourceFile>,
    id: Uuid,
    /// Which bodies are looked at, by app, and of an app that the catalog no longer has but a session still carries.
    bodies: HashMap<Arc<str>, Bodies, FixedState>,
    other_bodies: Bodies,
}

impl PolicySet {
    /// Reads the files of `policies.d`, in the order given, against the catalog and the named locations.
    ///
    /// # Errors
    /// Everything wrong with all the files.
    pub fn build(
        sources: &[SourceFile],
        catalog: &Catalog,
        networks: &Networks,
    ) -> Result<Self, Vec<Diagnostic>> {
        let known = References { catalog, apps_complete: true, networks: Some(networks) };
        let (set, diagnostics) = Self::recover(sources, &known);
        if diagnostics.is_empty() { Ok(set) } else { Err(diagnostics) }
    }

    /// What can be built in spite of errors.
    pub(crate) fn recover(sources: &[SourceFile], known: &References<'_>) -> (Self, Vec<Diagnostic>) {
        let (policies, diagnostics) = parse::read_policies(sources, known);
        let (bodies, other_bodies) = content::bodies_by_app(&policies, known.catalog);
        let mut set = Self {
            index: Index::new(&policies),
            policies,
            sources: sources.to_vec(),
            bodies,
            other_bodies,
            ..Self::default()
        };
        if diagnostics.is_empty() {
            set.id = document::id_of(&set.document());
        }
        (set, diagnostics)
    }

    /// Numbers the set, so that records can say which one decided.
    #[must_use]
    pub fn with_revision(mut self, revision: u64) -> Self {
        self.revision = revision;
        self
    }

    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Names what the set says, whoever reads it and when: sets of the same [document](Self::document) have the same one.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// In the order of files and of their text.
    pub fn policies(&self) -> &[Policy] {
        &self.policies
    }

    pub fn get(&self, name: &str) -> Option<&Policy> {
        self.policies.iter().find(|policy| *policy.name == *name)
    }

    /// Whether an enabled or report-only policy with a session control includes the app and does not exclude it: then
    /// its connections are inspected.
    pub fn selects(&self, app: &App) -> bool {
        self.index.selects(&app.id)
    }

    /// Whether a policy that includes the app decides by what stands in bodies. Asked before a protocol is agreed on:
    /// they are looked at in HTTP/1.1 only, so such an app is offered nothing else. (Forms are looked at in both versions.)
    pub fn reads_bodies_of(&self, app: &App) -> bool {
        let bodies = self.bodies_of(app);
        bodies.any() || bodies.asks_true_types() || bodies.restricts_pages()
    }

    /// Which bodies the policies that include the app decide by.
    pub fn bodies_of(&self, app: &App) -> Bodies {
        self.bodies.get(&app.id).copied().unwrap_or(self.other_bodies)
    }

    /// Whether a policy that includes the app asks what files really are, so that the beginning of each is worth a look
    /// ([`Exchange::look_ahead`](crate::classify::Exchange::look_ahead)).
    pub fn asks_true_types(&self, app: &App) -> bool {
        self.bodies_of(app).asks_true_types()
    }
}

#[cfg(test)]
mod tests;
