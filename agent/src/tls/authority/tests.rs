//! The authority on disk, its leaves, and what other implementations say about them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::Barrier;
use std::thread;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::{CertificateError, RootCertStore};
use rustls_pki_types::{ServerName, UnixTime};
use tempfile::TempDir;

use super::*;
use crate::tls::provider;

fn below(name: &str) -> HostPattern {
    HostPattern::Below(name.into())
}

fn fresh() -> (TempDir, PathBuf, Authority) {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("state/ca");
    let authority = Authority::create(&dir, &[below("corp.test"), below("slack.example")]).unwrap();
    (home, dir, authority)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// What webpki, asked as a client that trusts our root, says to a leaf for `name`.
fn verify(authority: &Authority, leaf: &Leaf, name: &str, now: SystemTime) -> Result<(), rustls::Error> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.certificates.root.clone()).unwrap();
    let verifier =
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider::provider()).build().unwrap();
    let (leaf, chain) = leaf.certified.cert.split_first().unwrap();
    let now = UnixTime::since_unix_epoch(now.duration_since(SystemTime::UNIX_EPOCH).unwrap());
    verifier.verify_server_cert(leaf, chain, &ServerName::try_from(name).unwrap(), &[], now).map(drop)
}

#[test]
fn the_first_start_makes_it_and_the_next_ones_open_the_same() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("ca");
    let (first, event) = Authority::open_or_create(&dir, &[below("corp.test")]).unwrap();
    assert_eq!(event, AuthorityEvent::Created);
    let (second, event) = Authority::open_or_create(&dir, &[below("corp.test")]).unwrap();
    assert_eq!(event, AuthorityEvent::Opened { expires_soon: false, outgrown: Vec::new() });
    assert_eq!(first.certificates.root, second.certificates.root);
    // A leaf of the second verifies under the root of the first.
    verify(&first, &second.leaf("a.corp.test").unwrap(), "a.corp.test", SystemTime::now()).unwrap();
}

#[test]
fn only_the_owner_can_read_and_no_root_key_exists() {
    let (_home, dir, _authority) = fresh();
    assert_eq!(mode(&dir), 0o700);
    assert_eq!(mode(&dir.join("issuing.key")), 0o600);
    let mut names: Vec<_> =
        fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, [".lock", "ca.pem", "issuing.key", "issuing.pem"]);
    let root = fs::read_to_string(dir.join("ca.pem")).unwrap();
    assert!(!root.contains("PRIVATE"));
}

#[test]
fn two_authorities_share_nothing() {
    let ((_a, _, one), (_b, _, two)) = (fresh(), fresh());
    assert_ne!(one.certificates.root_facts.public_key, two.certificates.root_facts.public_key);
    assert_ne!(one.certificates.issuing_facts.public_key, two.certificates.issuing_facts.public_key);
    assert_ne!(one.certificates.root_facts.subject, two.certificates.root_facts.subject);
}

#[test]
fn starts_at_the_same_time_end_with_one_authority() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("ca");
    let barrier = Barrier::new(8);
    let results: Vec<_> = thread::scope(|scope| {
        let start = || {
            barrier.wait();
            Authority::open_or_create(&dir, &[below("corp.test")]).unwrap()
        };
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(start)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(results.iter().filter(|(_, event)| *event == AuthorityEvent::Created).count(), 1);
    let root = &results[0].0.certificates.root;
    assert!(results.iter().all(|(authority, _)| authority.certificates.root == *root));
}

#[test]
fn a_key_that_others_can_read_is_refused_with_the_remedy() {
    let (_home, dir, _authority) = fresh();
    for open in [0o640, 0o604, 0o666] {
        fs::set_permissions(dir.join("issuing.key"), fs::Permissions::from_mode(open)).unwrap();
        let error = Authority::open_or_create(&dir, &[below("corp.test")]).err().unwrap();
        assert!(matches!(error, AuthorityError::KeyOpen { mode, .. } if mode == open), "{error}");
        assert!(error.to_string().contains("ca init --force"), "{error}");
    }
    fs::set_permissions(dir.join("issuing.key"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o770)).unwrap();
    let error = Authority::open_or_create(&dir, &[below("corp.test")]).err().unwrap();
    assert!(matches!(error, AuthorityError::DirectoryOpen { .. }), "{error}");
}

#[test]
fn nothing_is_written_through_a_link_in_place_of_the_directory() {
    let home = tempfile::tempdir().unwrap();
    let (elsewhere, dir) = (home.path().join("elsewhere"), home.path().join("ca"));
    fs::create_dir(&elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &dir).unwrap();
    let error = Authority::open_or_create(&dir, &[below("corp.test")]).err().unwrap();
    assert!(matches!(error, AuthorityError::Elsewhere { .. }), "{error}");
    assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0);
}

