//! Download or not: the rules in the order in which evidence counts. Who asks, what the response says of itself, which
//! type it has, and only then what its content looks like.

use std::borrow::Cow;

use super::content_type::Declared;
use super::media_type::{self, Content, Handling};
use super::requester::Requester;
use super::{ActivityType, Evidence, Exchange, Kind, Look, Seen, redirect, sniff};
use crate::http::content_disposition::{Complaint, ContentDisposition};
use crate::http::head::Fields;

/// The answer, with the evidence that decided.
#[derive(Debug)]
pub(super) struct Verdict {
    pub(super) download: bool,
    pub(super) kind: Kind,
    pub(super) reason: Cow<'static, str>,
    /// Type by content, where the response declares none.
    pub(super) sniffed: Option<&'static str>,
}

fn pass(kind: Kind, reason: impl Into<Cow<'static, str>>) -> Verdict {
    Verdict { download: false, kind, reason: reason.into(), sniffed: None }
}

fn download(kind: Kind, reason: impl Into<Cow<'static, str>>) -> Verdict {
    Verdict { download: true, kind, reason: reason.into(), sniffed: None }
}

/// Names under which large services label answers to their own scripts as attachments, so that a browser led to one
/// saves it instead of running it. Blocking those would stop the services, not a download.
const GUARD_NAMES: &[&str] = &["response.bin", "f.txt", "json.json", "json.txt", "response.json"];

const HIDDEN: &str = "content codings keep it from being looked at: a client may save it";

pub(super) fn verdict(exchange: &Exchange<'_>, requester: Requester, evidence: &Evidence<'_>) -> Verdict {
    let Evidence { disposition, declared, look, rule } = *evidence;
    if requester == Requester::Intercepted {
        // The page's service worker decides what becomes of it; the stricter of both counts.
        let shown = verdict(exchange, Requester::Navigation, evidence);
        let heads = Evidence { rule: None, ..*evidence };
        let kept = (!shown.download).then(|| verdict(exchange, Requester::Fetch, &heads));
        return kept.filter(|kept| kept.download).unwrap_or(shown);
    }
    let status = exchange.response.status();
    if status < 100 {
        return pass(Kind::Error, "no response");
    }
    if has_no_body(exchange.request.method(), status) {
        return pass(Kind::Api, "a response without a body");
    }
    if is_followed(exchange) {
        return pass(Kind::Redirect, "a redirect: the response it leads to is judged");
    }
    let is_part = || may_be_part(disposition, declared) || may_show_part(declared) && shows_part(look);
    if requester == Requester::Subresource && is_part() {
        return pass(
            Kind::Subresource,
            "part of a page: browsers use it in place and ignore Content-Disposition",
        );
    }
    if status >= 400 && requester != Requester::Native {
        // Whatever the header says: browsers save no such response, and what it holds is the origin's complaint.
        return pass(Kind::Error, "an error response: browsers save none");
    }
    if requester == Requester::Fetch && (is_preflight(exchange) || is_empty(exchange)) {
        return pass(Kind::Api, "nothing that a script gets");
    }
    if requester == Requester::Fetch && rule == Some(ActivityType::View) && is_image(declared) {
        return pass(Kind::Preview, "an address at which the app shows images");
    }
    if disposition.is_download() {
        if let Some(verdict) = by_disposition(exchange, requester, disposition, declared) {
            return verdict;
        }
        return pass(
            Kind::Api,
            "an answer to a script, labelled attachment only against being opened by itself",
        );
    }
    if status >= 400 {
        return pass(Kind::Error, "an error response: clients show it or give up");
    }
    if is_empty(exchange) {
        return pass(Kind::Api, "an empty response");
    }
    if requester == Requester::DownloadLink {
        return download(
            Kind::RequestSignal,
            "requested by a link with the download attribute: saved whatever it is",
        );
    }
    let verdict = by_type(exchange, requester, declared, look);
    if verdict.download {
        return verdict;
    }
    let sniffed = verdict.sniffed;
    let stricter = by_content(exchange, requester, declared, look).or_else(|| {
        // That an address hands out files is said of where it leads.
        let by_address = rule == Some(ActivityType::Download) && !exchange.as_it_is;
        by_address.then(|| by_rule(requester, declared)).flatten()
    });
    let Some(stricter) = stricter else { return verdict };
    let kind = if status == 206 { Kind::Range } else { stricter.kind };
    Verdict { sniffed, kind, ..stricter }
}

