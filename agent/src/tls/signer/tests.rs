//! A signer on a thread, and those who ask it: the agent, somebody else, and nonsense.

use std::fs;
use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::time::SystemTime;

use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls_pki_types::{ServerName, UnixTime};
use socket2::{Domain, SockAddr, Socket, Type};
use tempfile::TempDir;

use super::protocol::{Ask, Denial, PACKET_MAX, Reply};
use super::server::{Signer, answer};
use super::{Client, SignFault};
use crate::catalog::HostPattern;
use crate::tls::{Authority, Issuing, LeafError, provider};

struct Scene {
    home: TempDir,
    socket: std::path::PathBuf,
}

impl Scene {
    /// An authority for `corp.test` and its signer, which this user may ask. The thread ends with the test program.
    fn new() -> Self {
        let scene = Self::unserved();
        let listener = Socket::new(Domain::UNIX, Type::SEQPACKET, None).unwrap();
        listener.bind(&SockAddr::unix(&scene.socket).unwrap()).unwrap();
        listener.listen(16).unwrap();
        let signer = Signer::new(Issuing::load(&scene.ca()).unwrap(), nix::unistd::geteuid().as_raw());
        std::thread::spawn(move || answer(&listener, signer));
        scene
    }

    fn unserved() -> Self {
        let home = tempfile::tempdir().unwrap();
        Authority::create(&home.path().join("ca"), &[HostPattern::Below("corp.test".into())]).unwrap();
        let socket = home.path().join("signer.sock");
        Self { home, socket }
    }

    fn ca(&self) -> std::path::PathBuf {
        self.home.path().join("ca")
    }

    fn authority(&self) -> Authority {
        Authority::of_signer(&self.ca(), Client::new(self.socket.clone())).unwrap()
    }

    fn say(&self, packet: &[u8]) -> Vec<u8> {
        let mut socket = Socket::new(Domain::UNIX, Type::SEQPACKET, None).unwrap();
        socket.connect(&SockAddr::unix(&self.socket).unwrap()).unwrap();
        socket.write_all(packet).unwrap();
        let mut answer = vec![0; PACKET_MAX];
        let length = socket.read(&mut answer).unwrap();
        answer.truncate(length);
        answer
    }
}

#[tokio::test]
async fn a_leaf_comes_from_the_signer_and_is_kept() {
    let scene = Scene::new();
    let authority = scene.authority();
    // What it has is enough without the key.
    fs::remove_file(scene.ca().join("issuing.key")).unwrap();
    authority.ask_signer().await.unwrap();
    let (one, two) = tokio::join!(authority.obtain("Files.Corp.Test"), authority.obtain("files.corp.test."));
    let (one, two) = (one.unwrap(), two.unwrap());
    assert!(Arc::ptr_eq(&one, &two));
    assert_eq!(authority.minted(), 1);
    assert!(Arc::ptr_eq(&one, &authority.leaf("files.corp.test").unwrap()));

    let mut roots = RootCertStore::empty();
    roots.add(authority.certificates().root.clone()).unwrap();
    let verifier =
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider::provider()).build().unwrap();
    let (leaf, chain) = one.certified.cert.split_first().unwrap();
    let name = ServerName::try_from("files.corp.test").unwrap();
    verifier.verify_server_cert(leaf, chain, &name, &[], UnixTime::now()).unwrap();
    one.certified.keys_match().unwrap();
    assert_eq!(authority.obtain("bank.example").await.unwrap_err(), LeafError::NotPermitted);
    assert!(authority.leaf("new.corp.test").is_err(), "nothing is signed here");
}

