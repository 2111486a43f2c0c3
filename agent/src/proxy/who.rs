//! The session of a connection: process, user and location, put together while the process is still there.

use std::rc::Rc;
use std::sync::Arc;

use tokio::net::TcpStream;

use super::refused::Refused;
use super::worker::{Accepted, Worker};
use crate::addr::{ClientAddr, LocationAddr, OriginalDst};
use crate::catalog::App;
use crate::config::Config;
use crate::owner;
use crate::policy::failure_mode::Failure;
use crate::session::{Process, Session, User};

/// What must be asked at once: a short-lived process takes it along.
pub(super) struct Early {
    process: Process,
    uid: u32,
}

impl Early {
    pub(super) fn of(accepted: &Accepted) -> Self {
        Self { process: owner::process_of(&accepted.flow), uid: accepted.flow.uid }
    }

    /// What is recorded when this connection is refused.
    pub(super) fn refused(
        self,
        failure: Failure,
        app: Arc<App>,
        (client, original_dst): (ClientAddr, OriginalDst),
        server_name: &str,
    ) -> Refused<'static> {
        let (uid, process, server_name) = (Some(self.uid), self.process, server_name.into());
        Refused { failure, app, uid, process, client, original_dst, server_name, request: None }
    }

    /// The whole session, once the origin is connected: named locations go by the local address that reaches it.
    pub(super) async fn session(
        self,
        worker: &Rc<Worker>,
        server_name: &str,
        app: Arc<App>,
        (client, original_dst): (ClientAddr, OriginalDst),
        origin: &TcpStream,
    ) -> Session {
        let user = worker.shared.identity.user(self.uid).await;
        let snapshot = worker.shared.snapshot.load();
        let location = origin.local_addr().map_or(client.0.ip(), |local| local.ip());
        Session {
            app,
            user: with_extra_groups(user, &snapshot.config),
            kind: owner::kind_of(&self.process),
            process: Arc::new(self.process),
            client,
            location: LocationAddr(location.to_canonical()),
            original_dst,
            server_name: server_name.into(),
        }
    }
}

/// Adds the groups of `[identity] groups` that name the user.
pub(super) fn with_extra_groups(user: Arc<User>, config: &Config) -> Arc<User> {
    let Some(name) = user.name.clone() else { return user };
    let extra = config
        .identity
        .groups
        .iter()
        .filter(|(group, members)| members.contains(&name) && !user.groups.contains(group));
    let extra: Vec<Arc<str>> = extra.map(|(group, _)| group.clone()).collect();
    if extra.is_empty() {
        return user;
    }
    let mut user = User::clone(&user);
    user.groups.extend(extra);
    Arc::new(user)
}
