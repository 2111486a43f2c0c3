//! The app catalog: which host names belong to which cloud app, which suite it is part of, what its activities look like.

mod activity_rule;
mod build;
mod glob;
mod parse;
mod pattern;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

pub use activity_rule::{ActivityRule, Asked, QueryParameter};
pub use glob::{Glob, GlobError, MAX_GLOB};
pub use pattern::{HostMap, HostPattern, HostPatternError};

use crate::diagnostic::{Diagnostic, SourceFile};

/// One cloud app, built in or from `apps.d`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct App {
    pub id: Arc<str>,
    pub name: Arc<str>,
    pub suite: Option<Arc<str>>,
    pub category: Option<Arc<str>>,
    /// Host patterns: exact names and `*.suffix` (every name below), lower case.
    pub domains: Vec<HostPattern>,
    /// TCP ports the app is reached on.
    pub ports: Vec<u16>,
    /// Other ids by which policies may name this app: products that share its host names.
    pub aliases: Vec<Arc<str>>,
    pub activities: Vec<ActivityRule>,
    /// Storage to which other apps redirect for their files. What they lead to counts as theirs.
    pub redirect_target: bool,
}

/// Ports of an app that names none.
pub const DEFAULT_PORTS: [u16; 2] = [443, 80];
/// Most apps in a catalog. The kernel tables hold the index in 16 bits.
pub const MAX_APPS: usize = 4096;
/// Most host patterns in a catalog.
pub const MAX_PATTERNS: usize = 2_000_000;

impl App {
    /// The rule that says what a request is: of those that match the one that fixes most; between equals the activity
    /// that is listed first in [`ActivityType::ALL`](crate::classify::ActivityType::ALL), so a download stays one.
    pub fn activity(&self, asked: &Asked<'_>) -> Option<&ActivityRule> {
        self.activities
            .iter()
            .filter(|rule| rule.matches(asked))
            .max_by_key(|rule| (rule.specificity(), std::cmp::Reverse(rule.activity)))
    }
}

/// Place of an app in [`Catalog::apps`]: stable within one catalog, not across reloads.
pub type AppIndex = u16;

/// All apps of one configuration. Immutable; a reload makes a new one.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    apps: Vec<Arc<App>>,
    hosts: HostMap<AppIndex>,
    /// Ids and aliases.
    ids: HashMap<Arc<str>, AppIndex>,
    suites: BTreeMap<Arc<str>, Vec<AppIndex>>,
}

impl Catalog {
    /// The built-in apps alone.
    ///
    /// # Panics
    /// Never in a released build: a test reads the same constant text.
    pub fn builtin() -> Self {
        Self::build(&[]).expect("the built-in catalog is checked by a test")
    }

    /// The built-in apps and the additions of `apps.d`, in the order given.
    ///
    /// # Errors
    /// Everything wrong with all the files.
    pub fn build(additions: &[SourceFile]) -> Result<Self, Vec<Diagnostic>> {
        let recovered = Self::recover(additions);
        if recovered.diagnostics.is_empty() { Ok(recovered.catalog) } else { Err(recovered.diagnostics) }
    }

    /// A catalog without hosts in which each word stands for the apps it is listed with: an app, an alias or a suite.
    pub(crate) fn of_words(words: &BTreeMap<Arc<str>, Vec<Arc<str>>>) -> Self {
        let mut catalog = Self::default();
        for (word, ids) in words {
            for id in ids {
                let next = AppIndex::try_from(catalog.apps.len()).unwrap_or(AppIndex::MAX);
                let index = *catalog.ids.entry(id.clone()).or_insert(next);
                if index == next {
                    let app = App { id: id.clone(), name: id.clone(), ..App::default() };
                    catalog.apps.push(Arc::new(app));
                }
                catalog.suites.entry(word.clone()).or_default().push(index);
            }
        }
        catalog
    }

    /// What can be built in spite of errors, so that the policies can be checked against it too.
    pub(crate) fn recover(additions: &[SourceFile]) -> build::Recovered {
        build::recover(additions)
    }

    /// The app that a host name belongs to: the most specific pattern wins. Any case; no port.
    pub fn lookup(&self, host: &str) -> Option<&Arc<App>> {
        self.apps.get(usize::from(*self.hosts.get(host)?))
    }

    /// Like [`lookup`](Self::lookup), for the tables of the kernel.
    pub fn lookup_index(&self, host: &str) -> Option<AppIndex> {
        self.hosts.get(host).copied()
    }

    /// Whether a pattern is this name itself.
    pub fn names_exactly(&self, host: &str) -> bool {
        self.hosts.has_exactly(host)
    }

    /// In index order: the built-in ones first, then those of `apps.d`.
    pub fn apps(&self) -> &[Arc<App>] {
        &self.apps
    }

    /// By id or alias.
    pub fn app(&self, id: &str) -> Option<&Arc<App>> {
        self.apps.get(usize::from(self.index_of(id)?))
    }

    /// By id or alias.
    pub fn index_of(&self, id: &str) -> Option<AppIndex> {
        self.ids.get(id).copied()
    }

    /// The members of a suite, in index order; empty for an unknown suite.
    pub fn suite(&self, id: &str) -> impl Iterator<Item = &Arc<App>> {
        self.suites.get(id).into_iter().flatten().filter_map(|index| self.apps.get(usize::from(*index)))
    }

    /// In order of their ids.
    pub fn suites(&self) -> impl Iterator<Item = &Arc<str>> {
        self.suites.keys()
    }

    /// Every word by which a policy may name apps: ids, aliases, suites. No order.
    pub fn selectable(&self) -> impl Iterator<Item = &str> + Clone {
        self.ids.keys().chain(self.suites.keys()).map(|id| &**id)
    }

    /// Every host pattern with the app it leads to.
    pub fn domains(&self) -> impl Iterator<Item = (&HostPattern, AppIndex)> {
        self.apps
            .iter()
            .zip(0..)
            .flat_map(|(app, index): (_, AppIndex)| app.domains.iter().map(move |pattern| (pattern, index)))
    }

    /// The fewest DNS names that permit every monitored host in a name constraint (RFC 5280 section 4.2.1.10: a name
    /// permits itself and everything below). Sorted from the top-level domain down.
    pub fn suffixes(&self) -> Vec<Arc<str>> {
        suffixes(self.domains().map(|(pattern, _)| pattern))
    }
}

/// [`Catalog::suffixes`] over any patterns, for example those of the selected apps alone.
pub fn suffixes<'a>(patterns: impl Iterator<Item = &'a HostPattern>) -> Vec<Arc<str>> {
    let mut reversed: Vec<(Vec<u8>, &Arc<str>)> = patterns
        .map(|pattern| (pattern.name().bytes().rev().chain(*b".").collect(), pattern.name()))
        .collect();
    reversed.sort();
    let mut kept: Vec<(Vec<u8>, Arc<str>)> = Vec::new();
    for (key, name) in reversed {
        if !kept.last().is_some_and(|(above, _)| key.starts_with(above)) {
            kept.push((key, name.clone()));
        }
    }
    kept.into_iter().map(|(_, name)| name).collect()
}

#[cfg(test)]
mod tests;
