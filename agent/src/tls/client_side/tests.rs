//! Handshakes between a client that trusts our root, or does not, and our acceptor, over in-memory streams.

use std::process::Command;
use std::time::Instant;

use rustls::{ClientConfig, HandshakeKind, RootCertStore};
use rustls_pki_types::ServerName;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;

use super::*;
use crate::catalog::HostPattern;
use crate::tls::{PeekDeadlines, Peeked, Prefixed, peek};

const NAME: &str = "files.corp.test";
const OWNER: SessionOwner = SessionOwner::User(1000);
const DEADLINE: Duration = Duration::from_secs(5);

fn side() -> (TempDir, ClientSide) {
    let dir = tempfile::tempdir().unwrap();
    let authority =
        Authority::create(&dir.path().join("ca"), &[HostPattern::Below("corp.test".into())]).unwrap();
    (dir, ClientSide::new(Arc::new(authority)))
}

fn client(side: &ClientSide, trusted: bool, alpn: &[&[u8]]) -> ClientConfig {
    client_of(side, trusted, alpn, provider::VERSIONS)
}

fn client_of(
    side: &ClientSide,
    trusted: bool,
    alpn: &[&[u8]],
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    if trusted {
        roots.add(side.authority().certificates().root.clone()).unwrap();
    }
    let mut config = ClientConfig::builder_with_provider(provider::provider())
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    config
}

/// Peeks and accepts as the pipeline does.
async fn serve(
    mut near: DuplexStream,
    config: Arc<ServerConfig>,
) -> Result<ClientStream<Prefixed<DuplexStream>>, ClientFailure> {
    match peek(&mut near, PeekDeadlines::default()).await {
        Peeked::Tls { bytes, .. } => accept(Prefixed::new(near, bytes), config, DEADLINE, None).await,
        other => panic!("{other:?}"),
    }
}

/// Both ends of a handshake for [`NAME`].
async fn shake(
    client: ClientConfig,
    config: Arc<ServerConfig>,
) -> (
    io::Result<tokio_rustls::client::TlsStream<DuplexStream>>,
    Result<ClientStream<Prefixed<DuplexStream>>, ClientFailure>,
) {
    let (far, near) = duplex(1 << 16);
    let name = ServerName::try_from(NAME).unwrap();
    tokio::join!(TlsConnector::from(Arc::new(client)).connect(name, far), serve(near, config))
}

#[tokio::test]
async fn a_client_that_trusts_the_root_gets_its_leaf_and_data_flows() {
    let (_dir, side) = side();
    for versions in [provider::VERSIONS, &[&rustls::version::TLS12]] {
        let config = side.config(OWNER, NAME, &[b"http/1.1"]).unwrap();
        let (far, near) = shake(client_of(&side, true, &[b"h2", b"http/1.1"], versions), config).await;
        let (mut far, mut near) = (far.unwrap(), near.unwrap());
        let seen = near.negotiated();
        assert_eq!(seen.alpn.as_deref(), Some(&b"http/1.1"[..]));
        if versions.len() == 2 {
            assert_eq!((seen.version, seen.group), ("TLSv1.3", Some("X25519MLKEM768")));
        } else {
            assert_eq!(seen.version, "TLSv1.2");
        }
        far.write_all(b"ping").await.unwrap();
        far.flush().await.unwrap();
        let mut four = [0; 4];
        near.read_exact(&mut four).await.unwrap();
        assert_eq!(&four, b"ping");
        let chain = far.get_ref().1.peer_certificates().unwrap();
        assert_eq!(chain.len(), 2, "leaf and issuing, not the root");
    }
}

#[tokio::test]
async fn a_client_that_does_not_trust_the_root_is_named() {
    let (_dir, side) = side();
    let config = side.config(OWNER, NAME, &[]).unwrap();
    let (far, near) = shake(client(&side, false, &[]), config).await;
    assert!(far.is_err());
    let failure = near.unwrap_err();
    assert_eq!(failure, ClientFailure::RejectedCertificate(AlertDescription::UnknownCA));
    assert!(failure.suggests_pinning());
}

#[tokio::test]
async fn a_client_that_pins_another_name_is_named() {
    let (_dir, side) = side();
    let config = side.config(OWNER, "other.corp.test", &[]).unwrap();
    let (_, near) = shake(client(&side, true, &[]), config).await;
    let failure = near.unwrap_err();
    assert!(matches!(failure, ClientFailure::RejectedCertificate(_)), "{failure:?}");
}

#[tokio::test]
async fn no_protocol_in_common_is_named_and_told_to_the_client() {
    let (_dir, side) = side();
    let config = side.config(OWNER, NAME, &[b"http/1.1"]).unwrap();
    let (far, near) = shake(client(&side, true, &[b"h2"]), config).await;
    assert_eq!(near.unwrap_err(), ClientFailure::NoProtocolOverlap);
    assert!(far.unwrap_err().to_string().contains("NoApplicationProtocol"));
}

