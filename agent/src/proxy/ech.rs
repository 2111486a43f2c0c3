//! Encrypted ClientHello (RFC 9849) at a steered address: the client is shown that its encryption is off.
//!
//! A hello with a provider's public name hides who it is for. A server that has no keys finishes such a handshake as the
//! public name, without the extension's confirmation and without retry configurations; by section 6.1.6 that securely
//! disables ECH, and the client connects again with the true name in clear. That is what the agent does. A hello with
//! GREASE in the extension (section 6.2) has its true name outside and is never seen here.

use std::rc::Rc;

use tokio::io::AsyncWriteExt;

use super::untouched::say_and_close;
use super::worker::{Accepted, Worker};
use crate::record::metrics::Side;
use crate::tls::{self, ClientHello, HANDSHAKE_DEADLINE, Prefixed};

/// Whether the server name of the hello says nothing but whose provider the origin uses.
pub(super) fn hides_its_name(hello: &ClientHello, name: &str, public_names: &[String]) -> bool {
    hello.encrypted && public_names.iter().any(|public| public == name)
}

/// Finishes the handshake as the provider's public name and closes. Nobody is dialled, nothing else is said.
///
/// An authority that was made before the public name was configured may not vouch for it. The client gets an alert
/// then, which most take for a failure of the site.
pub(super) async fn switch_off(worker: &Rc<Worker>, accepted: Accepted, bytes: Vec<u8>, name: &str) {
    let metrics = &worker.shared.recorder.metrics;
    let config = match worker.shared.clients.obtain(accepted.session_owner(), name, &[]).await {
        Ok(config) => config,
        Err(error) => {
            metrics.tls_handshake(Side::Client, error.name());
            tracing::warn!(name, "encrypted ClientHello cannot be switched off: {error}");
            let _ = say_and_close(accepted.stream, &tls::alert_without_leaf(&error)).await;
            return;
        }
    };
    let stream = Prefixed::new(accepted.stream, bytes);
    let shown = match tls::accept(stream, config, HANDSHAKE_DEADLINE, None).await {
        Ok(mut client) => {
            let _ = client.shutdown().await;
            "ech-off"
        }
        // The alert ech_required is what a client that understood says (RFC 9849 section 6.1.6).
        Err(failure) => failure.name(),
    };
    metrics.tls_handshake(Side::Client, shown);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::ServerName;

    #[test]
    fn grease_and_plain_hellos_are_left_alone() {
        let public = ["provider.example".to_owned()];
        let hello = |encrypted| ClientHello { server_name: ServerName::Absent, alpn: vec![], encrypted };
        assert!(hides_its_name(&hello(true), "provider.example", &public));
        for (encrypted, name) in
            [(true, "files.corp.test"), (true, "a.provider.example"), (false, "provider.example")]
        {
            assert!(!hides_its_name(&hello(encrypted), name, &public), "{encrypted} {name}");
        }
    }
}