/// The app's rules say that this address answers with the content of a file. What a navigation shows stays a view, a
/// page is the app asking back, and what pages show stays a preview; the rest is taken along.
fn by_rule(requester: Requester, declared: &Declared<'_>) -> Option<Verdict> {
    let is = |wanted: fn(Content) -> bool| {
        declared.all().all(|essence| wanted(media_type::traits(essence).content))
    };
    let why = "an address at which the app hands out files";
    match requester {
        Requester::Fetch if is(|content| matches!(content, Content::Text | Content::Unknown)) => {
            Some(download(Kind::Fetch, why))
        }
        Requester::Native if is(|content| content != Content::Page) => Some(download(Kind::Mime, why)),
        _ => None,
    }
}

/// A file that travels as something else, to a requester that keeps what it gets: a name and a media type do not make
/// data of it. A navigation shows what was declared, whatever it is.
fn by_content(
    exchange: &Exchange<'_>,
    requester: Requester,
    declared: &Declared<'_>,
    look: Look<'_>,
) -> Option<Verdict> {
    if !matches!(requester, Requester::Fetch | Requester::Native) {
        return None;
    }
    let what = declared.essence().unwrap_or("nothing");
    match look {
        Look::Start(seen) => {
            // Pages show PDF that they fetched, and say so.
            let said = declared.all().any(|essence| media_type::traits(essence).content == Content::Pdf);
            let kept = seen.file_type.is_kept() && !(said && seen.file_type.mime() == "application/pdf");
            let name = seen.file_type.name();
            kept.then(|| {
                download(Kind::Sniff, format!("declared as {what}, but its content is a file ({name})"))
            })
        }
        Look::Middle(Some(octets)) => (declared.all().any(media_type::is_textual)
            && sniff::is_binary(octets))
        .then(|| download(Kind::Range, format!("a part of something declared as {what}, but no text"))),
        Look::Middle(None) => {
            let undecided = is_sniffed(exchange, declared)
                || requester == Requester::Native && declared.essence() == Some("text/plain");
            undecided
                .then(|| download(Kind::Range, format!("a part of something declared as {what}, not seen")))
        }
        Look::Hidden => Some(download(Kind::Sniff, HIDDEN)),
        Look::Unseen => None,
    }
}

/// Whether a page can have a part of this type. That a request is for a part is the client's word, which a user who runs
/// their own browser can put there; so it earns nothing that a page could not show.
pub(super) fn may_be_part(disposition: &ContentDisposition, declared: &Declared<'_>) -> bool {
    let fits = |essence: &str| match media_type::traits(essence).content {
        Content::Page | Content::Data | Content::Text | Content::Image | Content::Media => true,
        // Fonts, images and scripts are often served as mere octets, but not with a label that says to save them.
        Content::File => media_type::is_octets(essence) && !disposition.is_download(),
        Content::Unknown => !disposition.is_download(),
        Content::Pdf => false,
    };
    declared.all().all(fits) && (declared.essence().is_some() || !disposition.is_download())
}

/// Whether content decides that a page can have a part of this type: browsers go by it where octets are all that is declared.
pub(super) fn may_show_part(declared: &Declared<'_>) -> bool {
    declared.all().all(|essence| {
        media_type::is_octets(essence) || media_type::traits(essence).content == Content::Unknown
    })
}

/// Whether the content is what pages have as a part: an image, media, a font.
fn shows_part(look: Look<'_>) -> bool {
    look.start().is_some_and(|seen| {
        let essence = seen.file_type.mime();
        let shown = matches!(media_type::traits(essence).content, Content::Image | Content::Media);
        shown && !media_type::is_shown_nowhere(essence) || essence.starts_with("font/")
    })
}

/// Whether pages show what is declared, as an image.
fn is_image(declared: &Declared<'_>) -> bool {
    declared.essence().is_some()
        && declared.all().all(|essence| {
            media_type::traits(essence).content == Content::Image && !media_type::is_shown_nowhere(essence)
        })
}

/// Statuses and methods whose responses never have content (RFC 9110 sections 9.3.2, 15).
pub(super) fn has_no_body(method: &str, status: u16) -> bool {
    method == "HEAD" || (100..200).contains(&status) || matches!(status, 204 | 205 | 304)
}

/// A browser's own question whether a script may ask (WHATWG Fetch, "CORS-preflight fetch"), whose answer no script gets.
fn is_preflight(exchange: &Exchange<'_>) -> bool {
    exchange.request.method() == "OPTIONS"
        && exchange.request.fields().get("access-control-request-method").is_some()
}