#[test]
fn files_that_do_not_belong_together_are_refused() {
    let ((_a, dir, _one), (_b, other, _two)) = (fresh(), fresh());
    let open = || Authority::open_or_create(&dir, &[below("corp.test")]).err().unwrap();
    for (file, fault) in
        [("issuing.key", "not the key"), ("issuing.pem", "not signed"), ("ca.pem", "not signed")]
    {
        let right = fs::read(dir.join(file)).unwrap();
        fs::write(dir.join(file), fs::read(other.join(file)).unwrap()).unwrap();
        let error = open();
        assert!(matches!(error, AuthorityError::Inconsistent { .. }), "{file}: {error}");
        assert!(error.to_string().contains(fault), "{file}: {error}");
        fs::write(dir.join(file), "-----BEGIN NONSENSE-----").unwrap();
        let error = open();
        assert!(
            matches!(error, AuthorityError::Unreadable { .. } | AuthorityError::Inconsistent { .. }),
            "{file}: {error}"
        );
        fs::write(dir.join(file), right).unwrap();
    }
    Authority::open_or_create(&dir, &[below("corp.test")]).unwrap();
    // A leaf in place of an authority.
    let leaf = Authority::load(&dir, SystemTime::now()).unwrap().leaf("a.corp.test").unwrap();
    let facts = CertificateFacts::read(&leaf.certified.cert[0]).unwrap();
    assert!(!facts.authority);
}

#[test]
fn an_authority_past_its_end_is_refused_and_one_near_it_says_so() {
    let (_home, dir, authority) = fresh();
    let end = authority.certificates.not_after();
    assert!(matches!(Authority::load(&dir, end), Err(AuthorityError::Expired { .. })));
    assert!(Authority::load(&dir, end - Duration::from_secs(1)).is_ok());
    let before = authority.certificates.root_facts.not_before - Duration::from_secs(1);
    assert!(matches!(Authority::load(&dir, before), Err(AuthorityError::NotYetValid { .. })));
    assert!(matches!(authority.leaf_at("a.corp.test", end), Err(LeafError::Expired)));
    let life = end.duration_since(authority.certificates.root_facts.not_before).unwrap();
    assert!(life <= Duration::from_secs(2 * 365 * 24 * 3600));
}

#[test]
fn an_interrupted_creation_is_begun_again() {
    let (_home, dir, first) = fresh();
    // As after a crash before the last rename.
    fs::remove_file(dir.join("ca.pem")).unwrap();
    fs::write(dir.join(".issuing.key.new"), "half").unwrap();
    let (second, event) = Authority::open_or_create(&dir, &[below("corp.test")]).unwrap();
    assert_eq!(event, AuthorityEvent::Created);
    assert_ne!(first.certificates.root, second.certificates.root);
    assert_eq!(mode(&dir.join("issuing.key")), 0o600);
}

#[test]
fn renewing_keeps_the_old_certificates_as_own_and_drops_the_old_key() {
    let (_home, dir, first) = fresh();
    let old_key = fs::read(dir.join("issuing.key")).unwrap();
    let second = Authority::renew(&dir, &[below("new.example")]).unwrap();
    assert_ne!(old_key, fs::read(dir.join("issuing.key")).unwrap());
    let own = second.certificates.own();
    for certificate in first.certificates.own() {
        assert!(own.contains(&certificate));
    }
    assert_eq!(own.len(), 4);
    assert!(second.leaf("x.new.example").is_ok());
    assert_eq!(second.leaf("a.corp.test").unwrap_err(), LeafError::NotPermitted);
    // Also over files that cannot be opened any more.
    fs::write(dir.join("ca.pem"), "damaged").unwrap();
    assert!(Authority::renew(&dir, &[below("new.example")]).is_ok());
    assert!(matches!(Authority::renew(&dir, &[]), Err(AuthorityError::NothingPermitted)));
    assert!(Authority::load(&dir, SystemTime::now()).is_ok());
}

/// The time is that of the new authority's making plus what is given.
fn in_force_after(dir: &Path, later: Duration) -> Authority {
    Authority::load(dir, SystemTime::now() + later).unwrap()
}

