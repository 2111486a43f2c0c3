//! Session controls: what a policy that applies does to an activity.

use std::sync::Arc;

use super::decision::Action;
use super::true_type::TypeRule;
use crate::catalog::Glob;
use crate::classify::{ActivityType, Classification};

/// The session control of a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Control {
    BlockDownloads,
    MonitorOnly,
    /// Never empty.
    Custom(Vec<Rule>),
}

impl Control {
    pub const fn name(&self) -> &'static str {
        match self {
            Self::BlockDownloads => "block-downloads",
            Self::MonitorOnly => "monitor-only",
            Self::Custom(_) => "custom",
        }
    }

    /// Whether a rule asks what files really are.
    pub fn asks_true_types(&self) -> bool {
        matches!(self, Self::Custom(rules) if rules.iter().any(|rule| !rule.files.types.is_empty()))
    }

    /// The strictest action this control asks for; `None` when it leaves the activity alone.
    /// `seen` is told of every rule whether it matched.
    pub(super) fn judge(
        &self,
        subject: &Subject<'_>,
        mut seen: impl FnMut(&Rule, bool),
    ) -> Option<Judgement<'_>> {
        match self {
            Self::BlockDownloads => subject.class.download.then_some(Judgement::plain(Action::Block)),
            Self::MonitorOnly => Some(Judgement::plain(Action::Monitor)),
            Self::Custom(rules) => {
                let mut strictest: Option<&Rule> = None;
                for rule in rules {
                    let matched = rule.matches(subject);
                    seen(rule, matched);
                    if matched && strictest.is_none_or(|known| rule.action > known.action) {
                        strictest = Some(rule);
                    }
                }
                strictest.map(|rule| Judgement { action: rule.action, rule: Some(rule) })
            }
        }
    }
}

/// What a control asks for, and the rule that does.
#[derive(Debug, Clone, Copy)]
pub(super) struct Judgement<'p> {
    pub(super) action: Action,
    pub(super) rule: Option<&'p Rule>,
}

impl Judgement<'_> {
    fn plain(action: Action) -> Self {
        Self { action, rule: None }
    }
}

/// What rules look at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Subject<'a> {
    pub(super) class: &'a Classification,
    /// Size of the file in bytes, where the head announces it.
    pub(super) size: Option<u64>,
}

/// One `[[policy.session.rule]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// As written, or `rule 1` by its place.
    pub name: Arc<str>,
    /// Empty: every activity.
    pub activities: Vec<RuleActivity>,
    pub files: FileFilter,
    pub action: Action,
    /// What the user reads instead of the standard text.
    pub message: Option<Arc<str>>,
}

impl Rule {
    pub(super) fn matches(&self, subject: &Subject<'_>) -> bool {
        (self.activities.is_empty() || self.activities.iter().any(|activity| activity.covers(subject.class)))
            && self.files.matches(subject, self.action)
    }
}

/// What a rule's `activity` may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RuleActivity {
    Download,
    Upload,
    /// Attempts, successful or not.
    SignIn,
    Message,
    Print,
    View,
    /// Any use of the app at all.
    Access,
}

impl RuleActivity {
    pub(super) const CHOICES: [(&'static str, RuleActivity); 7] = [
        ("download", Self::Download),
        ("upload", Self::Upload),
        ("sign-in", Self::SignIn),
        ("message", Self::Message),
        ("print", Self::Print),
        ("view", Self::View),
        ("access", Self::Access),
    ];

    fn covers(self, class: &Classification) -> bool {
        match self {
            // The same answer as for block-downloads, whatever else the exchange is called.
            Self::Download => class.download,
            Self::Upload => class.activity == ActivityType::Upload,
            Self::SignIn => matches!(class.activity, ActivityType::SignIn | ActivityType::SignInFailed),
            Self::Message => class.activity == ActivityType::Message,
            Self::Print => class.activity == ActivityType::Print,
            Self::View => class.activity == ActivityType::View,
            Self::Access => true,
        }
    }
}

/// Which files a rule is about. Each part that is given must match; of a part's alternatives one suffices.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileFilter {
    pub extensions: Vec<Glob>,
    pub names: Vec<Glob>,
    pub mime: Vec<Glob>,
    /// What the content shows, where it was seen.
    pub types: Vec<TypeRule>,
    /// Bytes.
    pub larger_than: Option<u64>,
}

impl FileFilter {
    /// Every name that some client might save under is tested. A size that nobody announced counts as larger where
    /// the rule restricts and as not larger where it allows, so that leaving it out gains nothing.
    fn matches(&self, subject: &Subject<'_>, action: Action) -> bool {
        let names = || subject.class.filename.iter().chain(&subject.class.other_filenames);
        let any_name = |globs: &[Glob]| {
            // Clients drop closing dots and blanks when they save.
            let saved = |name: &String| {
                let name = name.trim_end_matches(['.', ' ']);
                globs.iter().any(|glob| glob.matches_name(name))
            };
            globs.is_empty() || names().any(saved)
        };
        let mime = || subject.class.mime.as_deref().unwrap_or_default();
        any_name(&self.extensions)
            && any_name(&self.names)
            && (self.types.is_empty() || self.types.iter().any(|rule| rule.matches(subject.class)))
            && (self.mime.is_empty() || self.mime.iter().any(|glob| glob.matches_name(mime())))
            && match (self.larger_than, subject.size) {
                (None, _) => true,
                (Some(limit), Some(size)) => size > limit,
                (Some(_), None) => action > Action::Allow,
            }
    }
}