/// A redirect to a client that follows it.
pub(super) fn is_followed(exchange: &Exchange<'_>) -> bool {
    !exchange.as_it_is && redirect::leads_on(exchange.response)
}

pub(super) fn is_empty(exchange: &Exchange<'_>) -> bool {
    exchange.first_bytes.is_some_and(|first| first.complete && first.octets.is_empty())
        || announces_nothing(exchange.response.fields())
}

/// However the origin writes it: `00`, or more than once (RFC 9110 section 8.6).
fn announces_nothing(fields: &Fields) -> bool {
    let is_zero = |length: &[u8]| !length.is_empty() && length.iter().all(|digit| *digit == b'0');
    let lengths = fields.get_all("content-length").flat_map(|field| field.split(|octet| *octet == b','));
    let mut lengths = lengths.map(<[u8]>::trim_ascii).peekable();
    lengths.peek().is_some() && lengths.all(is_zero)
}

/// The header asks for saving. `None` when it does so only to guard an answer to a script.
fn by_disposition(
    exchange: &Exchange<'_>,
    requester: Requester,
    disposition: &ContentDisposition,
    declared: &Declared<'_>,
) -> Option<Verdict> {
    let kind = match requester {
        _ if exchange.response.status() == 206 => Kind::Range,
        Requester::Fetch => Kind::Fetch,
        Requester::DownloadLink => Kind::RequestSignal,
        Requester::Navigation | Requester::Intercepted | Requester::Native | Requester::Subresource => {
            Kind::Attachment
        }
    };
    if requester == Requester::Fetch && is_guarded_answer(disposition, declared) {
        return None;
    }
    // A plain name beside an extended one is everyday; it is worth a complaint, not a reason.
    let odd = disposition.complaints().iter().find(|complaint| **complaint != Complaint::NamesDiffer);
    let reason = match odd {
        None if requester == Requester::Fetch => {
            Cow::Borrowed("Content-Disposition: attachment, fetched by a script")
        }
        None => Cow::Borrowed("Content-Disposition: attachment"),
        Some(complaint) => {
            Cow::Owned(format!("Content-Disposition makes clients save ({})", complaint.text()))
        }
    };
    Some(download(kind, reason))
}

fn is_guarded_answer(disposition: &ContentDisposition, declared: &Declared<'_>) -> bool {
    let guard = |name: &str| GUARD_NAMES.iter().any(|guard| guard.eq_ignore_ascii_case(name));
    !declared.contradicts_itself()
        && disposition.complaints().is_empty()
        && disposition.filename().is_some_and(guard)
        && declared.essence().is_some_and(|essence| {
            matches!(media_type::traits(essence).content, Content::Data | Content::Text)
        })
}

/// Whether browsers go by the content where they would show the declared type (WHATWG MIME Sniffing, section 7).
pub(super) fn is_sniffed(exchange: &Exchange<'_>, declared: &Declared<'_>) -> bool {
    match declared.essence() {
        None => true,
        Some(essence) if media_type::traits(essence).chromium == Handling::Sniff => true,
        Some(essence) => essence == "text/plain" && !is_final(exchange),
    }
}

/// `X-Content-Type-Options: nosniff`: the declared type is final. Said more than once it is so for Firefox, which reads the
/// first, and not for Chromium, which reads all of it as one word.
fn is_final(exchange: &Exchange<'_>) -> bool {
    let mut values = exchange.response.fields().get_all("x-content-type-options");
    values.next().is_some_and(|value| value.trim_ascii().eq_ignore_ascii_case(b"nosniff"))
        && values.next().is_none()
}

