//! A client that encrypts its ClientHello meets our acceptor, which has no keys for it: what the client makes of that.

use rustls::client::{EchConfig, EchGreaseConfig, EchMode};
use rustls::crypto::aws_lc_rs::hpke::{ALL_SUPPORTED_SUITES, DH_KEM_X25519_HKDF_SHA256_AES_128};
use rustls::crypto::hpke::{Hpke, HpkePublicKey};
use rustls::{ClientConfig, PeerIncompatible, RootCertStore};
use rustls_pki_types::{EchConfigListBytes, ServerName};
use tokio::io::{AsyncWriteExt, duplex};
use tokio_rustls::TlsConnector;

use super::*;
use crate::catalog::HostPattern;
use crate::tls::{ClientHello, PeekDeadlines, Peeked, Prefixed, peek};

/// What hides in the encrypted hello, and what stands outside.
const HIDDEN: &str = "files.corp.test";
const PUBLIC: &str = "provider.example";

/// An ECHConfigList (RFC 9849 section 4) with one configuration, as a DNS record would bring it.
fn published(key: &HpkePublicKey) -> EchConfigListBytes<'static> {
    fn sized(content: &[u8]) -> Vec<u8> {
        let mut out = u16::try_from(content.len()).unwrap().to_be_bytes().to_vec();
        out.extend_from_slice(content);
        out
    }
    let mut contents = vec![7]; // config_id
    contents.extend([0x00, 0x20]); // DHKEM(X25519, HKDF-SHA256)
    contents.extend(sized(&key.0));
    contents.extend(sized(&[0, 1, 0, 1])); // HKDF-SHA256, AES-128-GCM
    contents.push(0); // maximum_name_length
    contents.push(u8::try_from(PUBLIC.len()).unwrap());
    contents.extend_from_slice(PUBLIC.as_bytes());
    contents.extend([0, 0]); // no extensions
    let mut config = vec![0xfe, 0x0d];
    config.extend(sized(&contents));
    EchConfigListBytes::from(sized(&config))
}

fn client(side: &ClientSide, ech: EchMode) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(side.authority().certificates().root.clone()).unwrap();
    let builder = ClientConfig::builder_with_provider(provider::provider()).with_ech(ech).unwrap();
    Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
}

/// The client's end of a handshake for [`HIDDEN`], and what the agent read before it answered as `shown`.
async fn meet(side: &ClientSide, ech: EchMode) -> (io::Result<()>, ClientHello) {
    let (far, mut near) = duplex(1 << 16);
    let connector = TlsConnector::from(client(side, ech));
    let asked = async move { connector.connect(ServerName::try_from(HIDDEN).unwrap(), far).await.map(drop) };
    let answered = async move {
        let Peeked::Tls { hello, bytes } = peek(&mut near, PeekDeadlines::default()).await else {
            panic!("no hello")
        };
        let crate::tls::ServerName::Name(shown) = &hello.server_name else { panic!("{hello:?}") };
        let config = side.config(crate::tls::SessionOwner::User(1000), shown, &[]).unwrap();
        if let Ok(mut client) = accept(Prefixed::new(near, bytes), config, Duration::from_secs(5), None).await
        {
            let _ = client.shutdown().await;
        }
        hello
    };
    tokio::join!(asked, answered)
}

fn side() -> (tempfile::TempDir, ClientSide) {
    let dir = tempfile::tempdir().unwrap();
    let vouched = [HostPattern::Below("corp.test".into()), HostPattern::Exact(PUBLIC.into())];
    let authority = Authority::create(&dir.path().join("ca"), &vouched).unwrap();
    (dir, ClientSide::new(Arc::new(authority)))
}

#[tokio::test]
async fn a_client_with_keys_learns_that_its_encryption_is_off_and_may_try_without() {
    let (_dir, side) = side();
    let suite = DH_KEM_X25519_HKDF_SHA256_AES_128;
    let (key, _) = suite.generate_key_pair().unwrap();
    let config = EchConfig::new(published(&key), ALL_SUPPORTED_SUITES).unwrap();
    let (asked, hello) = meet(&side, EchMode::Enable(config)).await;
    assert!(hello.encrypted);
    assert_eq!(hello.server_name, crate::tls::ServerName::Name(PUBLIC.into()));
    let error = asked.unwrap_err();
    let cause = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    // None: no configuration to try again with. The client believes it because the certificate is the public name's.
    let secure = rustls::Error::PeerIncompatible(PeerIncompatible::ServerRejectedEncryptedClientHello(None));
    assert_eq!(cause, Some(&secure), "{error}");
}

#[tokio::test]
async fn grease_carries_the_true_name_and_changes_nothing() {
    let (_dir, side) = side();
    let suite = DH_KEM_X25519_HKDF_SHA256_AES_128;
    let (key, _) = suite.generate_key_pair().unwrap();
    let (asked, hello) = meet(&side, EchMode::Grease(EchGreaseConfig::new(suite, key))).await;
    assert!(hello.encrypted);
    assert_eq!(hello.server_name, crate::tls::ServerName::Name(HIDDEN.into()));
    asked.unwrap();
}
