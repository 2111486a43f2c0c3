//! A healthy host, and what each thing that is wrong with one does to the report.

use jiff::{Timestamp, ToSpan};

use super::*;

fn program(name: &str, refusal: Option<&str>) -> Program {
    Program {
        name: name.to_owned(),
        instructions: Some(190_000),
        micros: 2_500_000,
        refusal: refusal.map(str::to_owned),
    }
}

fn directory(path: &str, mode: u32) -> Directory {
    Directory {
        path: path.into(),
        entry: Some(Entry { is_directory: true, owner: 0, mode }),
        free: Answer::Found(10 << 30),
    }
}

fn healthy() -> Facts {
    let now: Timestamp = "2026-11-23T12:00:00Z".parse().unwrap();
    Facts {
        gateway: false,
        now,
        built: Some(now - 24.hours()),
        release: "6.1.0-56-cloud-amd64".to_owned(),
        btf: true,
        lockdown: Some("none".to_owned()),
        capabilities: Capabilities(u64::MAX),
        is_root: true,
        service_uid: Some(998),
        cgroup: Ok("/sys/fs/cgroup".into()),
        features: vec![
            Feature { name: "map lpm_trie", since: "4.11", need: Need::Host, present: Answer::Found(true) },
            Feature {
                name: "program sched_cls",
                since: "4.1",
                need: Need::Gateway,
                present: Answer::Found(true),
            },
        ],
        programs: Answer::Found(vec![program("pc_connect4", None), program("pc_dns_in", None)]),
        namespace_cookie: Answer::Found(true),
        socket_destroy: Answer::Found(true),
        kernel_tls: Some(KernelTls::Ready),
        ipv6: true,
        locked_memory: None,
        configuration: Vec::new(),
        ports: vec![Port {
            setting: "metrics.listen",
            address: "127.0.0.1:9464".parse().unwrap(),
            state: Answer::Found(PortState::Free),
        }],
        state: directory("/var/lib/portcullis", 0o700),
        run: directory("/run/portcullis", 0o755),
        authority: Answer::Found(Some(Authority {
            subject: "CN=Portcullis".to_owned(),
            not_before: now - 48.hours(),
            not_after: now + (24 * 365).hours(),
            trusted: Answer::Found(true),
        })),
        own_stores: Vec::new(),
        daemon: Answer::Found(Daemon::Running { pid: 7, unwell: Vec::new() }),
    }
}

fn check(report: &Report, name: &str) -> Check {
    let found: Vec<&Check> = report.checks.iter().filter(|check| check.name == name).collect();
    assert_eq!(found.len(), 1, "{name} in {report:?}");
    found[0].clone()
}

/// One change to a healthy host, the only check that it must change, and a word of what is said.
#[track_caller]
fn breaks(name: &str, outcome: Outcome, word: &str, change: impl FnOnce(&mut Facts)) {
    let mut facts = healthy();
    change(&mut facts);
    let report = examine(&facts);
    let own = check(&report, name);
    assert_eq!(own.outcome, outcome, "{own:?}");
    assert!(own.found.contains(word), "{own:?} lacks {word:?}");
    if outcome == Outcome::Failed {
        assert!(own.remedy.as_ref().is_some_and(|remedy| !remedy.is_empty()), "{own:?}");
    }
    let others: Vec<&Check> =
        report.checks.iter().filter(|check| check.outcome != Outcome::Ok && check.name != name).collect();
    assert!(others.is_empty(), "{others:?}");
}

#[test]
fn a_healthy_host_passes_every_check() {
    let report = examine(&healthy());
    assert_eq!(report.count(Outcome::Ok), report.checks.len(), "{report:?}");
    assert!(report.checks.iter().all(|check| check.remedy.is_none()), "{report:?}");
    let mut names: Vec<&str> = report.checks.iter().map(|check| check.name.as_str()).collect();
    names.sort_unstable();
    let all = names.len();
    names.dedup();
    assert_eq!(names.len(), all, "names are unique");
    assert_eq!(report.programs.len(), 2);
}

