//! The facts of one activity, held together: what policies are asked about when nobody is on the line.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use super::decision::Decision;
use super::{Explanation, PolicySet, Subject};
use crate::addr::{ClientAddr, LocationAddr, OriginalDst};
use crate::catalog::App;
use crate::classify::Classification;
use crate::detect::scan::Scan;
use crate::session::{ClientKind, Device, Process, Session, User};

/// What a decision looks at, of an activity that was recorded or made up.
#[derive(Debug, Clone)]
pub struct Circumstances {
    pub session: Session,
    pub device: Device,
    pub class: Classification,
    /// In bytes, where it is known beforehand.
    pub size: Option<u64>,
    /// What was found in the bodies; `None` where none was looked at.
    pub content: Option<Scan>,
    /// It was decided before the request was sent on.
    pub at_request: bool,
}

impl Circumstances {
    /// `location`: `None` when it is not known; then it lies in no named network.
    pub fn new(
        app: Arc<App>,
        user: Arc<User>,
        kind: ClientKind,
        location: Option<IpAddr>,
        device: Device,
        class: Classification,
        size: Option<u64>,
    ) -> Self {
        const NOWHERE: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        let address = location.unwrap_or(NOWHERE);
        let session = Session {
            app,
            user,
            process: Arc::new(Process::default()),
            kind,
            client: ClientAddr(SocketAddr::new(address, 0)),
            remote: false,
            location: LocationAddr(address),
            original_dst: OriginalDst(SocketAddr::new(NOWHERE, 0)),
            server_name: "".into(),
        };
        Self { session, device, class, size, content: None, at_request: false }
    }

    pub fn decide(&self, policies: &PolicySet) -> Decision {
        policies.decide(&self.session, &self.device, self.subject())
    }

    pub fn explain(&self, policies: &PolicySet) -> Explanation {
        policies.explain_subject(&self.session, &self.device, self.subject())
    }

    fn subject(&self) -> Subject<'_> {
        let subject = Subject::new(&self.class, self.size).with_content(self.content.as_ref());
        if self.at_request { subject.at_request() } else { subject }
    }
}
