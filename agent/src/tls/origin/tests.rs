//! Origins on loopback that are good, and bad in every way a browser refuses.

mod refusals;

use std::sync::atomic::{AtomicUsize, Ordering};

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
};
use rustls::server::WebPkiClientVerifier;
use rustls::{AlertDescription, HandshakeKind, RootCertStore, ServerConfig};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::catalog::HostPattern;
use crate::tls::{Authority, ClientSide};

const NAME: &str = "files.corp.test";
const OWNER: SessionOwner = SessionOwner::User(1000);
const DEADLINE: Duration = Duration::from_secs(5);

fn key() -> KeyPair {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap()
}

fn ca_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

fn leaf_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new([name.to_owned()]).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params
}

/// A public hierarchy: the root that the connector trusts, and an intermediate.
struct World {
    dir: TempDir,
    root: Certificate,
    root_issuer: Issuer<'static, KeyPair>,
    middle: Certificate,
    middle_issuer: Issuer<'static, KeyPair>,
    own: Arc<Authority>,
}

impl World {
    fn new() -> Self {
        Self::named("Test")
    }

    fn named(name: &str) -> Self {
        let (root_key, middle_key) = (key(), key());
        let root_params = ca_params(&format!("{name} root"));
        let root = root_params.self_signed(&root_key).unwrap();
        let root_issuer = Issuer::new(root_params, root_key);
        let middle_params = ca_params(&format!("{name} intermediate"));
        let middle = middle_params.signed_by(&middle_key, &root_issuer).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let own =
            Authority::create(&dir.path().join("ca"), &[HostPattern::Below("corp.test".into())]).unwrap();
        Self {
            dir,
            root,
            root_issuer,
            middle,
            middle_issuer: Issuer::new(middle_params, middle_key),
            own: Arc::new(own),
        }
    }

    fn roots_file(&self, certificates: &[String]) -> RootsSource {
        let path = self.dir.path().join("roots.pem");
        std::fs::write(&path, certificates.concat()).unwrap();
        RootsSource::File(path)
    }

    /// Trusts the test root, and has the own root and issuing certificate in its store as well.
    fn connector(&self) -> OriginConnector {
        let issuing = std::fs::read_to_string(self.dir.path().join("ca/issuing.pem")).unwrap();
        let source = self.roots_file(&[self.root.pem(), self.own.certificates().root_pem.clone(), issuing]);
        let (connector, report) = OriginConnector::new(&source, &self.own.certificates().own()).unwrap();
        assert_eq!((report.anchors, report.own_excluded), (1, 2));
        connector
    }

    /// A server that shows a leaf made from `params` by the intermediate, with the whole chain.
    fn server(&self, params: CertificateParams) -> ServerConfig {
        let key = key();
        let leaf = params.signed_by(&key, &self.middle_issuer).unwrap();
        serve_with(vec![leaf.into(), self.middle.der().clone()], &key)
    }
}

fn pkcs8(key: &KeyPair) -> PrivateKeyDer<'static> {
    PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()))
}

fn serve_with(chain: Vec<CertificateDer<'static>>, key: &KeyPair) -> ServerConfig {
    ServerConfig::builder_with_provider(provider::provider())
        .with_protocol_versions(provider::VERSIONS)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, pkcs8(key))
        .unwrap()
}

/// Shakes hands to the very end, which goes out with a request otherwise.
async fn connect(
    connector: &OriginConnector,
    stream: DuplexStream,
    (owner, name): (SessionOwner, &str),
    alpn: &[Vec<u8>],
) -> Result<Origin<DuplexStream>, UpstreamFailure> {
    let mut origin = connector.connect(stream, owner, name, alpn, DEADLINE, None).await?;
    origin.stream.flush().await.unwrap();
    Ok(origin)
}

async fn pair(
    connector: &OriginConnector,
    server: ServerConfig,
    alpn: &[Vec<u8>],
) -> (
    Result<Origin<DuplexStream>, UpstreamFailure>,
    std::io::Result<tokio_rustls::server::TlsStream<DuplexStream>>,
) {
    let (near, far) = duplex(1 << 16);
    tokio::join!(
        connect(connector, near, (OWNER, NAME), alpn),
        TlsAcceptor::from(Arc::new(server)).accept(far)
    )
}

#[tokio::test]
async fn a_good_origin_is_accepted_and_its_facts_are_told() {
    let world = World::new();
    let mut server = world.server(leaf_params(NAME));
    server.alpn_protocols = vec![b"http/1.1".to_vec()];
    let alpn = [b"h2".to_vec(), b"http/1.1".to_vec()];
    let (origin, far) = pair(&world.connector(), server, &alpn).await;
    let (origin, far) = (origin.unwrap(), far.unwrap());
    assert_eq!(origin.stream.negotiated().version, "TLSv1.3");
    assert_eq!(origin.stream.negotiated().group, Some("X25519MLKEM768"));
    assert_eq!(origin.stream.negotiated().alpn.as_deref(), Some(&b"http/1.1"[..]));
    assert!(!origin.certificate_asked);
    assert_eq!(far.get_ref().1.server_name(), Some(NAME));
}

