//! Where a host is, by the resolver of this host, whose answers serve a client's next connections as well: browsers open
//! several at a time.

use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use quick_cache::sync::Cache;
use tokio::time::timeout;

use super::Refusal;
use crate::http::proxy_request::{Authority, Host};

/// Longest wait for the host's resolver.
const RESOLVE: Duration = Duration::from_secs(5);
/// Addresses of one name that are tried.
const ADDRESSES: usize = 8;
/// How long an answer serves. It says nothing of how long it holds, so that is shorter than any time to live in use.
const SERVES: Duration = Duration::from_secs(2);
/// Names whose answers are kept.
const NAMES: usize = 1024;

type Answer = (Instant, Arc<[SocketAddr]>);

static KEPT: LazyLock<Cache<(String, u16), Answer>> = LazyLock::new(|| Cache::new(NAMES));

pub(super) async fn resolve(authority: &Authority) -> Result<Arc<[SocketAddr]>, Refusal> {
    let name = match &authority.host {
        Host::Address(address) => return Ok(Arc::new([SocketAddr::new(*address, authority.port)])),
        Host::Name(name) => name.as_str(),
    };
    let key = (name.to_owned(), authority.port);
    if let Some((since, addresses)) = KEPT.get(&key)
        && since.elapsed() < SERVES
    {
        return Ok(addresses);
    }
    match timeout(RESOLVE, tokio::net::lookup_host((name, authority.port))).await {
        Ok(Ok(addresses)) => {
            let addresses: Arc<[SocketAddr]> = addresses.take(ADDRESSES).collect();
            KEPT.insert(key, (Instant::now(), addresses.clone()));
            Ok(addresses)
        }
        Ok(Err(_)) => Err(Refusal::new(502, "the name could not be resolved")),
        Err(_) => Err(Refusal::new(504, "the resolver did not answer in time")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authority(host: Host) -> Authority {
        Authority { host, port: 443 }
    }

    #[tokio::test]
    async fn an_answer_serves_for_a_while_and_a_failure_does_not() {
        let local = authority(Host::Name("localhost".into()));
        let Ok(first) = resolve(&local).await else { panic!("localhost has no address") };
        assert!(first.iter().all(|address| address.ip().is_loopback() && address.port() == 443));
        let Ok(second) = resolve(&local).await else { panic!("localhost has no address") };
        assert!(Arc::ptr_eq(&first, &second));
        // Answers of before count no longer.
        KEPT.insert(("localhost".into(), 443), (Instant::now() - SERVES, Arc::new([])));
        assert_eq!(resolve(&local).await.ok(), Some(first));

        let nobody = authority(Host::Name("nobody.invalid".into()));
        assert!(resolve(&nobody).await.is_err());
        assert!(KEPT.get(&("nobody.invalid".into(), 443)).is_none());
    }
}
