//! Connections to selected apps from before they could be steered: found in the kernel's list of sockets, closed or
//! reported as `[steering] existing` says.
//!
//! What such a connection is for cannot be known any more: its ClientHello is gone. So the address decides, also where
//! unmonitored sites share it. Their programs connect once more and are relayed untouched; a monitored app that was
//! spared would go on unseen for as long as its connection lives.

use std::collections::{HashMap, HashSet};
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;

use tokio::task::spawn_blocking;

use crate::addr::{ClientAddr, OriginalDst};
use crate::catalog::App;
use crate::owner;
use crate::proxy::refused;
use crate::proxy::who::Early;
use crate::proxy::worker::Shared;
use crate::reload::Snapshot;
use crate::steering::Learned;
use crate::steering::sock_diag::{self, Connection};

/// Connections remembered as made before steering; more are not looked at.
const MOST: usize = 65_536;

/// Connections that could not be steered when they were made, by cookie. Those that the kernel lets pass later are not
/// among them: about them it was asked.
#[derive(Default)]
pub(super) struct Existing {
    open: HashMap<u64, Connection>,
}

/// One of them, with the selected app that its remote address belongs to.
pub(super) struct Found {
    connection: Connection,
    app: Arc<App>,
}

impl Existing {
    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Remembers every connection to these ports that some other process has now.
    pub(super) async fn take_stock(&mut self, ports: Vec<u16>) -> io::Result<()> {
        let now = list(ports).await?;
        if now.len() >= MOST {
            tracing::warn!("more than {MOST} connections exist: those beyond are not looked at");
        }
        self.open.extend(now.into_iter().map(|connection| (connection.id.cookie, connection)));
        Ok(())
    }

    /// Forgets those that ended.
    pub(super) async fn forget_ended(&mut self, ports: Vec<u16>) -> io::Result<()> {
        let now: HashSet<u64> = list(ports).await?.iter().map(|connection| connection.id.cookie).collect();
        self.open.retain(|cookie, _| now.contains(cookie));
        Ok(())
    }

    /// Takes out those whose remote address belongs to a selected app.
    pub(super) fn take_selected(
        &mut self,
        learned: &Learned,
        snapshot: &Snapshot,
    ) -> anyhow::Result<Vec<Found>> {
        let mut found = Vec::new();
        for connection in self.open.values() {
            let apps = learned.apps_at(connection.id.remote.ip())?;
            if !apps.is_empty() {
                found.push(Found { connection: *connection, app: refused::app_of(snapshot, &apps) });
            }
        }
        for one in &found {
            self.open.remove(&one.connection.id.cookie);
        }
        Ok(found)
    }
}

/// Connections of other processes to these ports.
async fn list(ports: Vec<u16>) -> io::Result<Vec<Connection>> {
    let listed = spawn_blocking(move || {
        let mut connections = Vec::new();
        sock_diag::list_tcp(&ports, |connection| {
            // Without an inode nobody holds it any more: the kernel only waits for its end.
            if connection.inode != 0 {
                connections.push(connection);
            }
            if connections.len() < MOST { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        // Asked after the list: what the agent opened since is not in it.
        let own = owner::own_sockets()?;
        connections.retain(|connection| !own.contains(&connection.inode));
        Ok(connections)
    });
    listed.await.map_err(io::Error::other)?
}

/// Closes them, or leaves them open, and says so in log, metrics and activity log.
pub(super) async fn deal_with(shared: &Shared, found: Vec<Found>, close: bool) {
    // The owner is asked first: a program that sees its connection break may end.
    let dealt = spawn_blocking(move || {
        let inodes = found.iter().map(|one| one.connection.inode).collect();
        let holders = owner::holders(&inodes);
        let act = |one: Found| {
            let process = holders.get(&one.connection.inode).map(|pid| owner::process(*pid));
            let result = if close { sock_diag::destroy_listed(&one.connection.id) } else { Ok(()) };
            (one, process.unwrap_or_default(), result)
        };
        found.into_iter().map(act).collect::<Vec<_>>()
    });
    for (one, process, result) in dealt.await.unwrap_or_default() {
        let outcome = match &result {
            Ok(()) if close => "closed",
            Ok(()) => "reported",
            Err(_) => "failed",
        };
        shared.recorder.metrics.existing_connection(&one.app.id, outcome);
        let (remote, uid, exe) = (one.connection.id.remote, one.connection.uid, process.exe.as_deref());
        let (app, pid) = (&*one.app.id, process.pid);
        match &result {
            Ok(()) => {
                tracing::info!(app, %remote, uid, pid, exe, "{outcome}: a connection from before steering")
            }
            Err(error) => {
                tracing::warn!(app, %remote, uid, pid, exe, "a connection from before steering stays open: {error}");
            }
        }
        let id = one.connection.id;
        let addresses = (ClientAddr(id.local), OriginalDst(id.remote));
        let owner = Early { process, uid: Some(one.connection.uid), remote: false };
        refused::existing(shared, one.app, owner, addresses, (close, close && result.is_ok())).await;
    }
}
