//! What an exchange is: which activity, download or not, with which file name and type, and why. Pure.

use std::borrow::Cow;

/// The kinds of activity that are recorded and that policies name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ActivityType {
    Download,
    Upload,
    SignIn,
    SignInFailed,
    Message,
    Share,
    Print,
    View,
    /// An exchange that is no activity of its own: API calls, sub-resources, redirects.
    None,
}

impl ActivityType {
    pub const ALL: [ActivityType; 9] = [
        ActivityType::Download,
        ActivityType::Upload,
        ActivityType::SignIn,
        ActivityType::SignInFailed,
        ActivityType::Message,
        ActivityType::Share,
        ActivityType::Print,
        ActivityType::View,
        ActivityType::None,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            ActivityType::Download => "download",
            ActivityType::Upload => "upload",
            ActivityType::SignIn => "sign-in",
            ActivityType::SignInFailed => "sign-in-failed",
            ActivityType::Message => "message",
            ActivityType::Share => "share",
            ActivityType::Print => "print",
            ActivityType::View => "view",
            ActivityType::None => "none",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|t| t.name() == name)
    }
}

/// Which evidence decided, in the words of the interface contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    Attachment,
    Mime,
    Sniff,
    RequestSignal,
    Fetch,
    Range,
    Redirect,
    Subresource,
    Viewer,
    Preview,
    Api,
    Error,
}

impl Kind {
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Attachment => "attachment",
            Kind::Mime => "mime",
            Kind::Sniff => "sniff",
            Kind::RequestSignal => "request-signal",
            Kind::Fetch => "fetch",
            Kind::Range => "range",
            Kind::Redirect => "redirect",
            Kind::Subresource => "subresource",
            Kind::Viewer => "viewer",
            Kind::Preview => "preview",
            Kind::Api => "api",
            Kind::Error => "error",
        }
    }
}

/// The answer for one exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Classification {
    pub activity: ActivityType,
    pub download: bool,
    /// The name a client would save under: control characters and path separators already replaced for display.
    pub filename: Option<String>,
    /// Other names that some browser derives from the same headers; policies on names test these too.
    pub other_filenames: Vec<String>,
    /// Media type essence, lower case, for example `application/pdf`.
    pub mime: Option<String>,
    pub kind: Kind,
    pub reason: Cow<'static, str>,
}
