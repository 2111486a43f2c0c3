//! Leaves: for which names and how long they are, what verifiers say of them, and how they are kept.

use super::*;
use crate::tls::authority::leaves::LEAVES;

#[test]
fn leaves_are_refused_for_anything_but_permitted_names() {
    let (_home, _dir, authority) = fresh();
    for (name, expected) in [
        ("192.0.2.1", "address"),
        ("[2001:db8::1]", "address"),
        ("*.corp.test", "malformed-name"),
        ("", "malformed-name"),
        ("example.org", "not-permitted"),
        ("notcorp.test", "not-permitted"),
        ("corp.test.example.org", "not-permitted"),
    ] {
        assert_eq!(authority.leaf(name).unwrap_err().name(), expected, "{name:?}");
    }
    assert_eq!(authority.minted(), 0);
}

#[test]
fn webpki_accepts_the_leaf_for_its_name_and_time_only() {
    let (_home, _dir, authority) = fresh();
    let leaf = authority.leaf("Files.Corp.Test.").unwrap();
    let now = SystemTime::now();
    verify(&authority, &leaf, "files.corp.test", now).unwrap();
    verify(&authority, &leaf, "files.corp.test", now - Duration::from_secs(3000)).unwrap();
    for name in ["corp.test", "other.corp.test", "a.files.corp.test"] {
        assert!(verify(&authority, &leaf, name, now).is_err(), "{name}");
    }
    let error =
        verify(&authority, &leaf, "files.corp.test", now + LEAF_LIFE + Duration::from_secs(2)).unwrap_err();
    assert!(
        matches!(error, rustls::Error::InvalidCertificate(CertificateError::ExpiredContext { .. })),
        "{error}"
    );
    let facts = CertificateFacts::read(&leaf.certified.cert[0]).unwrap();
    assert!(facts.not_after.duration_since(facts.not_before).unwrap() < Duration::from_secs(24 * 3600));
    assert_eq!(facts.subject, "");
}

/// The key on disk, in other hands, signs for any name; clients must refuse what lies outside the constraints.
fn forged(authority: &Authority, name: &str) -> Arc<Leaf> {
    let Key::Here(issuing) = &authority.key else { panic!("the key is elsewhere") };
    let (certificates, now) = (&authority.certificates, SystemTime::now());
    let sign = || issuing[0].sign(name, authority.leaves.public_key(), now);
    authority.leaves.get(name, (&certificates.issuing, certificates.not_after()), now, sign).unwrap()
}

#[test]
fn webpki_refuses_a_forged_leaf_outside_the_constraints() {
    let (_home, _dir, authority) = fresh();
    for name in ["bank.example", "notcorp.test"] {
        assert!(verify(&authority, &forged(&authority, name), name, SystemTime::now()).is_err(), "{name}");
    }
    verify(&authority, &forged(&authority, "a.corp.test"), "a.corp.test", SystemTime::now()).unwrap();
}

#[test]
fn a_leaf_is_kept_until_an_hour_before_its_end() {
    let (_home, _dir, authority) = fresh();
    let now = SystemTime::now();
    let first = authority.leaf_at("a.corp.test", now).unwrap();
    assert!(Arc::ptr_eq(&first, &authority.leaf_at("A.corp.test", now).unwrap()));
    let late = first.not_after - Duration::from_secs(3601);
    assert!(Arc::ptr_eq(&first, &authority.leaf_at("a.corp.test", late).unwrap()));
    let later = first.not_after - Duration::from_secs(3599);
    let second = authority.leaf_at("a.corp.test", later).unwrap();
    assert!(!Arc::ptr_eq(&first, &second));
    assert_ne!(first.certified.cert[0], second.certified.cert[0]);
    assert!(Arc::ptr_eq(&second, &authority.leaf_at("a.corp.test", later).unwrap()));
    assert_eq!(authority.minted(), 2);
}

#[test]
fn a_leaf_never_outlives_its_authority_and_is_not_made_over_and_over_at_the_end() {
    let (_home, _dir, authority) = fresh();
    let end = authority.certificates.not_after();
    let now = end - Duration::from_secs(600);
    let leaf = authority.leaf_at("a.corp.test", now).unwrap();
    assert_eq!(leaf.not_after, end);
    assert!(CertificateFacts::read(&leaf.certified.cert[0]).unwrap().not_after <= end);
    authority.leaf_at("a.corp.test", now + Duration::from_secs(60)).unwrap();
    assert_eq!(authority.minted(), 1);
}

