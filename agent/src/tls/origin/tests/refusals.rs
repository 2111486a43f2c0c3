//! Origins that are refused, each with its reason, and what the client sees of it.

use super::*;

#[tokio::test]
async fn bad_origins_are_refused_with_their_reason() {
    let world = World::new();
    let connector = world.connector();
    let with = |change: &dyn Fn(&mut CertificateParams)| {
        let mut params = leaf_params(NAME);
        change(&mut params);
        world.server(params)
    };
    let expired = with(&|p| p.not_after = rcgen::date_time_ymd(2020, 1, 1));
    assert_eq!(failure_of(&connector, expired, NAME).await, UpstreamFailure::Expired);
    let future = with(&|p| p.not_before = rcgen::date_time_ymd(4000, 1, 1));
    assert_eq!(failure_of(&connector, future, NAME).await, UpstreamFailure::NotYetValid);
    let good = with(&|_| {});
    assert_eq!(failure_of(&connector, good, "other.corp.test").await, UpstreamFailure::NameMismatch);
    // The common name alone never counts.
    let common_name_only = with(&|p| p.subject_alt_names.clear());
    assert_eq!(failure_of(&connector, common_name_only, NAME).await, UpstreamFailure::NameMismatch);
    let client_only = with(&|p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]);
    assert_eq!(failure_of(&connector, client_only, NAME).await, UpstreamFailure::WrongPurpose);
    let authority = with(&|p| p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained));
    assert_eq!(failure_of(&connector, authority, NAME).await, UpstreamFailure::BadCertificate);
}

#[tokio::test]
async fn chains_that_lead_nowhere_are_refused_with_their_reason() {
    let world = World::new();
    let connector = world.connector();
    let leaf_key = key();

    let alone = leaf_params(NAME).self_signed(&leaf_key).unwrap();
    let server = serve_with(vec![alone.into()], &leaf_key);
    assert_eq!(failure_of(&connector, server, NAME).await, UpstreamFailure::SelfSigned);

    let mut own_ca = ca_params(NAME);
    own_ca.subject_alt_names = leaf_params(NAME).subject_alt_names;
    let server = serve_with(vec![own_ca.self_signed(&leaf_key).unwrap().into()], &leaf_key);
    assert_eq!(failure_of(&connector, server, NAME).await, UpstreamFailure::SelfSigned);

    let server = World::named("Other").server(leaf_params(NAME));
    assert_eq!(failure_of(&connector, server, NAME).await, UpstreamFailure::UnknownIssuer);

    // The names of the trusted hierarchy with other keys.
    let server = World::named("Test").server(leaf_params(NAME));
    assert_eq!(failure_of(&connector, server, NAME).await, UpstreamFailure::BadSignature);

    let incomplete = leaf_params(NAME).signed_by(&leaf_key, &world.middle_issuer).unwrap();
    let server = serve_with(vec![incomplete.into()], &leaf_key);
    assert_eq!(failure_of(&connector, server, NAME).await, UpstreamFailure::UnknownIssuer);

    // An end-entity certificate that plays the intermediate.
    let false_key = key();
    let false_params = leaf_params("evil.corp.test");
    let false_middle = false_params.signed_by(&false_key, &world.root_issuer).unwrap();
    let leaf = leaf_params(NAME).signed_by(&leaf_key, &Issuer::new(false_params, false_key)).unwrap();
    let server = serve_with(vec![leaf.into(), false_middle.into()], &leaf_key);
    let failure = failure_of(&connector, server, NAME).await;
    assert!(
        matches!(failure, UpstreamFailure::BadCertificate | UpstreamFailure::UnknownIssuer),
        "{failure:?}"
    );
}

#[tokio::test]
async fn the_own_authority_is_never_an_anchor_not_even_from_the_store() {
    let world = World::new();
    let connector = world.connector();
    let side = ClientSide::new(world.own.clone());
    let server = side.config(OWNER, NAME, &[b"http/1.1"]).unwrap();
    assert_eq!(failure_of(&connector, (*server).clone(), NAME).await, UpstreamFailure::OwnAuthority);

    // Nor after it was replaced: the old root may still lie in the system's store.
    let old_root = world.own.certificates().root_pem.clone();
    let renewed =
        Authority::renew(&world.dir.path().join("ca"), &[HostPattern::Below("corp.test".into())]).unwrap();
    let source = world.roots_file(&[world.root.pem(), old_root]);
    let (connector, report) = OriginConnector::new(&source, &renewed.certificates().own()).unwrap();
    assert_eq!(report.own_excluded, 1);
    let failure = failure_of(&connector, (*server).clone(), NAME).await;
    assert_eq!(failure, UpstreamFailure::OwnAuthority);
}

