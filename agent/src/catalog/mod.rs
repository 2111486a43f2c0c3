//! The app catalog: which host names belong to which cloud app, which suite it is part of, what its activities look like.

use std::sync::Arc;

/// One cloud app, built in or from `apps.d`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct App {
    pub id: Arc<str>,
    pub name: Arc<str>,
    pub suite: Option<Arc<str>>,
    pub category: Option<Arc<str>>,
    /// Host patterns: exact names and `*.suffix` (every name below), lower case.
    pub domains: Vec<HostPattern>,
    /// TCP ports the app is reached on.
    pub ports: Vec<u16>,
}

/// `files.corp.test` (exact) or `*.corp.test` (every name below, not the name itself).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum HostPattern {
    Exact(Arc<str>),
    Below(Arc<str>),
}