#[tokio::test]
async fn a_request_for_a_client_certificate_gets_none_and_is_told() {
    let world = World::new();
    let mut roots = RootCertStore::empty();
    roots.add(world.root.der().clone()).unwrap();
    let build = |required: bool, versions| {
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots.clone()), provider::provider());
        let verifier = if required { verifier } else { verifier.allow_unauthenticated() }.build().unwrap();
        let key = key();
        let leaf = leaf_params(NAME).signed_by(&key, &world.middle_issuer).unwrap();
        ServerConfig::builder_with_provider(provider::provider())
            .with_protocol_versions(versions)
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![leaf.into(), world.middle.der().clone()], pkcs8(&key))
            .unwrap()
    };
    let connector = world.connector();
    let (origin, far) = pair(&connector, build(false, provider::VERSIONS), &[]).await;
    assert!(origin.unwrap().certificate_asked);
    assert!(far.unwrap().get_ref().1.peer_certificates().is_none());

    // TLS 1.3: the refusal comes with the first read. TLS 1.2: within the handshake.
    let (origin, _far) = pair(&connector, build(true, provider::VERSIONS), &[]).await;
    let mut origin = origin.unwrap();
    let error = origin.stream.read_u8().await.unwrap_err();
    assert_eq!(UpstreamFailure::of(&error, origin.certificate_asked), UpstreamFailure::ClientCertificate);
    let (origin, _far) = pair(&connector, build(true, &[&rustls::version::TLS12]), &[]).await;
    assert_eq!(origin.err(), Some(UpstreamFailure::ClientCertificate));
}

/// How the handshake for `owner` goes; its session is there for the next one.
async fn kind_for(
    connector: &OriginConnector,
    server: &Arc<ServerConfig>,
    owner: SessionOwner,
    name: &str,
) -> HandshakeKind {
    let (near, far) = duplex(1 << 16);
    let (origin, far) = tokio::join!(
        connect(connector, near, (owner, name), &[]),
        TlsAcceptor::from(server.clone()).accept(far)
    );
    let (mut origin, mut far) = (origin.unwrap(), far.unwrap());
    // Tickets come before this byte.
    far.write_all(b"x").await.unwrap();
    far.flush().await.unwrap();
    assert_eq!(origin.stream.read_u8().await.unwrap(), b'x');
    if origin.stream.negotiated().resumed { HandshakeKind::Resumed } else { HandshakeKind::Full }
}

/// A resumption takes no look at the certificate: it must be the same user, the same name and the same anchors.
#[tokio::test]
async fn sessions_are_resumed_by_their_owner_for_their_name_until_they_are_forgotten() {
    use HandshakeKind::{Full, Resumed};
    let world = World::new();
    for versions in [provider::VERSIONS, &[&rustls::version::TLS12]] {
        let connector = world.connector();
        let mut params = leaf_params(NAME);
        params.subject_alt_names.push(rcgen::SanType::DnsName("b.corp.test".try_into().unwrap()));
        let key = key();
        let leaf = params.signed_by(&key, &world.middle_issuer).unwrap();
        let chain = vec![leaf.into(), world.middle.der().clone()];
        let mut server = ServerConfig::builder_with_provider(provider::provider())
            .with_protocol_versions(versions)
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, pkcs8(&key))
            .unwrap();
        server.max_early_data_size = 16_384;
        let server = Arc::new(server);
        let other = SessionOwner::Host("10.0.0.1".parse().unwrap());
        assert_eq!(kind_for(&connector, &server, OWNER, NAME).await, Full);
        assert_eq!(kind_for(&connector, &server, OWNER, NAME).await, Resumed);
        assert_eq!(kind_for(&connector, &server, other, NAME).await, Full);
        assert_eq!(kind_for(&connector, &server, OWNER, "b.corp.test").await, Full);
        assert_eq!(kind_for(&connector, &server, OWNER, NAME).await, Resumed);
        connector.forget_sessions();
        assert_eq!(kind_for(&connector, &server, OWNER, NAME).await, Full);
        // Other anchors are another connector.
        assert_eq!(kind_for(&world.connector(), &server, OWNER, NAME).await, Full);
    }
    assert!(!world.connector().kept(OWNER, NAME, &[]).config.enable_early_data);
}