#[test]
fn every_missing_thing_fails_its_own_check_and_no_other() {
    use Outcome::{Failed, Ok, Skipped};
    breaks("btf", Failed, "/sys/kernel/btf/vmlinux", |f| f.btf = false);
    breaks("lockdown", Failed, "confidentiality", |f| f.lockdown = Some("confidentiality".to_owned()));
    breaks("lockdown", Ok, "integrity", |f| f.lockdown = Some("integrity".to_owned()));
    breaks("map lpm_trie", Failed, "missing", |f| f.features[0].present = Answer::Found(false));
    breaks("program sched_cls", Skipped, "gateway", |f| f.features[1].present = Answer::Found(false));
    breaks("program sched_cls", Failed, "missing", |f| {
        f.gateway = true;
        f.features[1].present = Answer::Found(false);
    });
    breaks("namespace-cookie", Failed, "SO_NETNS_COOKIE", |f| f.namespace_cookie = Answer::Found(false));
    breaks("socket-destroy", Failed, "cannot be ended", |f| f.socket_destroy = Answer::Found(false));
    breaks("cgroup", Failed, "nothing mounted", |f| f.cgroup = Err("nothing mounted".to_owned()));
    breaks("kernel-tls", Failed, "CONFIG_TLS", |f| f.kernel_tls = Some(KernelTls::Absent));
    breaks("kernel-tls", Failed, "not loaded", |f| f.kernel_tls = Some(KernelTls::Unloaded));
    breaks("kernel-tls", Ok, "loads the module", |f| f.kernel_tls = Some(KernelTls::Loadable));
    breaks("capabilities", Failed, "CAP_BPF (programs and maps)", |f| {
        f.capabilities = Capabilities(!(1 << 39));
    });
    breaks("ipv6", Ok, "IPv4 alone", |f| f.ipv6 = false);
    breaks("clock", Failed, "was written", |f| f.built = Some(f.now + 72.hours()));
    breaks("clock", Ok, "2026-11-23", |f| f.built = None);
    breaks("port metrics.listen", Failed, "no such address", |f| {
        f.ports[0].state = Answer::Found(PortState::Impossible("no such address".to_owned()));
    });
    breaks("state-directory", Failed, "0755", |f| f.state = directory("/var/lib/portcullis", 0o755));
    breaks("run-directory", Failed, "0777", |f| f.run = directory("/run/portcullis", 0o777));
    breaks("state-directory", Failed, "uid 1000", |f| f.state.entry.as_mut().unwrap().owner = 1000);
    breaks("state-directory", Failed, "no directory", |f| {
        f.state.entry.as_mut().unwrap().is_directory = false
    });
    breaks("state-directory", Ok, "first start", |f| f.state.entry = None);
    breaks("disk-space", Failed, "1 MiB free", |f| f.state.free = Answer::Found(1 << 20));
    breaks("daemon", Failed, "listener failed", |f| {
        f.daemon = Answer::Found(Daemon::Running { pid: 7, unwell: vec!["listener failed".to_owned()] });
    });
    breaks("daemon", Skipped, "not running", |f| f.daemon = Answer::Found(Daemon::NotRunning));
}

#[test]
fn the_authority_is_judged_by_its_end_and_by_who_trusts_it() {
    use Outcome::{Failed, Skipped};
    fn change(f: &mut Facts, act: impl FnOnce(&mut Authority)) {
        if let Answer::Found(Some(authority)) = &mut f.authority {
            act(authority);
        }
    }
    breaks("certificate-authority", Failed, "expired", |f| {
        let now = f.now;
        change(f, |a| a.not_after = now);
    });
    breaks("certificate-authority", Failed, "soon", |f| {
        let now = f.now;
        change(f, |a| a.not_after = now + (24 * 29).hours());
    });
    breaks("clock", Failed, "authority was made", |f| {
        let now = f.now;
        change(f, |a| a.not_before = now + 1.hours());
    });
    breaks("system-trust", Failed, "does not hold", |f| change(f, |a| a.trusted = Answer::Found(false)));
    breaks("system-trust", Skipped, "unreadable", |f| {
        change(f, |a| a.trusted = Answer::Unknown("unreadable".to_owned()));
    });
    breaks("system-trust", Skipped, "no certificate authority yet", |f| f.authority = Answer::Found(None));
}