#[tokio::test]
async fn a_client_that_goes_silent_or_away_is_named() {
    let (_dir, side) = side();
    let hello = {
        let (mut far, near) = duplex(1 << 16);
        let connect = TlsConnector::from(Arc::new(client(&side, true, &[])))
            .connect(ServerName::try_from(NAME).unwrap(), near);
        let mut bytes = vec![0; 1 << 14];
        tokio::select! {
            _ = connect => unreachable!(),
            n = far.read(&mut bytes) => bytes.truncate(n.unwrap()),
        }
        bytes
    };
    let short = Duration::from_millis(100);
    let (far, near) = duplex(1 << 16);
    let started = Instant::now();
    let silent =
        accept(Prefixed::new(near, hello.clone()), side.config(OWNER, NAME, &[]).unwrap(), short, None).await;
    assert_eq!(silent.unwrap_err(), ClientFailure::TimedOut);
    assert!(started.elapsed() < DEADLINE);
    drop(far);

    let (far, near) = duplex(1 << 16);
    drop(far);
    let gone = accept(Prefixed::new(near, hello), side.config(OWNER, NAME, &[]).unwrap(), short, None)
        .await
        .unwrap_err();
    assert_eq!(gone, ClientFailure::Closed);
    assert!(gone.suggests_pinning());

    let (_far, near) = duplex(1 << 16);
    let noise = Prefixed::new(near, b"\x16\x03\x01\x00\x05hello".to_vec());
    assert_eq!(
        accept(noise, side.config(OWNER, NAME, &[]).unwrap(), short, None).await.unwrap_err(),
        ClientFailure::Protocol
    );
}

/// How the handshake of a client goes that keeps its sessions; they are there for the next one.
async fn kind_for(
    side: &ClientSide,
    client: &ClientConfig,
    owner: SessionOwner,
    name: &str,
) -> HandshakeKind {
    let (far, near) = duplex(1 << 16);
    let to = ServerName::try_from(name.to_owned()).unwrap();
    let config = side.config(owner, name, &[]).unwrap();
    let connector = TlsConnector::from(Arc::new(client.clone()));
    let (far, near) = tokio::join!(connector.connect(to, far), serve(near, config));
    let (mut far, mut near) = (far.unwrap(), near.unwrap());
    near.write_all(b"x").await.unwrap();
    near.flush().await.unwrap();
    // Tickets come before this byte.
    let mut one = [0];
    far.read_exact(&mut one).await.unwrap();
    far.get_ref().1.handshake_kind().unwrap()
}

/// The client's ticket is its own claim: another user who has got hold of it shakes hands anew.
#[tokio::test]
async fn sessions_are_resumed_by_their_owner_for_their_name_until_they_are_forgotten() {
    use HandshakeKind::{Full, Resumed};
    for versions in [provider::VERSIONS, &[&rustls::version::TLS12]] {
        let (_dir, side) = side();
        // One store of the client's for all connections, whoever they are of.
        let client = client_of(&side, true, &[], versions);
        let other = SessionOwner::User(4242);
        assert_eq!(kind_for(&side, &client, OWNER, NAME).await, Full);
        assert_eq!(kind_for(&side, &client, OWNER, NAME).await, Resumed);
        assert_eq!(kind_for(&side, &client, other, NAME).await, Full);
        assert_eq!(kind_for(&side, &client, OWNER, "a.corp.test").await, Full);
        assert_eq!(kind_for(&side, &client, other, NAME).await, Resumed);
        side.forget_sessions();
        assert_eq!(kind_for(&side, &client, other, NAME).await, Full);
    }
    let (_dir, side) = side();
    assert_eq!(side.config(OWNER, NAME, &[]).unwrap().max_early_data_size, 0);
}

#[test]
fn configurations_are_kept_by_name_and_protocols() {
    let (_dir, side) = side();
    let one = side.config(OWNER, NAME, &[b"http/1.1"]).unwrap();
    assert!(Arc::ptr_eq(&one, &side.config(OWNER, "FILES.corp.test", &[b"http/1.1"]).unwrap()));
    assert!(!Arc::ptr_eq(&one, &side.config(OWNER, NAME, &[b"h2", b"http/1.1"]).unwrap()));
    assert!(!Arc::ptr_eq(&one, &side.config(OWNER, "a.corp.test", &[b"http/1.1"]).unwrap()));
    assert!(!Arc::ptr_eq(&one, &side.config(SessionOwner::User(1), NAME, &[b"http/1.1"]).unwrap()));
    assert_eq!(side.config(OWNER, "bank.example", &[]).unwrap_err(), LeafError::NotPermitted);
    assert_eq!(side.authority().minted(), 2);
}