/// It gives tickets and takes none: after so many in vain, with none taken between them, it is offered none.
#[tokio::test]
async fn an_origin_that_takes_no_session_is_not_offered_them_for_ever() {
    use HandshakeKind::{Full, Resumed};
    let world = World::new();
    let connector = world.connector();
    let config = world.server(leaf_params(NAME));
    // Of one that shares its sessions with no other.
    let server = || {
        let mut config = config.clone();
        config.session_storage = rustls::server::ServerSessionMemoryCache::new(8);
        Arc::new(config)
    };
    let kind = async |server: &Arc<ServerConfig>| kind_for(&connector, server, OWNER, NAME).await;
    // The first is offered none; of these two the second takes one.
    for _ in 0..offered::REFUSALS - 1 {
        assert_eq!(kind(&server()).await, Full);
    }
    let taking = server();
    assert_eq!((kind(&taking).await, kind(&taking).await), (Full, Resumed));
    for _ in 0..offered::REFUSALS {
        assert_eq!(kind(&server()).await, Full);
    }
    let taking = server();
    assert_eq!((kind(&taking).await, kind(&taking).await), (Full, Full));
}

/// What is remembered of a chain says nothing about a name that it is not for.
#[tokio::test]
async fn a_known_chain_is_still_refused_under_another_name() {
    let world = World::new();
    let connector = world.connector();
    let server = world.server(leaf_params(NAME));
    assert_eq!(kind_for(&connector, &Arc::new(server.clone()), OWNER, NAME).await, HandshakeKind::Full);
    let refused = failure_of(&connector, server, "another.corp.test").await;
    assert_eq!(refused, UpstreamFailure::NameMismatch);
}

/// Handshakes share a verifier and not what is noticed in them.
#[tokio::test]
async fn handshakes_at_the_same_time_keep_their_notes_apart() {
    let world = World::new();
    let connector = world.connector();
    let mut expired = leaf_params(NAME);
    expired.not_before = rcgen::date_time_ymd(2020, 1, 1);
    expired.not_after = rcgen::date_time_ymd(2021, 1, 1);
    let (bad, good) = (world.server(expired), world.server(leaf_params(NAME)));
    for _ in 0..10 {
        let ((bad, _), (good, _)) =
            tokio::join!(pair(&connector, bad.clone(), &[]), pair(&connector, good.clone(), &[]));
        assert_eq!(bad.err(), Some(UpstreamFailure::Expired));
        assert!(good.is_ok());
    }
}

#[test]
fn the_system_store_is_read() {
    match OriginConnector::new(&RootsSource::System, &World::new().own.certificates().own()) {
        Ok((_, report)) => assert!(report.anchors > 0 && report.own_excluded == 0, "{report:?}"),
        Err(error) => assert!(matches!(error, RootsError::Empty { .. }), "{error}"),
    }
}

#[test]
fn a_source_without_anchors_is_an_error_and_damage_is_named() {
    let world = World::new();
    let empty = world.roots_file(&[]);
    assert!(matches!(OriginConnector::new(&empty, &[]), Err(RootsError::Empty { .. })));
    let expired = {
        let mut params = ca_params("Old root");
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
        params.self_signed(&key()).unwrap().pem()
    };
    let only = world.roots_file(std::slice::from_ref(&expired));
    assert!(matches!(OriginConnector::new(&only, &[]), Err(RootsError::Empty { .. })));
    let both = world.roots_file(&[expired, world.root.pem()]);
    let (_, report) = OriginConnector::new(&both, &[]).unwrap();
    assert_eq!((report.anchors, report.expired), (1, 1));
    let damaged = world.roots_file(&[world.root.pem(), "-----BEGIN CERTIFICATE-----\n!!\n".to_owned()]);
    assert!(matches!(OriginConnector::new(&damaged, &[]), Err(RootsError::File { .. })));
    let missing = RootsSource::File(world.dir.path().join("nothing.pem"));
    let error = OriginConnector::new(&missing, &[]).err().unwrap().to_string();
    assert!(error.contains("nothing.pem"), "{error}");
}

/// Connects over loopback; gives the failure, and counts the bytes of a request the origin got to see.
async fn failure_of(connector: &OriginConnector, server: ServerConfig, name: &str) -> UpstreamFailure {
    static REQUEST_BYTES: AtomicUsize = AtomicUsize::new(0);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let origin = async {
        let (stream, _) = listener.accept().await.unwrap();
        if let Ok(mut stream) = TlsAcceptor::from(Arc::new(server)).accept(stream).await {
            let mut bytes = Vec::new();
            let _ = stream.read_to_end(&mut bytes).await;
            REQUEST_BYTES.fetch_add(bytes.len(), Ordering::Relaxed);
        }
    };
    let agent = async {
        let stream = TcpStream::connect(address).await.unwrap();
        connector.connect(stream, OWNER, name, &[b"http/1.1".to_vec()], DEADLINE, None).await
    };
    let (result, ()) = tokio::join!(agent, origin);
    assert_eq!(REQUEST_BYTES.load(Ordering::Relaxed), 0);
    match result {
        Ok(_) => panic!("accepted"),
        Err(failure) => failure,
    }
}