#[test]
fn every_program_with_a_store_of_its_own_is_named_once_there_is_an_authority() {
    let store = |what: &str| OwnStore { what: what.to_owned(), remedy: "tell it".to_owned() };
    let mut facts =
        Facts { own_stores: vec![store("Chromium of Snap"), store("conda's OpenSSL")], ..healthy() };
    let named = |facts: &Facts| {
        let report = examine(facts);
        let own = report.checks.iter().filter(|check| check.name == "own-trust-store");
        own.map(|check| (check.outcome, check.found.clone(), check.remedy.clone())).collect::<Vec<_>>()
    };
    let line = |what: &str| (Outcome::Failed, what.to_owned(), Some("tell it".to_owned()));
    assert_eq!(named(&facts), [line("Chromium of Snap"), line("conda's OpenSSL")]);
    facts.authority = Answer::Found(None);
    assert_eq!(named(&facts), []);
}

#[test]
fn what_is_broken_fails_and_keeps_its_reason() {
    let mut facts = healthy();
    facts.authority = Answer::Broken("ca.pem: not a certificate".to_owned());
    facts.programs = Answer::Broken("this build has no kernel programs".to_owned());
    let report = examine(&facts);
    for (name, word) in [("certificate-authority", "not a certificate"), ("programs", "no kernel programs")] {
        let own = check(&report, name);
        assert_eq!(own.outcome, Outcome::Failed);
        assert!(own.found.contains(word) && own.remedy.is_some(), "{own:?}");
    }
    assert_eq!(check(&report, "system-trust").outcome, Outcome::Skipped);
    assert!(report.programs.is_empty());
}

#[test]
fn a_port_in_use_is_well_when_the_daemon_runs() {
    breaks("port metrics.listen", Outcome::Ok, "the daemon is running", |f| {
        f.ports[0].state = Answer::Found(PortState::InUse);
    });
    let mut facts = healthy();
    facts.ports[0].state = Answer::Found(PortState::InUse);
    facts.daemon = Answer::Found(Daemon::NotRunning);
    let own = check(&examine(&facts), "port metrics.listen");
    assert_eq!(own.outcome, Outcome::Failed, "{own:?}");
    assert!(own.found.contains("127.0.0.1:9464 is in use"), "{own:?}");
    facts.daemon = Answer::NeedsRoot;
    let own = check(&examine(&facts), "port metrics.listen");
    assert_eq!(own.outcome, Outcome::Skipped, "an ordinary user cannot know whose it is: {own:?}");
}

#[test]
fn a_refused_program_is_named_with_the_end_of_what_the_verifier_said() {
    let log =
        format!("{}\nR1 invalid mem access 'scalar'\nprocessed 12 insns", "0: (b7) r0 = 0\n".repeat(500));
    let mut facts = healthy();
    facts.programs = Answer::Found(vec![program("pc_connect4", None), program("pc_dns_in", Some(&log))]);
    let report = examine(&facts);
    let own = check(&report, "program pc_dns_in");
    assert_eq!(own.outcome, Outcome::Failed);
    assert!(own.found.ends_with("R1 invalid mem access 'scalar' | processed 12 insns"), "{own:?}");
    assert!(own.found.len() < 500, "{own:?}");
    assert_eq!(report.count(Outcome::Failed), 1);
}