/// The type by content. `None` where what came is no more than may stand in front of anything.
fn told(seen: Seen<'_>) -> Option<&'static str> {
    let sniffed = sniff::sniff(seen.octets);
    (seen.complete || sniffed != "text/plain" || seen.octets.len() >= sniff::TELLING).then_some(sniffed)
}

fn by_type(
    exchange: &Exchange<'_>,
    requester: Requester,
    declared: &Declared<'_>,
    look: Look<'_>,
) -> Verdict {
    let sniffs = is_sniffed(exchange, declared);
    let undeclared = declared.essence().is_none_or(|e| media_type::traits(e).chromium == Handling::Sniff);
    if undeclared {
        let Some(sniffed) = look.start().filter(|_| sniffs).and_then(told) else {
            return match requester {
                _ if exchange.response.status() == 206 => {
                    download(Kind::Range, "a part of something without a media type")
                }
                Requester::Fetch => pass(Kind::Api, "no media type, fetched by a script"),
                _ => download(Kind::Sniff, "no media type and no content seen: a client may save it"),
            };
        };
        let sniffed = match sniffed {
            // What could run scripts is not made of what came without a type (WHATWG MIME Sniffing, section 7).
            "text/html" | "text/xml" if is_final(exchange) => "text/plain",
            "application/pdf" if is_final(exchange) => "application/octet-stream",
            sniffed => sniffed,
        };
        // Octets that are merely binary are what scripts often exchange; a file's signature is a file.
        if requester == Requester::Fetch && sniffed == "application/octet-stream" {
            return Verdict {
                sniffed: Some(sniffed),
                ..pass(Kind::Api, "no media type, fetched by a script")
            };
        }
        let verdict = of_type(exchange, requester, sniffed);
        let kind = if verdict.download { Kind::Sniff } else { verdict.kind };
        return Verdict { kind, sniffed: Some(sniffed), ..verdict };
    }
    if sniffs && requester != Requester::Fetch {
        if look.octets().is_some_and(sniff::is_binary) {
            let kind = if matches!(look, Look::Middle(_)) { Kind::Range } else { Kind::Sniff };
            return download(kind, "declared as text/plain, but binary: browsers save it");
        }
        match look {
            Look::Hidden => return download(Kind::Sniff, HIDDEN),
            Look::Middle(None) => {
                return download(Kind::Range, "a part of what is declared as text/plain, not seen");
            }
            Look::Start(_) | Look::Middle(Some(_)) | Look::Unseen => {}
        }
    }
    // Where types contradict each other, clients may go by any of them.
    let mut answers = declared.all().map(|essence| of_type(exchange, requester, essence));
    let first = answers.next().unwrap_or_else(|| pass(Kind::Api, "no media type"));
    if first.download {
        return first;
    }
    answers.find(|verdict| verdict.download).unwrap_or(first)
}

/// The verdict by one media type.
fn of_type(exchange: &Exchange<'_>, requester: Requester, essence: &str) -> Verdict {
    let partial = exchange.response.status() == 206;
    if partial && essence == "multipart/byteranges" {
        return download(Kind::Range, "several ranges of a file");
    }
    let traits = media_type::traits(essence);
    let saved = |kind: Kind, why: &str| {
        let kind = if partial { Kind::Range } else { kind };
        let what = if partial { "a part of " } else { "" };
        download(kind, format!("{what}{essence}: {why}"))
    };
    match requester {
        Requester::Navigation | Requester::Intercepted => match handling(exchange, traits) {
            Handling::Save | Handling::Sniff => saved(Kind::Mime, "browsers save this type"),
            Handling::Viewer => pass(Kind::Viewer, "shown in the browser's own viewer"),
            Handling::Render => pass(Kind::Render, "browsers show this type"),
        },
        Requester::Fetch => match traits.content {
            Content::File => saved(Kind::Fetch, "a file, fetched by a script that can save it"),
            Content::Image | Content::Media if media_type::is_shown_nowhere(essence) => {
                saved(Kind::Fetch, "no page shows it, fetched by a script that can save it")
            }
            Content::Pdf | Content::Image | Content::Media => {
                pass(Kind::Preview, "fetched by a script, of a type that pages show")
            }
            Content::Page | Content::Data | Content::Text | Content::Unknown => {
                pass(Kind::Api, "data fetched by a script")
            }
        },
        Requester::Native => match traits.content {
            Content::File | Content::Pdf | Content::Media | Content::Unknown => {
                saved(Kind::Mime, "a file for a program that is no browser")
            }
            Content::Image if traits.chromium == Handling::Save => {
                saved(Kind::Mime, "a file for a program that is no browser")
            }
            Content::Page | Content::Data | Content::Text | Content::Image => {
                pass(Kind::Api, "data or a page for a program that is no browser")
            }
        },
        Requester::DownloadLink => {
            saved(Kind::RequestSignal, "requested by a link with the download attribute")
        }
        Requester::Subresource => saved(Kind::Mime, "no part of a page has this type"),
    }
}

/// What the browser that asks does with a type. Claims about being one browser or the other are harmless: they move
/// only types that the two handle differently, all of them readable text or media.
fn handling(exchange: &Exchange<'_>, traits: media_type::Traits) -> Handling {
    let agent = exchange.request.fields().get("user-agent").unwrap_or_default();
    let claims = |name: &str| memchr::memmem::find(agent, name.as_bytes()).is_some();
    if claims("Firefox/") {
        traits.gecko
    } else if claims("AppleWebKit/") || traits.chromium == Handling::Save {
        traits.chromium
    } else {
        traits.gecko
    }
}
