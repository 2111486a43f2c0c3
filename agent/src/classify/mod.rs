//! What an exchange is: which activity, download or not, with which file name and type, and why. Pure.

mod activity;
mod content_type;
mod media_type;
mod requester;
mod sniff;
#[cfg(test)]
mod tests;
mod verdict;

use std::borrow::Cow;

use crate::http::content_disposition::{ContentDisposition, display_name, percent_decode};
use crate::http::head::{RequestHead, ResponseHead};
use crate::session::ClientKind;
use content_type::Declared;

pub use requester::claimed_kind;

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
    /// A connection or request as such, where it was refused before it could be anything else.
    Access,
    /// An exchange that is no activity of its own: API calls, sub-resources, redirects.
    None,
}

impl ActivityType {
    pub const ALL: [ActivityType; 10] = [
        ActivityType::Download,
        ActivityType::Upload,
        ActivityType::SignIn,
        ActivityType::SignInFailed,
        ActivityType::Message,
        ActivityType::Share,
        ActivityType::Print,
        ActivityType::View,
        ActivityType::Access,
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
            ActivityType::Access => "access",
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

/// One request and its response, as far as classification looks at them.
#[derive(Debug, Clone, Copy)]
pub struct Exchange<'a> {
    pub request: &'a RequestHead,
    pub response: &'a ResponseHead,
    /// Host the request is for: lower case, no port, no trailing dot.
    pub host: &'a str,
    /// What the connecting process is, where that is known. It goes before everything the request claims.
    pub client: Option<ClientKind>,
    /// First octets of the response body as transferred, if they were looked at; empty when the body is.
    pub body_prefix: Option<&'a [u8]>,
}

impl<'a> Exchange<'a> {
    pub fn new(request: &'a RequestHead, response: &'a ResponseHead, host: &'a str) -> Self {
        Self { request, response, host, client: None, body_prefix: None }
    }

    /// How many octets of the body would make the answer better: zero where the heads suffice.
    pub fn look_ahead(&self) -> usize {
        let declared = Declared::of(self.response.fields());
        if verdict::wants_body(self, &declared) { sniff::SNIFF_LENGTH } else { 0 }
    }
}

/// Classifies an exchange. Cannot fail: what is not understood is taken for a download where a client may save it.
pub fn classify(exchange: &Exchange<'_>) -> Classification {
    let fields = exchange.response.fields();
    let disposition = ContentDisposition::parse(fields.get_all("content-disposition"));
    let declared = Declared::of(fields);
    let requester = requester::requester(exchange.request, exchange.client);
    let verdict = verdict::verdict(exchange, requester, &disposition, &declared);

    // A redirect has no content of its own, whatever its head says.
    let content = verdict.kind != Kind::Redirect;
    let mime = declared.essence().or(verdict.sniffed).filter(|_| content);
    let mut names =
        disposition.filename().into_iter().chain(disposition.other_filenames().iter().map(String::as_str));
    let mut filename = names.find_map(display_name).filter(|_| content);
    let mut other_filenames: Vec<String> = Vec::new();
    for name in names.filter_map(display_name).filter(|_| content) {
        if filename.as_ref() != Some(&name) && !other_filenames.contains(&name) {
            other_filenames.push(name);
        }
    }
    if filename.is_none() && verdict.download {
        filename = name_in_path(exchange.request.path());
    }
    Classification {
        activity: activity::activity(exchange, requester, verdict.download, mime),
        download: verdict.download,
        filename,
        other_filenames,
        mime: mime.map(str::to_owned),
        kind: verdict.kind,
        reason: verdict.reason,
    }
}

/// The last segment of a path, percent-decoded when that gives text.
fn name_in_path(path: &str) -> Option<String> {
    let segment = path.rsplit('/').next().unwrap_or_default();
    let decoded =
        String::from_utf8(percent_decode(segment.as_bytes())).unwrap_or_else(|_| segment.to_owned());
    display_name(&decoded)
}