#[tokio::test]
async fn without_the_exclusion_the_own_authority_would_have_been_accepted() {
    // Guards the test above against passing for another reason.
    let world = World::new();
    let source = world.roots_file(&[world.own.certificates().root_pem.clone()]);
    let (connector, _) = OriginConnector::new(&source, &[]).unwrap();
    let side = ClientSide::new(world.own.clone());
    let server = (*side.config(OWNER, NAME, &[]).unwrap()).clone();
    let (origin, _) = pair(&connector, server, &[]).await;
    assert!(origin.is_ok());
    let error = OriginConnector::new(&source, &world.own.certificates().own()).err().unwrap();
    assert!(matches!(error, RootsError::Empty { .. }), "{error}");
}

#[tokio::test]
async fn origins_that_do_not_finish_or_do_not_speak_tls_are_named() {
    let world = World::new();
    let connector = world.connector();
    let (near, _far) = duplex(1 << 16);
    let short = Duration::from_millis(50);
    assert_eq!(
        connector.connect(near, OWNER, NAME, &[], short, None).await.err(),
        Some(UpstreamFailure::TimedOut)
    );

    let (near, far) = duplex(1 << 16);
    drop(far);
    assert_eq!(
        connector.connect(near, OWNER, NAME, &[], DEADLINE, None).await.err(),
        Some(UpstreamFailure::Closed)
    );

    let (near, mut far) = duplex(1 << 16);
    far.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
    assert_eq!(
        connector.connect(near, OWNER, NAME, &[], DEADLINE, None).await.err(),
        Some(UpstreamFailure::Protocol)
    );

    let (near, mut far) = duplex(1 << 16);
    far.write_all(&[21, 3, 3, 0, 2, 2, 112]).await.unwrap();
    let refused = UpstreamFailure::Alert(AlertDescription::UnrecognisedName);
    assert_eq!(connector.connect(near, OWNER, NAME, &[], DEADLINE, None).await.err(), Some(refused));

    let (near, _far) = duplex(1 << 16);
    assert_eq!(
        connector.connect(near, OWNER, "no name", &[], DEADLINE, None).await.err(),
        Some(UpstreamFailure::UnusableName)
    );

    let mut server = world.server(leaf_params(NAME));
    server.alpn_protocols = vec![b"h2".to_vec()];
    let (origin, _) = pair(&connector, server, &[b"http/1.1".to_vec()]).await;
    assert_eq!(origin.err(), Some(UpstreamFailure::Alert(AlertDescription::NoApplicationProtocol)));
}

#[tokio::test]
async fn the_client_sees_the_mirrored_failure_as_an_alert() {
    let world = World::new();
    for (failure, expected) in [
        (UpstreamFailure::Expired, AlertDescription::CertificateExpired),
        (UpstreamFailure::UnknownIssuer, AlertDescription::UnknownCA),
        (UpstreamFailure::NameMismatch, AlertDescription::BadCertificate),
        (UpstreamFailure::Revoked, AlertDescription::CertificateRevoked),
        (
            UpstreamFailure::Alert(AlertDescription::NoApplicationProtocol),
            AlertDescription::NoApplicationProtocol,
        ),
        (UpstreamFailure::Alert(AlertDescription::CloseNotify), AlertDescription::HandshakeFailure),
        (UpstreamFailure::TimedOut, AlertDescription::InternalError),
    ] {
        // A client like the connector's own: what it reads back is what a browser would.
        let (near, mut far) = duplex(1 << 16);
        far.write_all(&mirrored_alert(&failure)).await.unwrap();
        let seen = world.connector().connect(near, OWNER, NAME, &[], DEADLINE, None).await.err();
        assert_eq!(seen, Some(UpstreamFailure::Alert(expected)), "{failure:?}");
    }
}
