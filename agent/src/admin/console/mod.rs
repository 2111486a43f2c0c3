//! The console: pages for a browser on this host, which show and change nothing.
//!
//! It listens on loopback, answers to loopback names only, and shows nothing without a session. A session begins with a
//! ticket that the control socket hands out once, so who may use the control socket may look. Every answer forbids scripts
//! and styles but its own, frames, forms to elsewhere, and storing.

mod log;
mod pages;
mod query_string;
mod sessions;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use jiff::Timestamp;
use maud::{Markup, html};
use tokio::net::TcpListener;

use crate::admin::apps;
use crate::admin::control::Answer;
use crate::admin::health::Condition;
use crate::admin::http::{FIRST_BYTE_WITHIN, SILENCE_MAX, is_loopback_name};
use crate::admin::limited::LimitedListener;
use crate::admin::status::Status;
use crate::admin::why::Why;
use crate::record::metrics::Metrics;
use crate::record::query::overview::By;
use crate::reload::Snapshot;
use log::Log;
use pages::activity::{Listing, View};
use pages::apps::Apps;
use pages::layout::{Standing, notice};
use pages::overview::{Counts, LISTED, Range};
use query_string::{Asked, value_of};
pub use sessions::Sessions;

/// Connections held at once: a browser opens six.
const CONNECTIONS_MAX: usize = 64;
/// Names that the form offers.
const OFFERED: usize = 500;
const COOKIE: &str = "portcullis_session";
/// Nothing but the files below `/static`, from nowhere else.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; \
    form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Asks the running agent for its status.
pub type AskStatus = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Answer> + Send>> + Send + Sync>;

/// What the console shows.
pub struct Shown {
    /// The activity log's file.
    pub log: PathBuf,
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    pub metrics: Arc<Metrics>,
    pub status: AskStatus,
    pub sessions: Arc<Sessions>,
}

#[derive(Clone)]
struct Console {
    shown: Arc<Shown>,
    log: Log,
}

/// Serves until `stop` resolves.
pub async fn serve(
    listener: TcpListener,
    shown: Shown,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let listener = LimitedListener::new(listener, CONNECTIONS_MAX, FIRST_BYTE_WITHIN, SILENCE_MAX);
    axum::serve(listener, router(shown)).with_graceful_shutdown(stop).await
}

/// The address that opens a session.
pub fn address(listen: SocketAddr, ticket: &str) -> String {
    format!("http://{listen}/open?ticket={ticket}")
}

fn router(shown: Shown) -> Router {
    let console = Console { log: Log::new(shown.log.clone()), shown: Arc::new(shown) };
    let pages = Router::new()
        .route("/", get(overview))
        .route("/activity", get(activity))
        .route("/apps", get(apps_page))
        .route("/policies", get(policies))
        .route("/health", get(health))
        .fallback(|| async { refusal(StatusCode::NOT_FOUND, "Not found", "There is no such page.") })
        .layer(middleware::from_fn_with_state(console.clone(), known));
    Router::new()
        .route("/open", get(open))
        .route(
            "/static/console.css",
            get(|| asset("text/css; charset=utf-8", include_str!("assets/console.css"))),
        )
        .route(
            "/static/console.js",
            get(|| asset("text/javascript; charset=utf-8", include_str!("assets/console.js"))),
        )
        .route("/static/icon.svg", get(|| asset("image/svg+xml", include_str!("assets/icon.svg"))))
        .merge(pages)
        .with_state(console)
        .layer(middleware::from_fn(guard))
}

