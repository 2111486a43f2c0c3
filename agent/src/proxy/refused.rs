//! What the failure table refuses, counted and recorded: one activity of type `access` for every connection or request
//! that belongs to an app, whoever refused it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;

use jiff::Timestamp;
use uuid::Uuid;

use super::explicit::AskedFor;
use super::who::Early;
use super::worker::{Shared, Worker};
use crate::activity::{self, Activity};
use crate::addr::{ClientAddr, LocationAddr, OriginalDst};
use crate::catalog::App;
use crate::http::head::RequestHead;
use crate::owner;
use crate::policy::decision::Decision;
use crate::policy::failure_mode::Failure;
use crate::record::metrics::AppMetrics;
use crate::reload::Snapshot;
use crate::session::Session;

/// Id and name of the app in a record when several share the address that was asked for and nothing says which it was.
const UNKNOWN_APP: (&str, &str) = ("unknown", "One of several apps");
/// Any port: nothing is sent. Not 443, which the kernel programs refuse as QUIC.
const DISCARD: u16 = 9;

/// What is known of something that was refused before there was an exchange.
#[derive(Debug, Clone)]
pub struct Refused<'a> {
    pub failure: Failure,
    pub app: Arc<App>,
    pub owner: Early,
    pub client: ClientAddr,
    pub original_dst: OriginalDst,
    /// The server name that was asked for; empty when there was none.
    pub server_name: Arc<str>,
    /// The request, where it came to one.
    pub request: Option<&'a RequestHead>,
}

/// Counts a refusal and records it. Never fails: what the log cannot take it counts as lost.
pub async fn record(shared: &Shared, refused: Refused<'_>) {
    let Refused { failure, app, owner, client, original_dst, server_name, request } = refused;
    let app_metrics = shared.recorder.metrics.app(&app.id);
    let session = session(shared, app, owner, (client, original_dst), server_name).await;
    in_session(shared, &app_metrics, &session, failure, request);
}

/// The session of a connection of which no exchange was seen.
pub async fn session(
    shared: &Shared,
    app: Arc<App>,
    owner: Early,
    (client, original_dst): (ClientAddr, OriginalDst),
    server_name: Arc<str>,
) -> Session {
    // Of other hosts' clients only their own address says where they are.
    let location = if owner.remote { None } else { address_towards(original_dst.0) };
    Session {
        app,
        user: owner.user(shared, client).await,
        kind: owner::kind_of(&owner.process),
        remote: owner.remote,
        process: Arc::new(owner.process),
        client,
        location: LocationAddr(location.unwrap_or(client.0.ip()).to_canonical()),
        original_dst,
        server_name,
    }
}

/// Records a connection from before it could be inspected: whether it is to be closed, and was. Which of the names at its
/// address it was opened for is not known.
pub async fn existing(
    shared: &Shared,
    app: Arc<App>,
    owner: Early,
    (client, original_dst): (ClientAddr, OriginalDst),
    (close, closed): (bool, bool),
) {
    let metrics = shared.recorder.metrics.app(&app.id);
    let remote = owner.remote;
    let mut session = session(shared, app, owner, (client, original_dst), "".into()).await;
    if !remote {
        session.location = LocationAddr(client.0.ip());
    }
    let decision = Decision::for_existing(close, shared.snapshot.load().revision);
    decided(shared, &metrics, &session, &decision, (closed, None));
}

/// The same for a connection whose session is known.
pub(super) fn in_session(
    shared: &Shared,
    app: &AppMetrics,
    session: &Session,
    failure: Failure,
    request: Option<&RequestHead>,
) {
    count(shared, failure);
    let decision = Decision::for_failure(failure, shared.snapshot.load().revision);
    decided(shared, app, session, &decision, (true, request));
}

/// Records what was decided about a connection of which no exchange was seen, or about a refused request, and whether
/// it was done.
pub fn decided(
    shared: &Shared,
    app: &AppMetrics,
    session: &Session,
    decision: &Decision,
    (enforced, request): (bool, Option<&RequestHead>),
) {
    let device = shared.device_of(session);
    let networks = &shared.snapshot.load().config.networks;
    let refused = activity::Refused { session, device: &device, decision, enforced, request, networks };
    let activity = Activity::refused(Uuid::now_v7(), Timestamp::now(), &refused);
    // What the log cannot take it counts as lost.
    let _ = shared.recorder.activity(app, activity.into());
}

/// Counts a refusal that belongs to no app: of such connections nothing is recorded.
pub fn count(shared: &Shared, failure: Failure) {
    shared.recorder.metrics.refused(failure.name());
}

/// The app that a connection was meant for as far as anybody knows: what its tunnel was asked for, else what its address
/// was learned for, of those that a policy selects.
pub(super) fn app_at(
    worker: &Worker,
    snapshot: &Snapshot,
    asked: Option<&AskedFor>,
    to: OriginalDst,
) -> Arc<App> {
    if let Some(app) = asked.and_then(|asked| asked.app.as_ref()) {
        return app.clone();
    }
    let ids = worker.learned.as_ref().and_then(|learned| learned.apps_at(to.0.ip()).ok()).unwrap_or_default();
    app_of(snapshot, &ids)
}

/// The app with this id; of several ids what their apps have in common, because nothing says which it was.
pub fn app_of(snapshot: &Snapshot, ids: &[Arc<str>]) -> Arc<App> {
    one_of(ids.iter().filter_map(|id| snapshot.catalog.app(id)))
}

/// The one app, or what several have in common.
fn one_of<'a>(mut apps: impl Iterator<Item = &'a Arc<App>>) -> Arc<App> {
    let first = apps.next();
    let mut suite = first.and_then(|app| app.suite.clone());
    let mut several = first.is_none();
    for other in apps {
        several = true;
        suite = suite.filter(|suite| other.suite.as_ref() == Some(suite));
    }
    match first {
        Some(app) if !several => app.clone(),
        _ => Arc::new(App { id: UNKNOWN_APP.0.into(), name: UNKNOWN_APP.1.into(), suite, ..App::default() }),
    }
}

/// The local address that would reach another host: the kernel's routes are asked, nothing is sent.
pub(super) fn address_towards(to: SocketAddr) -> Option<IpAddr> {
    let any: IpAddr = if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect((to.ip(), DISCARD)).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apps_that_share_an_address_are_not_told_apart_by_guess() {
        let app = |id: &str, suite: Option<&str>| {
            Arc::new(App { id: id.into(), suite: suite.map(Into::into), ..App::default() })
        };
        let (mail, sites, other) = (app("mail", Some("m")), app("sites", Some("m")), app("other", None));
        assert_eq!(*one_of([&mail].into_iter()).id, *"mail");
        let both = one_of([&mail, &sites].into_iter());
        assert_eq!((&*both.id, both.suite.as_deref()), ("unknown", Some("m")));
        let mixed = one_of([&mail, &other, &sites].into_iter());
        assert_eq!((&*mixed.id, mixed.suite.as_deref()), ("unknown", None));
        assert_eq!(&*one_of(std::iter::empty()).id, "unknown");
    }

    #[test]
    fn the_local_address_towards_loopback_is_loopback() {
        assert_eq!(address_towards("127.0.0.1:443".parse().unwrap()), Some(IpAddr::V4(Ipv4Addr::LOCALHOST)));
    }
}