#[test]
fn first_arrivals_at_the_same_time_share_one_leaf() {
    let (_home, _dir, authority) = fresh();
    let barrier = Barrier::new(16);
    let leaves: Vec<_> = thread::scope(|scope| {
        let arrive = || {
            barrier.wait();
            authority.leaf("rush.corp.test").unwrap()
        };
        let threads: Vec<_> = (0..16).map(|_| scope.spawn(arrive)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(authority.minted(), 1);
    assert!(leaves.iter().all(|leaf| Arc::ptr_eq(leaf, &leaves[0])));
}

#[test]
fn the_cache_is_bounded() {
    let (_home, _dir, authority) = fresh();
    for i in 0..LEAVES + 200 {
        authority.leaf(&format!("h{i}.corp.test")).unwrap();
    }
    assert!(authority.leaves.kept() <= LEAVES);
}

/// Runs a program of the system; a machine without it skips the test, except where tests must be complete.
fn tool(program: &str, arguments: &[&str]) -> Option<(bool, String)> {
    match Command::new(program).args(arguments).output() {
        Ok(output) => {
            let text = [output.stdout, output.stderr].concat();
            Some((output.status.success(), String::from_utf8_lossy(&text).into_owned()))
        }
        Err(error) => {
            assert!(std::env::var_os("CI").is_none(), "{program}: {error}");
            println!("skipped: {program}: {error}");
            None
        }
    }
}

fn write_leaf(dir: &Path, name: &str, leaf: &Leaf) -> String {
    write_pem(dir, name, &leaf.certified.cert[0])
}

fn write_pem(dir: &Path, name: &str, certificate: &CertificateDer<'_>) -> String {
    let der = dir.join(format!("{name}.der"));
    let pem = dir.join(format!("{name}.pem"));
    fs::write(&der, certificate).unwrap();
    let (der, pem) = (der.to_str().unwrap(), pem.to_str().unwrap().to_owned());
    tool("openssl", &["x509", "-inform", "DER", "-in", der, "-out", &pem]);
    pem
}

/// What OpenSSL says of a leaf for `name`, shown with `issuing` to whoever trusts the root in `dir`.
fn openssl(dir: &Path, issuing: &str, pem: &str, name: &str) -> Option<(bool, String)> {
    let root = dir.join("ca.pem");
    tool(
        "openssl",
        &[
            "verify",
            "-x509_strict",
            "-purpose",
            "sslserver",
            "-verify_hostname",
            name,
            "-CAfile",
            root.to_str().unwrap(),
            "-no-CApath",
            "-no-CAstore",
            "-untrusted",
            issuing,
            pem,
        ],
    )
}

#[test]
fn with_a_leaf_goes_the_part_of_the_issuing_certificate_that_covers_its_name() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("ca");
    let patterns: Vec<_> = (0..11).map(|n| below(&format!("corp{n}.test"))).collect();
    let authority = Authority::create(&dir, &patterns).unwrap();
    let whole = &authority.certificates.issuing;
    let now = SystemTime::now();
    for n in 0..11 {
        let name = format!("files.corp{n}.test");
        let leaf = authority.leaf(&name).unwrap();
        let [_, part] = leaf.certified.cert.as_slice() else { panic!("{:?}", leaf.certified.cert) };
        let facts = CertificateFacts::read(part).unwrap();
        assert!(facts.permitted.len() < 5 && part.len() < whole.len(), "{:?}", facts.permitted);
        verify(&authority, &leaf, &name, now).unwrap();
        let shown = write_pem(&dir, &format!("part{n}"), part);
        let Some((accepted, text)) = openssl(&dir, &shown, &write_leaf(&dir, &name, &leaf), &name) else {
            return;
        };
        assert!(accepted, "{text}");
        // With another part, whose names it is none of, it is worth nothing.
        let other = authority.certificates.issuing_for(&format!("corp{}.test", (n + 5) % 11));
        assert_ne!(part, other);
        let chain = vec![leaf.certified.cert[0].clone(), other.clone()];
        let certified = rustls::sign::CertifiedKey::new(chain, leaf.certified.key.clone());
        let wrong = Leaf { certified: certified.into(), not_after: leaf.not_after, renew_at: leaf.renew_at };
        assert!(verify(&authority, &wrong, &name, now).is_err());
    }
    assert_eq!(authority.certificates.issuing_for("corp.test"), whole, "as one that is older has no parts");
}

#[test]
fn parts_are_all_of_one_authority_and_may_be_missing() {
    let home = tempfile::tempdir().unwrap();
    let patterns: Vec<_> = (0..6).map(|n| below(&format!("corp{n}.test"))).collect();
    let [dir, other] = ["ca", "other"].map(|name| home.path().join(name));
    let authority = Authority::create(&dir, &patterns).unwrap();
    Authority::create(&other, &patterns).unwrap();
    let [mine, others] = [&dir, &other].map(|dir| fs::read_to_string(dir.join("issuing.pem")).unwrap());
    let begin = "-----BEGIN CERTIFICATE-----";
    let whole = &mine[..mine[1..].find(begin).unwrap() + 1];
    fs::write(dir.join("issuing.pem"), whole).unwrap();
    let older = Authority::open(&dir).unwrap();
    let leaf = older.leaf("corp1.test").unwrap();
    assert_eq!(leaf.certified.cert[1], authority.certificates.issuing);
    verify(&older, &leaf, "corp1.test", SystemTime::now()).unwrap();
    let foreign = &others[others[1..].find(begin).unwrap() + 1..];
    fs::write(dir.join("issuing.pem"), format!("{whole}{foreign}")).unwrap();
    let error = Authority::open(&dir).err().unwrap().to_string();
    assert!(error.contains("ca/issuing.pem: not all of its parts"), "{error}");
    fs::write(dir.join("issuing.pem"), format!("{whole}{begin}\n!!\n")).unwrap();
    assert!(matches!(Authority::open(&dir), Err(AuthorityError::Unreadable { .. })));
    // The same of one that is to follow.
    fs::write(dir.join("issuing.pem"), &mine).unwrap();
    Authority::rotate(&dir, &patterns).unwrap();
    let next = dir.join("next-issuing.pem");
    fs::write(&next, fs::read_to_string(&next).unwrap() + foreign).unwrap();
    let error = Authority::open(&dir).err().unwrap().to_string();
    assert!(error.contains("ca/next-issuing.pem: not all of its parts"), "{error}");
    // Nor with the whole one of another authority, wherever the key is.
    fs::write(&next, &others).unwrap();
    let signer = || Client::new(home.path().join("signer.sock"));
    for opened in [Authority::open(&dir), Authority::of_signer(&dir, signer())] {
        let error = opened.err().unwrap().to_string();
        assert!(error.contains("ca/next-issuing.pem: not signed by the root beside it"), "{error}");
    }
}

#[test]
fn of_very_many_names_there_are_no_parts() {
    let home = tempfile::tempdir().unwrap();
    for (names, has_parts) in [(300, true), (3000, true), (8000, false)] {
        let dir = home.path().join(names.to_string());
        let patterns: Vec<_> = (0..names).map(|n| below(&format!("corp{n}.test"))).collect();
        let authority = Authority::create(&dir, &patterns).unwrap();
        let leaf = authority.leaf("a.corp7.test").unwrap();
        assert_eq!(leaf.certified.cert[1] != authority.certificates.issuing, has_parts);
        if has_parts {
            // Of more it reads not even the root: no certificate of more than 64 KiB.
            verify(&authority, &leaf, "a.corp7.test", SystemTime::now()).unwrap();
        }
        // Two authorities are within what a service manager hands on.
        let sizes = ["ca.pem", "issuing.pem"].map(|name| fs::metadata(dir.join(name)).unwrap().len());
        assert!(2 * sizes.iter().sum::<u64>() < 1 << 20, "{sizes:?}");
    }
}

#[test]
fn openssl_in_strict_mode_agrees() {
    let (_home, dir, authority) = fresh();
    let issuing = dir.join("issuing.pem");
    let check = |pem: &str, name: &str| openssl(&dir, issuing.to_str().unwrap(), pem, name);
    let good = write_leaf(&dir, "files.corp.test", &authority.leaf("files.corp.test").unwrap());
    let Some((accepted, text)) = check(&good, "files.corp.test") else { return };
    assert!(accepted, "{text}");
    let (accepted, _) = check(&good, "other.corp.test").unwrap();
    assert!(!accepted);
    let bad = write_leaf(&dir, "bank.example", &forged(&authority, "bank.example"));
    let (accepted, text) = check(&bad, "bank.example").unwrap();
    assert!(!accepted && text.contains("permitted subtree violation"), "{text}");

    let (_, text) = tool("openssl", &["x509", "-in", &good, "-noout", "-text"]).unwrap();
    for part in [
        "X509v3 Subject Alternative Name: critical\n                DNS:files.corp.test\n",
        "TLS Web Server Authentication",
        "X509v3 Subject Key Identifier",
        "X509v3 Authority Key Identifier",
        "Subject: \n",
        "CA:FALSE",
        "NIST CURVE: P-256",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let (_, text) = tool("openssl", &["x509", "-in", issuing.to_str().unwrap(), "-noout", "-text"]).unwrap();
    for part in
        ["pathlen:0", "X509v3 Name Constraints: critical", "DNS:corp.test", "Certificate Sign", "Excluded"]
    {
        assert!(text.contains(part), "{part} in {text}");
    }
}