/// Refuses what a browser was tricked into, and tells it what an answer may do.
async fn guard(request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let mut response = if host.is_some_and(is_loopback_name) {
        next.run(request).await
    } else {
        (StatusCode::MISDIRECTED_REQUEST, "this listener answers to loopback names only\n").into_response()
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Lets in who has a session.
async fn known(State(console): State<Console>, request: Request, next: Next) -> Response {
    let goes_on = |session: &str| console.shown.sessions.goes_on(session, Instant::now());
    if session_of(request.headers()).is_some_and(goes_on) {
        return next.run(request).await;
    }
    let text = html! {
        p { "Sessions begin with an address that is good for one minute and one browser:" }
        pre { code { "portcullis console" } }
        p { "It takes root, or the group portcullis." }
    };
    (StatusCode::UNAUTHORIZED, page(notice("No session", &text))).into_response()
}

fn session_of(headers: &HeaderMap) -> Option<&str> {
    let fields = headers.get_all(header::COOKIE).into_iter().filter_map(|field| field.to_str().ok());
    fields
        .flat_map(|field| field.split(';'))
        .find_map(|pair| pair.trim().strip_prefix(COOKIE)?.strip_prefix('='))
}

/// Turns a ticket into a session.
async fn open(State(console): State<Console>, uri: Uri) -> Response {
    let ticket = value_of(uri.query().unwrap_or_default(), "ticket").unwrap_or_default();
    let Some(session) = console.shown.sessions.redeem(&ticket, Instant::now()) else {
        return refusal(
            StatusCode::FORBIDDEN,
            "This address has been used",
            "Or it is older than a minute. `portcullis console` prints another.",
        );
    };
    let life = sessions::SESSION_LIFE.as_secs();
    let cookie = format!("{COOKIE}={session}; Path=/; Max-Age={life}; HttpOnly; SameSite=Strict");
    (StatusCode::SEE_OTHER, [(header::LOCATION, "/".to_owned()), (header::SET_COOKIE, cookie)])
        .into_response()
}

async fn overview(State(console): State<Console>, uri: Uri) -> Response {
    let range = Range::read(value_of(uri.query().unwrap_or_default(), "range").as_deref());
    let (now, standing) = (Timestamp::now(), console.standing().await);
    let window = range.window(now);
    let counts = console.log.ask(move |reader| {
        Ok(Counts {
            slots: reader.activities_over_time(window)?,
            apps: reader.most_seen(By::App, window, LISTED)?,
            users: reader.most_seen(By::User, window, LISTED)?,
            files: reader.blocked_files(window, LISTED)?,
        })
    });
    let counts = counts.await.map_err(|error| error.to_string());
    let numbers = console.shown.metrics.numbers();
    page(pages::overview::render(&standing, range, now, counts.as_ref().map_err(String::as_str), &numbers))
}

async fn activity(State(console): State<Console>, uri: Uri) -> Response {
    let asked = Asked::read(uri.query().unwrap_or_default());
    let (now, standing) = (Timestamp::now(), console.standing().await);
    let (filter, wrong) = asked.filter();
    let (before, id, looks) = (asked.before, asked.id, wrong.is_empty());
    let answer = console.log.ask(move |reader| {
        // A filter that is half understood would show what nobody asked for.
        let (entries, next) = if looks { reader.page_before(&filter, before)? } else { (Vec::new(), None) };
        let details = match id {
            None => None,
            Some(id) => Some(match reader.get(id)? {
                None => None,
                Some(activity) => {
                    let why = Why::of(&activity, reader)?;
                    Some(pages::details::Details { activity: Box::new(activity), why })
                }
            }),
        };
        Ok((Listing { entries, next }, details))
    });
    let (listing, details) = match answer.await {
        Ok((listing, details)) => (Ok(listing), details.map(Ok)),
        Err(error) => (Err(error.to_string()), None),
    };
    let snapshot = console.shown.snapshot.load_full();
    let selected = snapshot.catalog.apps().iter().filter(|app| snapshot.policies.selects(app));
    let view = View {
        asked: &asked,
        wrong: &wrong,
        listing: listing.as_ref().map_err(String::as_str),
        details,
        apps: selected.take(OFFERED).map(|app| app.id.to_string()).collect(),
        policies: snapshot
            .policies
            .policies()
            .iter()
            .take(OFFERED)
            .map(|policy| policy.name.to_string())
            .collect(),
    };
    page(pages::activity::render(&standing, now, view))
}

async fn apps_page(State(console): State<Console>) -> Response {
    let (now, standing) = (Timestamp::now(), console.standing().await);
    let snapshot = console.shown.snapshot.load_full();
    let apps = console.log.ask(move |reader| {
        Ok(Apps {
            rows: apps::rows(&snapshot, Some(reader))?,
            discovered: apps::discovered(&snapshot, reader)?,
        })
    });
    let apps = apps.await.map_err(|error| error.to_string());
    page(pages::apps::render(&standing, now, apps.as_ref().map_err(String::as_str)))
}

async fn policies(State(console): State<Console>, uri: Uri) -> Response {
    let name = value_of(uri.query().unwrap_or_default(), "name");
    let (now, standing) = (Timestamp::now(), console.standing().await);
    let snapshot = console.shown.snapshot.load_full();
    let most = snapshot.policies.policies().len();
    let hits = console.log.ask(move |reader| Ok(reader.most_seen(By::Policy, Range::last_day(now), most)?));
    let hits = hits.await.map_err(|error| error.to_string());
    let hits = hits.as_deref().map_err(String::as_str);
    page(pages::policies::render(&standing, now, &snapshot.policies, hits, name.as_deref()))
}

async fn health(State(console): State<Console>) -> Response {
    let (now, status) = (Timestamp::now(), console.status().await);
    let standing = standing_of(status.as_ref().ok());
    page(pages::health::render(&standing, now, status.as_ref().map_err(String::as_str)))
}

impl Console {
    async fn status(&self) -> Result<Status, String> {
        match (self.shown.status)().await {
            Answer::Ok(value) => serde_json::from_value(value).map_err(|error| error.to_string()),
            Answer::Error(why) => Err(why),
        }
    }

    async fn standing(&self) -> Standing {
        standing_of(self.status().await.as_ref().ok())
    }
}

fn standing_of(status: Option<&Status>) -> Standing {
    let unwell = |status: &Status| {
        let parts = status.health.iter().filter(|part| part.condition != Condition::Ok);
        parts.map(|part| part.part.name()).collect()
    };
    let device = |status: &Status| {
        let state = if status.device.compliant { "device compliant" } else { "device not compliant" };
        state.to_owned()
    };
    Standing {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        unwell: status.map(unwell),
        device: status.map(device).unwrap_or_default(),
    }
}

fn page(markup: Markup) -> Response {
    ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], markup.into_string()).into_response()
}

fn refusal(status: StatusCode, title: &str, text: &str) -> Response {
    (status, page(notice(title, &html! { p { (text) } }))).into_response()
}

async fn asset(kind: &'static str, text: &'static str) -> Response {
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}

#[cfg(test)]
mod tests;
