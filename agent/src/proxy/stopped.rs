//! Connections that the kernel stopped: closed at once, recorded, so that the client's next attempt is inspected.

use std::sync::Arc;

use super::refused::{self, Refused};
use super::untouched::log_failure;
use super::who::Early;
use super::worker::Shared;
use crate::addr::{ClientAddr, OriginalDst};
use crate::owner;
use crate::policy::failure_mode::Failure;
use crate::steering::{Events, Stopped};

/// Serves the kernel's events until the ring fails. Each is served to its end before the next: clients whose events do
/// not fit the ring meanwhile stay stopped, and tell again.
pub async fn watch(shared: Arc<Shared>, mut events: Events) {
    loop {
        match events.next().await {
            Ok(stopped) => serve(&shared, stopped).await,
            Err(error) => {
                tracing::error!("the kernel's events cannot be read any more: {error}");
                return;
            }
        }
    }
}

async fn serve(shared: &Shared, stopped: Stopped) {
    // The process may be gone in milliseconds, and soonest when its connection is closed.
    let process = owner::process_of(&stopped.flow);
    let closing = stopped.clone();
    match tokio::task::spawn_blocking(move || closing.close()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(
            client = %stopped.local,
            "a stopped connection cannot be closed, it hangs until its client gives up: {error}"
        ),
        Err(error) => tracing::error!("closing a stopped connection: {error}"),
    }
    let (client, original_dst) = (ClientAddr(stopped.local), OriginalDst(stopped.flow.original_dst()));
    let Some(name) = stopped.name else {
        log_failure(Failure::UnsteeredUnreadable, client.0, Some(original_dst));
        return refused::count(shared, Failure::UnsteeredUnreadable);
    };
    let failure = Failure::UnsteeredName;
    log_failure(failure, client.0, Some(original_dst));
    let snapshot = shared.snapshot.load_full();
    // A reload may have taken the app away since.
    let Some(app) = snapshot.catalog.lookup(&name) else { return refused::count(shared, failure) };
    let refused = Refused {
        failure,
        app: app.clone(),
        owner: Early { process, uid: Some(stopped.flow.uid), remote: false },
        client,
        original_dst,
        server_name: name.into(),
        request: None,
    };
    refused::record(shared, refused).await;
}