/// Only of use as the child of the next test, but true by itself as well.
#[tokio::test]
async fn one_handshake() {
    let (_dir, side) = side();
    let (far, near) = shake(client(&side, true, &[]), side.config(OWNER, NAME, &[]).unwrap()).await;
    assert!(far.is_ok() && near.is_ok());
}

#[test]
fn the_environment_cannot_make_it_log_keys() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("keys");
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["tls::client_side::tests::one_handshake", "--exact"])
        .env("SSLKEYLOGFILE", &log)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&child.stdout).into_owned();
    assert!(child.status.success() && text.contains("1 passed"), "{text}");
    assert!(!log.exists());
}

/// Accepts one connection on loopback and answers it like an HTTP/1.1 origin.
async fn answer_once(listener: &TcpListener, side: &ClientSide) -> Result<(), ClientFailure> {
    let (mut stream, _): (TcpStream, _) = listener.accept().await.unwrap();
    let Peeked::Tls { bytes, .. } = peek(&mut stream, PeekDeadlines::default()).await else {
        panic!("no hello")
    };
    let config = side.config(OWNER, NAME, &[b"http/1.1"]).unwrap();
    let mut stream = accept(Prefixed::new(stream, bytes), config, DEADLINE, None).await?;
    let mut request = vec![0; 4096];
    let _ = stream.read(&mut request).await;
    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok").await;
    let _ = stream.shutdown().await;
    Ok(())
}

const PYTHON: &str = "
import socket, ssl, sys
ca, port, name = sys.argv[1], int(sys.argv[2]), sys.argv[3]
context = ssl.create_default_context(cafile=ca)
context.verify_flags |= ssl.VERIFY_X509_STRICT
with context.wrap_socket(socket.create_connection(('127.0.0.1', port)), server_hostname=name) as s:
    s.sendall(b'GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n')
    print(s.recv(64))
";

const NODE: &str = "
const [port, name] = process.argv.slice(1);
const get = { host: '127.0.0.1', port, servername: name, headers: { host: name } };
require('https').get(get, (r) => console.log(r.statusCode === 200 ? '200 OK' : 'failed'));
";

#[tokio::test]
async fn curl_strict_python_and_node_agree() {
    let (dir, side) = side();
    let root = dir.path().join("ca/ca.pem").to_str().unwrap().to_owned();
    let stranger = dir.path().join("other.pem");
    let other = tempfile::tempdir().unwrap();
    Authority::create(&other.path().join("ca"), &[HostPattern::Below("corp.test".into())]).unwrap();
    std::fs::copy(other.path().join("ca/ca.pem"), &stranger).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let curl = |ca: &str| {
        let mut command = clean("curl");
        command.args(["-sS", "--max-time", "10", "--cacert", ca, "--capath", "/nonexistent"]).args([
            "--resolve",
            &format!("{NAME}:{port}:127.0.0.1"),
            &format!("https://{NAME}:{port}/"),
        ]);
        command
    };
    let python = || {
        let mut command = clean("python3");
        command.args(["-c", PYTHON, &root, &port, NAME]);
        command
    };
    let node = || {
        let mut command = clean("node");
        command.args(["-e", NODE, "--", &port, NAME]).env("NODE_EXTRA_CA_CERTS", &root);
        command
    };
    for mut command in [curl(&root), python(), node()] {
        let program = command.get_program().to_owned();
        let child = tokio::task::spawn_blocking(move || command.output());
        let (output, accepted) =
            tokio::join!(child, tokio::time::timeout(DEADLINE * 2, answer_once(&listener, &side)));
        match output.unwrap() {
            Ok(output) => {
                let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
                assert!(
                    output.status.success() && text.contains("ok") || text.contains("200 OK"),
                    "{program:?}: {text}"
                );
                accepted.unwrap().unwrap();
            }
            Err(error) => assert!(std::env::var_os("CI").is_none(), "{program:?}: {error}"),
        }
    }
    let mut command = curl(stranger.to_str().unwrap());
    let child = tokio::task::spawn_blocking(move || command.output());
    let (output, accepted) =
        tokio::join!(child, tokio::time::timeout(DEADLINE * 2, answer_once(&listener, &side)));
    if output.unwrap().is_ok_and(|output| !output.status.success()) {
        let failure = accepted.unwrap().unwrap_err();
        assert_eq!(failure, ClientFailure::RejectedCertificate(AlertDescription::UnknownCA));
    }
}

/// A program with an environment that does not tell it other roots.
fn clean(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env_remove("SSL_CERT_FILE").env_remove("CURL_CA_BUNDLE").env_remove("SSL_CERT_DIR");
    command
}
