//! What an exchange is: which activity, download or not, with which file name and type, and why. Pure.

mod activity;
mod content_type;
mod file_name;
mod file_type;
mod first_bytes;
mod form;
mod look_ahead;
mod media_type;
pub mod redirect;
mod request;
mod requester;
mod sniff;
#[cfg(test)]
mod tests;
mod verdict;

use std::borrow::Cow;

use crate::catalog::App;
use crate::http::content_disposition::ContentDisposition;
use crate::http::head::{RequestHead, ResponseHead};
use crate::session::ClientKind;
use content_type::Declared;

pub use file_name::is_named;
pub use file_type::{FileGroup, FileType};
use first_bytes::Beginning;
pub use first_bytes::{FirstBytes, Further, MAX_LONG_LOOK, MAX_LOOK_AHEAD, fuzz_first_bytes};
pub use form::{Form, MAX_FORM, fuzz_form, is_form};
pub use request::{classify_request, no_answer};
pub use requester::{claimed_kind, opens_page};

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
    /// Of what a page shows, in the browser.
    Copy,
    Cut,
    /// Into a page, in the browser.
    Paste,
    /// A connection or request as such, where it was refused before it could be anything else.
    Access,
    /// An exchange that is no activity of its own: API calls, sub-resources, redirects.
    None,
}

impl ActivityType {
    pub const ALL: [ActivityType; 13] = [
        ActivityType::Download,
        ActivityType::Upload,
        ActivityType::SignIn,
        ActivityType::SignInFailed,
        ActivityType::Message,
        ActivityType::Share,
        ActivityType::Print,
        ActivityType::View,
        ActivityType::Copy,
        ActivityType::Cut,
        ActivityType::Paste,
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
            ActivityType::Copy => "copy",
            ActivityType::Cut => "cut",
            ActivityType::Paste => "paste",
            ActivityType::Access => "access",
            ActivityType::None => "none",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|t| t.name() == name)
    }
}

/// Which evidence decided. The words are those of the answers of `portcullis classify`.
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
    /// Shown by the browser itself.
    Render,
    /// Shown in the browser's viewer (PDF).
    Viewer,
    Preview,
    /// Something done in a page, as the app's rules know it, answered with data.
    Page,
    Api,
    Error,
}

impl Kind {
    pub const ALL: [Kind; 14] = [
        Kind::Attachment,
        Kind::Mime,
        Kind::Sniff,
        Kind::RequestSignal,
        Kind::Fetch,
        Kind::Range,
        Kind::Redirect,
        Kind::Subresource,
        Kind::Render,
        Kind::Viewer,
        Kind::Preview,
        Kind::Page,
        Kind::Api,
        Kind::Error,
    ];

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

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
            Kind::Render => "render",
            Kind::Viewer => "viewer",
            Kind::Preview => "preview",
            Kind::Page => "page",
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
    /// What the content is, where its first octets were seen.
    pub file_type: Option<FileType>,
    pub kind: Kind,
    pub reason: Cow<'static, str>,
}

/// What a verdict goes by, besides who asks.
#[derive(Debug, Clone, Copy)]
struct Evidence<'a> {
    disposition: &'a ContentDisposition,
    declared: &'a Declared<'a>,
    look: Look<'a>,
    /// What the app's rules call the request.
    rule: Option<ActivityType>,
}

/// What is known of the content.
#[derive(Debug, Clone, Copy)]
enum Look<'a> {
    /// Nothing: nobody looked, or too little came.
    Unseen,
    /// Its beginning.
    Start(Seen<'a>),
    /// Octets from within a file, where they came and no coding is on them.
    Middle(Option<&'a [u8]>),
    /// Its content codings keep it from being looked at, as no ordinary response's do.
    Hidden,
}

/// The beginning of the content.
#[derive(Debug, Clone, Copy)]
struct Seen<'a> {
    /// Content codings undone.
    octets: &'a [u8],
    /// They are all of it.
    complete: bool,
    file_type: FileType,
}

impl<'a> Look<'a> {
    fn start(self) -> Option<Seen<'a>> {
        if let Look::Start(seen) = self { Some(seen) } else { None }
    }

    /// As much of the content as there is to see, from wherever it is.
    fn octets(self) -> Option<&'a [u8]> {
        match self {
            Look::Start(seen) => Some(seen.octets),
            Look::Middle(octets) => octets,
            Look::Unseen | Look::Hidden => None,
        }
    }
}

/// One request and its response, as far as classification looks at them.
#[derive(Debug, Clone, Copy)]
pub struct Exchange<'a> {
    pub request: &'a RequestHead,
    pub response: &'a ResponseHead,
    /// Host the request is for: lower case, no port, no trailing dot.
    pub host: &'a str,
    /// The app whose rules name activities, where the host belongs to one.
    pub app: Option<&'a App>,
    /// What the connecting process is, where that is known. It goes before everything the request claims.
    pub client: Option<ClientKind>,
    /// What the beginning of the request's body showed, where that is a form and was looked at.
    pub form: Option<&'a Form>,
    /// The beginning of the response body, if it was looked at.
    pub first_bytes: Option<FirstBytes<'a>>,
    /// A redirect is taken for a response like others, by a client that does not follow it.
    pub as_it_is: bool,
}