#[test]
fn a_rotation_has_an_overlap_in_which_both_are_known_and_one_signs() {
    let (_home, dir, first) = fresh();
    let both = Authority::rotate(&dir, &[below("corp.test"), below("new.example")]).unwrap();
    assert_eq!(both.root, first.certificates.root);
    let next = both.next.clone().unwrap();
    assert_eq!(both.roots().len(), 2);
    assert!(matches!(Authority::rotate(&dir, &[below("corp.test")]), Err(AuthorityError::Rotating { .. })));

    // Within the overlap the first one signs, and neither is believed upstream.
    let during = in_force_after(&dir, OVERLAP - Duration::from_secs(60));
    assert_eq!(during.certificates.root, first.certificates.root);
    assert!(during.certificates.own().contains(&next.root));
    let held: Vec<_> = Issuing::load(&dir).unwrap().iter().map(|one| *one.fingerprint()).collect();
    assert_eq!(held, [first.certificates.issuing_facts.fingerprint, next.issuing_facts.fingerprint]);
    let clock = SystemTime::now();
    verify(&first, &during.leaf_at("a.corp.test", clock).unwrap(), "a.corp.test", clock).unwrap();
    // But for a name that it does not cover: there the second one does, which clients trust by now.
    let leaf = during.leaf_at("a.new.example", clock).unwrap();
    assert_eq!(leaf.certified.cert[1], next.issuing);
    assert_eq!(during.outgrown(&[below("new.example")]), Vec::<String>::new());
    assert_eq!(during.outgrown(&[below("other.example")]), ["*.other.example"]);

    // After it the second one does, without anybody's doing, and the first is not forgotten.
    let after = in_force_after(&dir, OVERLAP + Duration::from_secs(60));
    assert_eq!(after.certificates.root, next.root);
    assert!(after.certificates.own().contains(&first.certificates.root));
    assert!(after.leaf("a.new.example").is_ok());

    // Finished by hand it stands alone, and the old key is gone.
    let old_key = fs::read(dir.join("issuing.key")).unwrap();
    let alone = Authority::finish_rotation(&dir).unwrap();
    assert_eq!((&alone.root, alone.next.is_none()), (&next.root, true));
    assert!(alone.own().contains(&first.certificates.root));
    for entry in fs::read_dir(&dir).unwrap().flatten() {
        assert_ne!(fs::read(entry.path()).unwrap(), old_key);
        assert!(!entry.file_name().to_string_lossy().starts_with("next-"), "{entry:?}");
    }
    assert!(matches!(Authority::finish_rotation(&dir), Err(AuthorityError::NotRotating { .. })));
    assert_eq!(Authority::open(&dir).unwrap().certificates.root, next.root);
}

#[test]
fn a_rotation_that_was_interrupted_at_its_end_is_ended_by_the_next_start() {
    let (_home, dir, _first) = fresh();
    let next = Authority::rotate(&dir, &[below("corp.test")]).unwrap().next.unwrap();
    // As after a crash behind the first rename.
    for file in ["ca.pem", "issuing.key", "issuing.pem"] {
        fs::remove_file(dir.join(file)).unwrap();
    }
    fs::rename(dir.join("next-issuing.key"), dir.join("issuing.key")).unwrap();
    let (authority, event) = Authority::open_or_create(&dir, &[below("corp.test")]).unwrap();
    assert!(matches!(event, AuthorityEvent::Opened { .. }));
    assert_eq!(authority.certificates.root, next.root);
}

#[test]
fn names_that_the_catalog_gained_later_are_reported_and_get_no_leaf() {
    let (_home, dir, _authority) = fresh();
    let wanted = [below("corp.test"), below("new.example")];
    let (authority, event) = Authority::open_or_create(&dir, &wanted).unwrap();
    let outgrown = vec!["*.new.example".to_owned()];
    assert_eq!(event, AuthorityEvent::Opened { expires_soon: false, outgrown });
    let error = authority.leaf("files.new.example").unwrap_err();
    assert_eq!((error.name(), &error), ("not-permitted", &LeafError::NotPermitted));
}

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
    for i in 0..leaves::LEAVES + 200 {
        authority.leaf(&format!("h{i}.corp.test")).unwrap();
    }
    assert!(authority.leaves.kept() <= leaves::LEAVES);
}

#[test]
fn serials_are_random_and_long() {
    let (_home, _dir, authority) = fresh();
    let mut seen = std::collections::HashSet::new();
    for i in 0..50 {
        let leaf = authority.leaf(&format!("h{i}.corp.test")).unwrap();
        let der = &leaf.certified.cert[0];
        // Certificate, TBSCertificate, [0] version, then INTEGER serialNumber (RFC 5280 section 4.1).
        let at = der.windows(7).position(|w| w[..5] == [0xa0, 3, 2, 1, 2] && w[5] == 2).unwrap() + 6;
        assert_eq!(der[at], 16);
        assert!(seen.insert(der[at + 1..at + 17].to_vec()));
    }
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
    let der = dir.join(format!("{name}.der"));
    let pem = dir.join(format!("{name}.pem"));
    fs::write(&der, &leaf.certified.cert[0]).unwrap();
    let (der, pem) = (der.to_str().unwrap(), pem.to_str().unwrap().to_owned());
    tool("openssl", &["x509", "-inform", "DER", "-in", der, "-out", &pem]);
    pem
}

#[test]
fn openssl_in_strict_mode_agrees() {
    let (_home, dir, authority) = fresh();
    let (root, issuing) = (dir.join("ca.pem"), dir.join("issuing.pem"));
    let check = |pem: &str, name: &str| {
        let (root, issuing) = (root.to_str().unwrap(), issuing.to_str().unwrap());
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
                root,
                "-no-CApath",
                "-no-CAstore",
                "-untrusted",
                issuing,
                pem,
            ],
        )
    };
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
