//! Connections that the kernel stopped: closed at once, recorded, so that the client's next attempt is inspected.

use std::collections::HashSet;
use std::sync::Arc;

use super::refused::{self, Refused};
use super::untouched::log_failure;
use super::who::Early;
use super::worker::Shared;
use crate::addr::{ClientAddr, OriginalDst};
use crate::owner;
use crate::policy::failure_mode::Failure;
use crate::session::Process;
use crate::steering::{Events, Learned, Stopped, Why};

/// Serves the kernel's events until the ring fails. Each is served to its end before the next: clients whose events do
/// not fit the ring meanwhile stay stopped, and tell again.
pub async fn watch(shared: Arc<Shared>, mut events: Events, learned: Learned) {
    loop {
        match events.next().await {
            Ok(stopped) => serve(&shared, stopped, &learned).await,
            Err(error) => {
                tracing::error!("the kernel's events cannot be read any more: {error}");
                return;
            }
        }
    }
}

/// Closes its socket. Says who holds it, which is found out before: nobody does afterwards.
fn close(stopped: &Stopped) -> Process {
    let inode = stopped.inode().unwrap_or_else(|error| {
        tracing::warn!(client = %stopped.local, "the process of a stopped connection is not found: {error}");
        None
    });
    let holder = inode.and_then(|inode| owner::holders(&HashSet::from([inode])).remove(&inode));
    let process = holder.map(owner::process).unwrap_or_default();
    if let Err(error) = stopped.close() {
        tracing::warn!(
            client = %stopped.local,
            "a stopped connection cannot be closed, it hangs until its client gives up: {error}"
        );
    }
    process
}

async fn serve(shared: &Shared, stopped: Stopped, learned: &Learned) {
    let closing = stopped.clone();
    let process = match tokio::task::spawn_blocking(move || close(&closing)).await {
        Ok(process) => process,
        Err(error) => {
            tracing::error!("closing a stopped connection: {error}");
            Process::default()
        }
    };
    let (client, original_dst) = (ClientAddr(stopped.local), OriginalDst(stopped.original_dst));
    let owner = Early { process, uid: stopped.uid, remote: stopped.cookie.is_none() };
    let name = match stopped.why {
        Why::Name(name) => name,
        Why::Unreadable => {
            log_failure(Failure::UnsteeredUnreadable, client.0, Some(original_dst));
            return refused::count(shared, Failure::UnsteeredUnreadable);
        }
        Why::Existing { closed } => {
            let ids = learned.apps_at(original_dst.0.ip()).unwrap_or_default();
            let app = refused::app_of(&shared.snapshot.load(), &ids);
            let outcome = if closed { "closed" } else { "reported" };
            shared.recorder.metrics.existing_connection(&app.id, outcome);
            let (remote, app_id) = (original_dst.0, &*app.id);
            tracing::info!(app = app_id, client = %client.0, %remote, "{outcome}: a connection from before steering");
            return refused::existing(shared, app, owner, (client, original_dst), (closed, closed)).await;
        }
    };
    let failure = Failure::UnsteeredName;
    log_failure(failure, client.0, Some(original_dst));
    let snapshot = shared.snapshot.load_full();
    // A reload may have taken the app away since.
    let Some(app) = snapshot.catalog.lookup(&name) else { return refused::count(shared, failure) };
    let refused = Refused {
        failure,
        app: app.clone(),
        owner,
        client,
        original_dst,
        server_name: name.into(),
        request: None,
    };
    refused::record(shared, refused).await;
}