#[test]
fn an_older_kernel_is_judged_by_whether_it_takes_the_programs() {
    let old = |programs| {
        let facts = Facts { release: "5.14.0-427.el9.x86_64".to_owned(), programs, ..healthy() };
        check(&examine(&facts), "kernel")
    };
    let taken = old(Answer::Found(vec![program("pc_connect4", None)]));
    assert_eq!(taken.outcome, Outcome::Ok, "{taken:?}");
    assert!(taken.found.contains("5.14.0-427.el9.x86_64 is older than 6.1"), "{taken:?}");
    for programs in [
        Answer::Found(vec![program("pc_connect4", Some("no"))]),
        Answer::Found(Vec::new()),
        Answer::Unknown("refused".to_owned()),
        Answer::Broken("refused".to_owned()),
    ] {
        assert_eq!(old(programs).outcome, Outcome::Failed);
    }
    assert_eq!(old(Answer::NeedsRoot).outcome, Outcome::Skipped);
}

#[test]
fn locked_memory_counts_on_old_kernels_alone() {
    let of = |release: &str, limit| {
        let facts = Facts { release: release.to_owned(), locked_memory: limit, ..healthy() };
        check(&examine(&facts), "locked-memory").outcome
    };
    assert_eq!(of("5.10.0", Some(64 << 10)), Outcome::Failed);
    assert_eq!(of("5.10.0", None), Outcome::Ok);
    assert_eq!(of("6.1.0", Some(64 << 10)), Outcome::Ok);
}

#[test]
fn what_an_ordinary_user_may_not_see_is_skipped_and_says_so() {
    let facts = Facts {
        capabilities: Capabilities(0),
        is_root: false,
        programs: Answer::NeedsRoot,
        namespace_cookie: Answer::Found(true),
        socket_destroy: Answer::NeedsRoot,
        authority: Answer::NeedsRoot,
        daemon: Answer::NeedsRoot,
        ..healthy()
    };
    let report = examine(&facts);
    assert_eq!(report.count(Outcome::Failed), 0, "{report:?}");
    for name in
        ["capabilities", "programs", "socket-destroy", "certificate-authority", "system-trust", "daemon"]
    {
        let own = check(&report, name);
        assert_eq!(own.outcome, Outcome::Skipped, "{own:?}");
        assert_eq!(own.found, "not checked: needs root", "{own:?}");
    }
}

#[test]
fn releases_are_read_as_distributions_write_them() {
    for (text, release) in [
        ("6.1.0-56-cloud-amd64", Some((6, 1))),
        ("6.12.117+deb12-cloud-amd64\n", Some((6, 12))),
        ("5.14.0-427.el9.x86_64", Some((5, 14))),
        ("6.18-rc1", Some((6, 18))),
        ("7.0", Some((7, 0))),
        ("6", None),
        ("", None),
        ("six.one", None),
        ("6.", None),
    ] {
        assert_eq!(Release::parse(text), release.map(|(major, minor)| Release { major, minor }), "{text:?}");
    }
    assert!(Release { major: 6, minor: 1 }.is_supported() && Release { major: 7, minor: 0 }.is_supported());
    assert!(
        !Release { major: 5, minor: 15 }.is_supported() && !Release { major: 6, minor: 0 }.is_supported()
    );
}

#[test]
fn faults_of_the_configuration_are_one_line_with_the_first() {
    let check = |faults: &[&str]| {
        let configuration = faults.iter().map(ToString::to_string).collect();
        let report = examine(&Facts { configuration, ..healthy() });
        let found = report.checks.iter().find(|check| check.name == "configuration").cloned().unwrap();
        assert_eq!(report.count(Outcome::Failed), usize::from(!faults.is_empty()));
        found.found
    };
    assert_eq!(check(&[]), "settings, apps and policies have no fault");
    assert_eq!(check(&["a.toml:1:2: no"]), "a.toml:1:2: no");
    assert_eq!(check(&["a.toml:1:2: no", "b", "c"]), "a.toml:1:2: no, and 2 more");
}
