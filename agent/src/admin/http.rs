//! The HTTP listener for scrapers and probes: `/metrics`, `/healthz`, `/readyz`.
//!
//! It answers without a login, so it gives away numbers only, on loopback unless configured otherwise, and on
//! loopback only to requests for a loopback name: a web page whose name was rebound to 127.0.0.1 gets nothing.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::json;
use tokio::net::TcpListener;

use crate::admin::health::{Condition, Health, PartHealth, is_ready};
use crate::admin::limited::LimitedListener;
use crate::record::metrics::{Format, Metrics};

/// Connections held at once; scrapers need one or two.
const CONNECTIONS_MAX: usize = 32;
/// A connection that has asked nothing after this long is closed.
pub(super) const FIRST_BYTE_WITHIN: Duration = Duration::from_secs(5);
/// A connection that is silent for this long is closed. Scrapers come back every 15 to 60 seconds.
pub(super) const SILENCE_MAX: Duration = Duration::from_secs(90);

/// What the listener shows.
#[derive(Clone)]
pub struct Shown {
    pub metrics: Arc<Metrics>,
    pub health: Arc<Health>,
    /// Called before each scrape, to take over numbers that live elsewhere, such as the kernel's counters.
    pub before_scrape: Arc<dyn Fn(&Metrics) + Send + Sync>,
}

/// Serves until `stop` resolves.
pub async fn serve(
    listener: TcpListener,
    shown: Shown,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let router = router(shown, listener.local_addr()?);
    let listener = LimitedListener::new(listener, CONNECTIONS_MAX, FIRST_BYTE_WITHIN, SILENCE_MAX);
    axum::serve(listener, router).with_graceful_shutdown(stop).await
}

fn router(shown: Shown, bound: SocketAddr) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .with_state(shown)
        .layer(middleware::from_fn_with_state(bound, guard))
}

/// Refuses requests that a browser was tricked into, and marks every answer as not for keeping or guessing.
async fn guard(State(bound): State<SocketAddr>, request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let mut response = if bound.ip().is_loopback() && !host.is_some_and(is_loopback_name) {
        (StatusCode::MISDIRECTED_REQUEST, "this listener answers to loopback names only\n").into_response()
    } else {
        next.run(request).await
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// `localhost`, `127.0.0.1:9464`, `[::1]`. Names that resolve to loopback do not count: that is the attack.
pub(super) fn is_loopback_name(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map_or("", |(address, _)| address),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

async fn metrics(State(shown): State<Shown>, headers: HeaderMap) -> Response {
    (shown.before_scrape)(&shown.metrics);
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let format = Format::accepted(accept);
    ([(header::CONTENT_TYPE, format.content_type())], shown.metrics.encode(format)).into_response()
}

async fn ready(State(shown): State<Shown>) -> Response {
    let report = shown.health.report();
    let ready = is_ready(&report);
    let of = |wanted: fn(&Condition) -> bool| -> Vec<&PartHealth> {
        report.iter().filter(|part| wanted(&part.condition)).collect()
    };
    let body = json!({
        "ready": ready,
        "not_ready": of(|c| matches!(c, Condition::Failed(_))),
        "degraded": of(|c| matches!(c, Condition::Degraded(_))),
    });
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, [(header::CONTENT_TYPE, "application/json")], format!("{body}\n")).into_response()
}

#[cfg(test)]
mod tests;