#[tokio::test]
async fn it_signs_nothing_beyond_its_constraints_whoever_asks() {
    let scene = Scene::new();
    let issuer = *Issuing::load(&scene.ca()).unwrap()[0].fingerprint();
    let key = rcgen::PublicKeyData::subject_public_key_info(&rcgen::KeyPair::generate().unwrap());
    let denied = |packet: &[u8]| match Reply::read(&scene.say(packet)) {
        Some(Reply::Denied(denial)) => denial,
        other => panic!("{other:?}"),
    };
    for name in ["bank.example", "notcorp.test", "*.corp.test", "192.0.2.1", "", "a b.corp.test"] {
        assert_eq!(denied(&Ask::Sign { issuer, key: &key, name }.write()), Denial::NotPermitted, "{name:?}");
    }
    let name = "files.corp.test";
    assert_eq!(denied(&Ask::Sign { issuer: [0; 32], key: &key, name }.write()), Denial::OtherIssuer);
    assert_eq!(denied(&Ask::Ping { issuer: [0; 32] }.write()), Denial::OtherIssuer);
    assert_eq!(denied(&Ask::Sign { issuer, key: b"no key", name }.write()), Denial::Failed);
    for nonsense in [&b"GET / HTTP/1.0\r\n\r\n"[..], &[0xff; PACKET_MAX], &[1]] {
        assert_eq!(denied(nonsense), Denial::Malformed);
    }
    assert!(matches!(
        Reply::read(&scene.say(&Ask::Sign { issuer, key: &key, name }.write())),
        Some(Reply::Leaf { .. })
    ));
}

#[tokio::test]
async fn a_signer_that_is_not_there_is_named_and_found_again() {
    let scene = Scene::unserved();
    let authority = scene.authority();
    let LeafError::Signer(SignFault::Silent { path, .. }) =
        authority.obtain("files.corp.test").await.unwrap_err()
    else {
        panic!("no signer listens")
    };
    assert_eq!(path, scene.socket);
    let listener = Socket::new(Domain::UNIX, Type::SEQPACKET, None).unwrap();
    listener.bind(&SockAddr::unix(&scene.socket).unwrap()).unwrap();
    listener.listen(16).unwrap();
    let signer = Signer::new(Issuing::load(&scene.ca()).unwrap(), nix::unistd::geteuid().as_raw());
    std::thread::spawn(move || answer(&listener, signer));
    // The next questions fail at once for a while.
    let mut tried = 0;
    while let Err(error) = authority.obtain("files.corp.test").await {
        assert_eq!(error.name(), "signer-silent");
        tried += 1;
        assert!(tried < 1000);
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

/// Connections to a signer that ended meanwhile are noticed, and the next one is asked.
#[tokio::test]
async fn a_signer_that_was_started_anew_is_asked_without_a_failure() {
    let scene = Scene::unserved();
    let authority = scene.authority();
    for round in 0..3 {
        let _ = fs::remove_file(&scene.socket);
        let listener = Socket::new(Domain::UNIX, Type::SEQPACKET, None).unwrap();
        listener.bind(&SockAddr::unix(&scene.socket).unwrap()).unwrap();
        listener.listen(16).unwrap();
        let issuing = Issuing::load(&scene.ca()).unwrap();
        let thread = std::thread::spawn(move || {
            // As long-lived as one connection.
            let (mut connection, _) = listener.accept().unwrap();
            let mut packet = [0; PACKET_MAX];
            let length = connection.read(&mut packet).unwrap();
            let Some(Ask::Sign { key, name, .. }) = Ask::read(&packet[..length]) else { panic!() };
            let (certificate, not_after) = issuing[0].sign(name, key, SystemTime::now()).unwrap();
            let reply = Reply::Leaf { not_after, certificate: &certificate }.write();
            connection.write_all(&reply).unwrap();
        });
        authority.obtain(&format!("round-{round}.corp.test")).await.unwrap();
        thread.join().unwrap();
    }
}

/// The peer is known by what the kernel says: root may, another user may not. Takes root, to be somebody else.
#[tokio::test]
async fn another_user_is_closed_without_a_word() {
    if !nix::unistd::geteuid().is_root() {
        assert!(std::env::var_os("CI").is_none(), "this takes root");
        println!("LEFT OUT: takes root");
        return;
    }
    let scene = Scene::new();
    fs::set_permissions(scene.home.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    fs::set_permissions(&scene.socket, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let program = format!(
        "import socket\ns = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)\ns.connect({:?})\n\
         s.settimeout(5)\ntry:\n    s.send(bytes([1, 0]) + bytes(32))\n    print(len(s.recv(4096)))\n\
         except (BrokenPipeError, ConnectionResetError):\n    print(0)\n",
        scene.socket
    );
    let ask = |uid: u32| {
        use std::os::unix::process::CommandExt as _;
        let mut command = std::process::Command::new("/usr/bin/python3");
        let output = command.args(["-I", "-c", &program]).uid(uid).gid(uid).output().unwrap();
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    };
    assert_eq!(ask(4242), "0\n");
    assert_eq!(ask(0), "2\n");
}
