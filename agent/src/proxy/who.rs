//! The session of a connection: process, user and location, put together while the process is still there.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use super::explicit::{self, AskedFor};
use super::refused::Refused;
use super::worker::{Accepted, Shared, Worker};
use crate::addr::{ClientAddr, LocationAddr, OriginalDst};
use crate::catalog::App;
use crate::identity::with_extra_groups;
use crate::owner;
use crate::policy::failure_mode::Failure;
use crate::session::{Process, Session, User};

/// What must be asked at once: a short-lived process takes it along.
#[derive(Debug, Clone)]
pub struct Early {
    pub process: Process,
    /// `None` when nobody knows.
    pub uid: Option<u32>,
    /// The client is on another host: locations, and the inventory, go by its own address.
    pub remote: bool,
}

impl Early {
    pub(super) async fn of(accepted: &Accepted) -> Self {
        if let Some(asked) = &accepted.asked {
            return Self::of_socket(asked).await;
        }
        match &accepted.owner {
            Some(flow) => Self { process: owner::process_of(flow), uid: Some(flow.uid), remote: false },
            None => Self { process: Process::default(), uid: None, remote: true },
        }
    }

    /// Of a client that came to the proxy: by the socket, where it is one of this host.
    pub(super) async fn of_socket(asked: &AskedFor) -> Self {
        let Some(socket) = asked.owner else {
            return Self { process: Process::default(), uid: None, remote: asked.remote };
        };
        let found = match explicit::recent_process_with(socket) {
            Some(process) => Some(process.process()),
            None => {
                let search = move || explicit::process_with(socket).map(|process| process.process());
                tokio::task::spawn_blocking(search).await.ok().flatten()
            }
        };
        Self { process: found.unwrap_or_default(), uid: Some(socket.uid), remote: asked.remote }
    }

    /// What is recorded when this connection is refused.
    pub(super) fn refused(
        self,
        failure: Failure,
        app: Arc<App>,
        (client, original_dst): (ClientAddr, OriginalDst),
        server_name: &str,
    ) -> Refused<'static> {
        let server_name = server_name.into();
        Refused { failure, app, owner: self, client, original_dst, server_name, request: None }
    }

    /// The user: of this host by the uid, of another one by the inventory.
    pub(super) async fn user(&self, shared: &Shared, client: ClientAddr) -> Arc<User> {
        let known = match (self.uid, self.remote) {
            (Some(uid), _) => Some(shared.identity.user(uid).await),
            (None, true) => shared.inventory.load().as_ref().and_then(|clients| clients.user(client.0.ip())),
            (None, false) => None,
        };
        known.map_or_else(Arc::default, |user| with_extra_groups(user, &shared.snapshot.load().config))
    }

    /// The whole session, once the origin is connected: named locations go by the `local` address that reaches it, and on a
    /// gateway by the client's.
    pub(super) async fn session(
        self,
        worker: &Rc<Worker>,
        server_name: &str,
        app: Arc<App>,
        (client, original_dst): (ClientAddr, OriginalDst),
        local: Option<SocketAddr>,
    ) -> Session {
        let user = self.user(&worker.shared, client).await;
        let location = match local {
            Some(local) if !self.remote => local.ip(),
            _ => client.0.ip(),
        };
        Session {
            app,
            user,
            kind: owner::kind_of(&self.process),
            process: Arc::new(self.process),
            client,
            remote: self.remote,
            location: LocationAddr(location.to_canonical()),
            original_dst,
            server_name: server_name.into(),
        }
    }
}