impl<'a> Exchange<'a> {
    pub fn new(request: &'a RequestHead, response: &'a ResponseHead, host: &'a str) -> Self {
        Self {
            request,
            response,
            host,
            app: None,
            client: None,
            form: None,
            first_bytes: None,
            as_it_is: false,
        }
    }

    /// How many octets of the body, as transferred, would make the answer better: zero where the heads suffice, else at
    /// most [`MAX_LOOK_AHEAD`]. Fewer do no harm; a body that keeps its reader waiting may be judged without.
    ///
    /// `true_type` says that policies ask what files really are, which no head answers.
    pub fn look_ahead(&self, true_type: bool) -> usize {
        look_ahead::octets_wanted(self, true_type)
    }

    /// How the look at the body goes on behind [`first_bytes`](Self::first_bytes), where it does.
    pub fn look_further(&self) -> Option<Further> {
        let looked = self.first_bytes.filter(|_| look_ahead::is_from_start(self.response))?;
        if redirect::leads_on(self.response) { None } else { looked.further(self.response.fields()) }
    }

    /// The beginning of the content, codings undone, as far as it was looked at.
    fn beginning(&self) -> Beginning<'a> {
        let fields = self.response.fields();
        match self.first_bytes {
            Some(first) => first.decoded(fields),
            None if first_bytes::is_coded_beyond(fields) => Beginning::Hidden,
            None => Beginning::Nothing,
        }
    }

    fn look<'b>(&self, beginning: &'b Beginning<'a>) -> Look<'b> {
        match beginning {
            _ if !look_ahead::is_from_start(self.response) => {
                let coded = first_bytes::is_encoded(self.response.fields());
                let first = self.first_bytes.filter(|first| !coded && !first.octets.is_empty());
                Look::Middle(first.map(|first| first.octets))
            }
            Beginning::Octets(octets) => Look::Start(Seen {
                octets,
                complete: self.first_bytes.is_some_and(|first| first.complete),
                file_type: FileType::of(octets),
            }),
            Beginning::Nothing => Look::Unseen,
            Beginning::Hidden => Look::Hidden,
        }
    }
}

/// What comes with a redirect that browsers follow, where that is a file: clients that do not follow it keep it.
pub fn classify_carried(exchange: &Exchange<'_>) -> Option<Classification> {
    if !redirect::leads_on(exchange.response) || verdict::is_empty(exchange) {
        return None;
    }
    let class = classify(&Exchange { as_it_is: true, ..*exchange });
    let reason = Cow::Owned(format!("in the body of a redirect: {}", class.reason));
    class.download.then_some(Classification { reason, ..class })
}

/// Classifies an exchange. Cannot fail: what is not understood is taken for a download where a client may save it.
pub fn classify(exchange: &Exchange<'_>) -> Classification {
    let fields = exchange.response.fields();
    let disposition = ContentDisposition::parse(fields.get_all("content-disposition"));
    let declared = Declared::of(fields);
    let requester = match requester::requester(exchange.request, exchange.client) {
        // The link saves what it leads to in the end; the page that comes with a redirect on the way there is none.
        requester::Requester::DownloadLink if exchange.as_it_is => requester::Requester::Navigation,
        requester => requester,
    };
    let beginning = exchange.beginning();
    let look = exchange.look(&beginning);
    let status = exchange.response.status();
    let rule = activity::by_rules(exchange.app, exchange.request, exchange.host, Some(status));
    let evidence = Evidence { disposition: &disposition, declared: &declared, look, rule };
    let verdict = verdict::verdict(exchange, requester, &evidence);

    // A redirect has no content of its own, whatever its head says.
    let own = verdict.kind != Kind::Redirect;
    let mime = declared.essence().or(verdict.sniffed).filter(|_| own);
    let mut named = if own { file_name::of_heads(exchange.response, &disposition) } else { Vec::new() };
    if named.is_empty() && verdict.download {
        let declared = mime.and_then(|mime| FileType::all().find(|known| known.mime() == mime));
        let declared = declared.filter(|known| known.group() != FileGroup::Other);
        let seen = look.start().map(|seen| seen.file_type).filter(FileType::is_definite);
        named = file_name::of_address(exchange.request, [declared, seen].into_iter().flatten());
    }
    let mut names = named.into_iter();
    let filename = names.next();
    let other_filenames = names.collect();
    let activity = activity::activity(exchange, requester, verdict.download, mime, rule);
    let of_a_page = verdict.kind == Kind::Api && activity != ActivityType::None && rule == Some(activity);
    Classification {
        activity,
        download: verdict.download,
        filename,
        other_filenames,
        mime: mime.map(str::to_owned),
        file_type: look.start().filter(|_| own).map(|seen| seen.file_type),
        kind: if of_a_page { Kind::Page } else { verdict.kind },
        reason: verdict.reason,
    }
}
