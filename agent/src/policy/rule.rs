//! Session controls: what a policy that applies does to an activity.

use std::sync::Arc;

use super::content::ContentFilter;
use super::decision::Action;
use super::true_type::TypeRule;
use crate::catalog::Glob;
use crate::classify::{ActivityType, Classification};
use crate::detect::scan::Scan;

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

    /// The strictest action it can ask for, whatever the activity.
    pub(super) fn ceiling(&self) -> Action {
        match self {
            Self::BlockDownloads => Action::Block,
            Self::MonitorOnly => Action::Monitor,
            Self::Custom(rules) => rules.iter().map(|rule| rule.action).max().unwrap_or(Action::Allow),
        }
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
pub struct Subject<'a> {
    pub(super) class: &'a Classification,
    /// Size of the file in bytes, where the head announces it.
    pub(super) size: Option<u64>,
    pub(super) content: Option<&'a Scan>,
    pub(super) stage: Stage,
}

/// What of an exchange has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// The origin has seen nothing. What only a response tells is not known, and not assumed.
    Request,
    Response,
}

impl<'a> Subject<'a> {
    /// An exchange with its response. `size` is the size of the file in bytes where a head announces it.
    pub const fn new(class: &'a Classification, size: Option<u64>) -> Self {
        Self { class, size, content: None, stage: Stage::Response }
    }

    /// The same with what was found in its bodies; `None` where none was looked at.
    #[must_use]
    pub const fn with_content(self, content: Option<&'a Scan>) -> Self {
        Self { content, ..self }
    }

    /// A request before it is sent on: its class is what the request alone says.
    #[must_use]
    pub const fn at_request(self) -> Self {
        Self { stage: Stage::Request, ..self }
    }
}

/// One `[[policy.session.rule]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// As written, or `rule 1` by its place.
    pub name: Arc<str>,
    /// Empty: every activity.
    pub activities: Vec<RuleActivity>,
    pub files: FileFilter,
    pub content: Option<ContentFilter>,
    pub action: Action,
    /// What the user reads instead of the standard text.
    pub message: Option<Arc<str>>,
}

impl Rule {
    pub(super) fn matches(&self, subject: &Subject<'_>) -> bool {
        self.parts(subject).all(|(_, matched)| matched)
    }

    /// Each part by its key, and whether it matches; asked one by one.
    pub(super) fn parts(&self, subject: &Subject<'_>) -> impl Iterator<Item = (&'static str, bool)> {
        const PARTS: [&str; 8] = [
            "request",
            "activity",
            "files.extensions",
            "files.names",
            "files.mime",
            "files.types",
            "files.larger_than",
            "content",
        ];
        PARTS.into_iter().enumerate().map(move |(index, part)| {
            let matched = match index {
                0 => self.is_due(subject),
                1 => {
                    let covers = |activity: &RuleActivity| activity.covers(subject.class);
                    self.activities.is_empty() || self.activities.iter().any(covers)
                }
                2 => self.files.any_name(&self.files.extensions, subject),
                3 => self.files.any_name(&self.files.names, subject),
                4 => self.files.is_mime(subject),
                5 => self.files.is_type(subject),
                6 => self.files.is_larger(subject, self.action),
                _ => self.content.as_ref().is_none_or(|content| content.matches(subject.content)),
            };
            (part, matched)
        })
    }

    /// Before the response a rule is about what the request does, or carries.
    fn is_due(&self, subject: &Subject<'_>) -> bool {
        subject.stage == Stage::Response
            || self.content.is_some()
            || subject.class.activity != ActivityType::None
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
    /// In pages of the app, as is printing.
    Copy,
    Cut,
    Paste,
    /// Any use of the app at all.
    Access,
}

impl RuleActivity {
    pub(super) const CHOICES: [(&'static str, RuleActivity); 10] = [
        (Self::Download.name(), Self::Download),
        (Self::Upload.name(), Self::Upload),
        (Self::SignIn.name(), Self::SignIn),
        (Self::Message.name(), Self::Message),
        (Self::Print.name(), Self::Print),
        (Self::View.name(), Self::View),
        (Self::Copy.name(), Self::Copy),
        (Self::Cut.name(), Self::Cut),
        (Self::Paste.name(), Self::Paste),
        (Self::Access.name(), Self::Access),
    ];

    /// The word in a policy's text.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Download => "download",
            Self::Upload => "upload",
            Self::SignIn => "sign-in",
            Self::Message => "message",
            Self::Print => "print",
            Self::View => "view",
            Self::Copy => "copy",
            Self::Cut => "cut",
            Self::Paste => "paste",
            Self::Access => "access",
        }
    }

    pub(super) fn covers(self, class: &Classification) -> bool {
        match self {
            // The same answer as for block-downloads, whatever else the exchange is called.
            Self::Download => class.download,
            Self::Upload => class.activity == ActivityType::Upload,
            Self::SignIn => matches!(class.activity, ActivityType::SignIn | ActivityType::SignInFailed),
            Self::Message => class.activity == ActivityType::Message,
            Self::Print => class.activity == ActivityType::Print,
            Self::View => class.activity == ActivityType::View,
            Self::Copy => class.activity == ActivityType::Copy,
            Self::Cut => class.activity == ActivityType::Cut,
            Self::Paste => class.activity == ActivityType::Paste,
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
    /// Every name that some client might save under is tested. Clients drop closing dots and blanks when they save.
    fn any_name(&self, globs: &[Glob], subject: &Subject<'_>) -> bool {
        let mut names = subject.class.filename.iter().chain(&subject.class.other_filenames);
        let saved = |name: &String| {
            let name = name.trim_end_matches(['.', ' ']);
            globs.iter().any(|glob| glob.matches_name(name))
        };
        globs.is_empty() || names.any(saved)
    }

    fn is_mime(&self, subject: &Subject<'_>) -> bool {
        let mime = subject.class.mime.as_deref().unwrap_or_default();
        self.mime.is_empty() || self.mime.iter().any(|glob| glob.matches_name(mime))
    }

    fn is_type(&self, subject: &Subject<'_>) -> bool {
        self.types.is_empty() || self.types.iter().any(|rule| rule.matches(subject.class))
    }

    /// A size that nobody announced counts as larger where the rule restricts and as not larger where it allows, so that
    /// leaving it out gains nothing.
    fn is_larger(&self, subject: &Subject<'_>, action: Action) -> bool {
        match (self.larger_than, subject.size) {
            (None, _) => true,
            (Some(limit), Some(size)) => size > limit,
            (Some(_), None) => action > Action::Allow,
        }
    }
}
