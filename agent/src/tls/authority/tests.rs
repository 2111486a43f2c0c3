//! The authority on disk, its leaves, and what other implementations say about them.

mod leaves;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::Barrier;
use std::thread;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::{CertificateError, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tempfile::TempDir;

use super::*;
use crate::tls::provider;

fn below(name: &str) -> HostPattern {
    HostPattern::Below(name.into())
}

fn fresh() -> (TempDir, PathBuf, Authority) {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("state/ca");
    // So many that the issuing certificate has parts.
    let more = (1..5).map(|n| below(&format!("more{n}.example")));
    let permitted: Vec<_> = [below("corp.test"), below("slack.example")].into_iter().chain(more).collect();
    let authority = Authority::create(&dir, &permitted).unwrap();
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

/// Puts a file of what was an authority into `dir`, as it was written at `then`.
fn retire(dir: &Path, name: &str, octets: usize, then: SystemTime) {
    let path = dir.join(format!("retired-{name}.pem"));
    fs::write(&path, vec![b'#'; octets]).unwrap();
    fs::File::options().write(true).open(path).unwrap().set_modified(then).unwrap();
}

fn retired(dir: &Path) -> Vec<String> {
    let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| name.starts_with("retired-")).collect();
    names.sort();
    names
}

#[test]
fn retired_authorities_are_remembered_as_far_as_there_is_room() {
    let (_home, dir, _authority) = fresh();
    let permitted = [below("corp.test")];
    let ago = |hours: u64| SystemTime::now() - Duration::from_secs(hours * 3600);
    (1..=4).for_each(|hours| retire(&dir, &format!("large{hours}"), 100 << 10, ago(hours)));
    Authority::renew(&dir, &permitted).unwrap();
    let names = retired(&dir);
    assert_eq!(names.len(), 3);
    assert_eq!(names[1..], ["retired-large1.pem", "retired-large2.pem"]);
    for name in &names[1..] {
        fs::remove_file(dir.join(name)).unwrap();
    }
    (10..80).for_each(|hours| retire(&dir, &format!("small{hours}"), 1, ago(hours)));
    Authority::renew(&dir, &permitted).unwrap();
    let names = retired(&dir);
    assert_eq!(names.len(), 64);
    assert_eq!(names.last().unwrap(), "retired-small71.pem", "the two of now, and 62 others");
}

#[test]
fn the_one_that_was_retired_last_is_remembered_whatever_the_clock_says() {
    let (_home, dir, first) = fresh();
    let later = SystemTime::now() + Duration::from_secs(3600);
    (0..2).for_each(|n| retire(&dir, &format!("large{n}"), 300 << 10, later));
    let second = Authority::renew(&dir, &[below("corp.test")]).unwrap();
    assert!(second.certificates.own().contains(&first.certificates.root));
    assert_eq!(retired(&dir).len(), 1);
    // Nor however large it is; what stands behind it is not read.
    let large = fs::read(dir.join(&retired(&dir)[0])).unwrap();
    let large = [large, vec![b'\n'; 300 << 10]].concat();
    fs::write(dir.join(&retired(&dir)[0]), large).unwrap();
    let own = |dir: &Path| Certificates::read(dir).unwrap().own();
    assert!(own(&dir).contains(&first.certificates.root));
    retire(&dir, "newer", 1, later + Duration::from_secs(3600));
    assert!(!own(&dir).contains(&first.certificates.root));
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
