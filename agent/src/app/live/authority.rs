//! The certificate authority while the agent runs: whether it is fit, and one that was put in its place.

use std::rc::Rc;
use std::sync::Arc;

use super::super::authority::Custody;
use super::super::build::origin_connector;
use super::Live;
use crate::admin::health::{Condition, Part};
use crate::catalog::HostPattern;

impl Live<'_> {
    pub(super) fn check_authority(&self) {
        let snapshot = self.shared.snapshot.load();
        let patterns: Vec<HostPattern> =
            snapshot.catalog.domains().map(|(pattern, _)| pattern.clone()).collect();
        let authority = self.shared.clients.authority();
        *self.authority_condition.borrow_mut() =
            authority_condition(authority.expires_soon(), &authority.outgrown(&patterns));
        self.report_authority();
    }

    pub(super) fn report_authority(&self) {
        let condition = match self.custody.silence() {
            Some(why) => Condition::Failed(why),
            None => self.authority_condition.borrow().clone(),
        };
        self.health.set(Part::CertificateAuthority, condition);
    }

    /// The authority, and who holds its key.
    pub(in crate::app) fn custody(&self) -> Rc<Custody> {
        self.custody.clone()
    }

    /// Takes over an authority that was put in the place of the one in use. Its root is no anchor for origins from here on,
    /// wherever it was trusted meanwhile.
    pub(super) fn look_after_authority(&self) {
        let Some(replaced) = self.custody.replaced() else { return };
        let snapshot = self.shared.snapshot.load_full();
        let taken = replaced.map_err(anyhow::Error::from).and_then(|authority| {
            let origins = origin_connector(&snapshot.config.tls.upstream_roots, &authority)?;
            Ok((authority, origins))
        });
        match taken {
            Ok((authority, origins)) => {
                let before = self.shared.clients.authority();
                let same = before.certificates().root == authority.certificates().root;
                self.shared.origins.store(Arc::new(origins));
                self.shared.clients.replace_authority(Arc::new(authority));
                self.minted.set(0);
                self.check_authority();
                if same {
                    tracing::info!("the certificate authority that is to follow is known");
                } else {
                    tracing::info!("another certificate authority is in use: clients must trust it");
                }
            }
            Err(error) => tracing::error!("the new certificate authority is not taken up: {error:#}"),
        }
    }
}

/// What the authority's state means for the agent, said in the log as well.
pub(in crate::app) fn authority_condition(expires_soon: bool, outgrown: &[String]) -> Condition {
    if !outgrown.is_empty() {
        let names = outgrown.join(", ");
        tracing::warn!(
            "the catalog has outgrown the certificate authority: connections to {names} are refused until \
             `portcullis ca rotate` makes another one beside it, which vouches for them"
        );
        return Condition::Degraded(format!("the catalog has outgrown its name constraints: {names}"));
    }
    if expires_soon {
        tracing::warn!(
            "the certificate authority expires soon: `portcullis ca rotate` makes one to follow it"
        );
        return Condition::Degraded("it expires soon".into());
    }
    Condition::Ok
}
