//! The lab on its own, without an agent: if these fail, look no further.

use lab::attachment::{BIG, DATA, DOWNLOADS, PAGE};
use lab::client::{Curl, Family, issuer, issuer_at, probe, sha256};
use lab::{Lab, NOBODY, ORIGIN_CA_NAME};

#[test]
fn every_resource_reaches_a_client_as_the_origin_has_it() {
    let lab = Lab::start().unwrap();
    for resource in DOWNLOADS.into_iter().chain([PAGE, DATA, BIG]) {
        for scheme in ["https", "http"] {
            let reply = Curl::get(format!("{scheme}://files.corp.test{}", resource.path)).send(&lab).unwrap();
            assert_eq!(reply.status, 200, "{}", resource.path);
            assert_eq!(reply.header("content-type"), Some(resource.mime), "{}", resource.path);
            assert_eq!(reply.header("content-disposition"), resource.disposition, "{}", resource.path);
            assert!(reply.body == resource.body("files.corp.test"), "{} differs", resource.path);
        }
    }
    let line = format!("files.corp.test GET /index.html 200 {}", PAGE.body("files.corp.test").len());
    lab.wait_for_origin_request("the page", |request| request == line).unwrap();
}

#[test]
fn names_resolve_in_both_families_and_through_aliases() {
    let lab = Lab::start().unwrap();
    for name in ["files.corp.test", "docs.corp.test", "other.example.test"] {
        for family in Family::ALL {
            let probe = probe(&lab, name, family, 443, &[PAGE.path]).unwrap();
            assert_eq!(probe.peer.0, probe.dialled, "{name} {family:?}");
            assert_eq!(probe.issuer.as_deref(), Some(ORIGIN_CA_NAME), "{name}");
            assert!(probe.replies[0].text().contains(name), "{name}");
        }
    }
}

#[test]
fn other_users_and_other_namespaces_reach_the_origin() {
    let lab = Lab::start().unwrap();
    let reply = Curl::get("https://api.corp.test/api/list.json").user(NOBODY).send(&lab).unwrap();
    assert_eq!(reply.status, 200);
    assert_eq!(lab.run(&["id", "-u"], Some(NOBODY)).unwrap().text().trim(), "65534");

    let side = lab.side_client().unwrap();
    assert_eq!(Curl::get("https://files.corp.test/").at(&side).send(&lab).unwrap().status, 200);
    assert!(issuer_at(&lab, &side, "files.corp.test").unwrap().contains(ORIGIN_CA_NAME));
    assert!(issuer(&lab, "shared.test").unwrap().contains(ORIGIN_CA_NAME));
    assert!(issuer(&lab, "broken.corp.test").is_err(), "a certificate of its own signing was trusted");
}

#[test]
fn clients_run_in_the_steered_cgroup() {
    let lab = Lab::start().unwrap();
    let name = lab.cgroup().file_name().unwrap().to_str().unwrap().to_owned();
    let seen = lab.run(&["cat", "/proc/self/cgroup"], Some(NOBODY)).unwrap().text();
    assert!(seen.lines().any(|line| line == format!("0::/{name}/clients")), "{seen}");
    assert_eq!(sha256(b"abc").unwrap(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

#[test]
fn nothing_of_a_lab_outlives_it() {
    let (directory, cgroup, namespaces) = {
        let lab = Lab::start().unwrap();
        lab.side_client().unwrap();
        let namespaces = [lab.namespace().to_owned(), lab.origin_namespace().to_owned()];
        (lab.directory().to_owned(), lab.cgroup().to_owned(), namespaces)
    };
    assert!(!directory.exists());
    assert!(!cgroup.exists());
    for name in namespaces {
        assert!(!std::path::Path::new("/run/netns").join(&name).exists(), "{name}");
    }
}
