//! The session of a connection: process, user and location, put together while the process is still there.

use std::rc::Rc;
use std::sync::Arc;

use tokio::net::TcpStream;

use super::worker::{Accepted, Worker};
use crate::addr::{ClientAddr, LocationAddr, OriginalDst};
use crate::catalog::App;
use crate::config::Config;
use crate::owner;
use crate::session::{Process, Session, User};

/// What must be asked at once: a short-lived process takes it along.
pub(super) struct Early {
    process: Process,
    /// `None` where the client is another host.
    uid: Option<u32>,
}

impl Early {
    pub(super) fn of(accepted: &Accepted) -> Self {
        match &accepted.owner {
            Some(flow) => Self { process: owner::process_of(flow), uid: Some(flow.uid) },
            None => Self { process: Process::default(), uid: None },
        }
    }

    /// The whole session, once the origin is connected: named locations go by the local address that reaches it, and on a
    /// gateway by the client's.
    pub(super) async fn session(
        self,
        worker: &Rc<Worker>,
        server_name: &str,
        app: Arc<App>,
        (client, original_dst): (ClientAddr, OriginalDst),
        origin: &TcpStream,
    ) -> Session {
        let user = match self.uid {
            Some(uid) => worker.shared.identity.user(uid).await,
            None => Arc::default(),
        };
        let snapshot = worker.shared.snapshot.load();
        let location = match self.uid {
            Some(_) => origin.local_addr().map_or(client.0.ip(), |local| local.ip()),
            None => client.0.ip(),
        };
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
fn with_extra_groups(user: Arc<User>, config: &Config) -> Arc<User> {
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
