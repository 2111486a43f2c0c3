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

use jiff::Timestamp;
use tokio::task::spawn_blocking;
use uuid::Uuid;

use crate::activity::{Activity, Refused};
use crate::addr::{ClientAddr, LocationAddr, OriginalDst};
use crate::identity::with_extra_groups;
use crate::owner;
use crate::policy::decision::Decision;
use crate::proxy::worker::Shared;
use crate::session::{Process, Session};
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
    app: Arc<str>,
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
    pub(super) fn take_selected(&mut self, learned: &Learned) -> anyhow::Result<Vec<Found>> {
        let mut found = Vec::new();
        for connection in self.open.values() {
            if let Some(app) = learned.app_of(connection.id.remote.ip())? {
                found.push(Found { connection: *connection, app: app.clone() });
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
        shared.recorder.metrics.existing_connection(&one.app, outcome);
        let (remote, uid, exe) = (one.connection.id.remote, one.connection.uid, process.exe.as_deref());
        let (app, pid) = (&*one.app, process.pid);
        match &result {
            Ok(()) => {
                tracing::info!(app, %remote, uid, pid, exe, "{outcome}: a connection from before steering")
            }
            Err(error) => {
                tracing::warn!(app, %remote, uid, pid, exe, "a connection from before steering stays open: {error}");
            }
        }
        record(shared, &one, process, close, result.is_ok()).await;
    }
}

async fn record(shared: &Shared, found: &Found, process: Process, close: bool, enforced: bool) {
    let snapshot = shared.snapshot.load_full();
    // An app that a reload took away meanwhile has no row to stand in.
    let Some(app) = snapshot.catalog.app(&found.app).cloned() else { return };
    let id = found.connection.id;
    let user = shared.identity.user(found.connection.uid).await;
    let session = Session {
        app,
        user: with_extra_groups(user, &snapshot.config),
        kind: owner::kind_of(&process),
        process: Arc::new(process),
        client: ClientAddr(id.local),
        location: LocationAddr(id.local.ip()),
        original_dst: OriginalDst(id.remote),
        // Which of the names at this address it was opened for is not known.
        server_name: "".into(),
    };
    let device = shared.device.load();
    let decision = Decision::for_existing(close, snapshot.revision);
    let refused = Refused { session: &session, device: &device, decision: &decision, request: None };
    let mut activity = Activity::refused(Uuid::now_v7(), Timestamp::now(), &refused);
    activity.decision.enforced = enforced && close;
    // A lost record is counted by the log.
    let _ = shared.recorder.activity(&shared.recorder.metrics.app(&found.app), activity);
}
