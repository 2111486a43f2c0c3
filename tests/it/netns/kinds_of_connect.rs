//! The ways in which programs connect: each ends steered, blocked, and with the right owner on record (A30, A32).

use std::fs;
use std::os::unix::fs::PermissionsExt;

use lab::agent::{Agent, Settings};
use lab::attachment::{DOCX, PAGE};
use lab::client::{Curl, python};
use lab::{Lab, address_of, run, wait};
use serde_json::Value;

use super::{MONITORED, UNMONITORED, check_blocked, left_out, url};

/// The client program: the first argument is the kind of connect, then host, path, and a second host.
const CONNECTS: &str = include_str!("../../support/connects.py");
const USER: u32 = 4242;

#[track_caller]
fn connect(lab: &Lab, kind: &str, host: &str, uid: Option<u32>) -> Value {
    let said = python(lab, CONNECTS, &[kind, host, DOCX.path, UNMONITORED], uid)
        .unwrap()
        .succeeded()
        .unwrap_or_else(|error| panic!("{kind}: {error:#}"))
        .text();
    serde_json::from_str(&said).unwrap_or_else(|error| panic!("{kind}: {error} in {said:?}"))
}

/// The answer is a block, and its record has the process and the user.
#[track_caller]
fn check_owner(agent: &Agent<'_>, kind: &str, answer: &Value, uid: u32) {
    assert_eq!(answer["status"], 403, "{kind}: {answer}\n{}", agent.log());
    let record = agent.wait_for_activity(kind, |record| record["id"] == answer["activity"]).unwrap();
    assert_eq!(record["process"]["pid"], answer["connector"], "{kind}: {record}");
    assert_eq!(record["user"]["uid"], uid, "{kind}: {record}");
    assert_eq!(record["decision"]["action"], "block", "{kind}");
    assert!(record["process"]["exe"].as_str().is_some_and(|exe| exe.contains("python")), "{kind}: {record}");
}

#[track_caller]
fn check_peer(kind: &str, answer: &Value, host: &str) {
    let peer = answer["peer"][0].as_str().unwrap_or_default();
    let asked = address_of(host, peer.contains(':') && !peer.starts_with("::ffff:")).unwrap();
    assert_eq!(peer.trim_start_matches("::ffff:"), asked, "{kind}: getpeername");
    assert_eq!(answer["peer"][1], 80, "{kind}: getpeername");
}

#[test]
fn every_way_to_connect_is_steered_and_owned_by_who_connected() {
    let lab = Lab::start().unwrap();
    let agent = Agent::start(&lab, &Settings::default()).unwrap();
    for uid in [None, Some(USER)] {
        for kind in [
            "plain",
            "thread",
            "forked",
            "inherited",
            "passed",
            "epoll",
            "bound-address",
            "bound-address-v6",
            "bound-port",
            "bound-without-port",
            "again",
            "mapped",
            "fast-open",
            "fast-open-connect",
        ] {
            let answer = connect(&lab, kind, MONITORED, uid);
            check_owner(&agent, kind, &answer, uid.unwrap_or(0));
            check_peer(kind, &answer, MONITORED);
        }
    }
}

/// A socket bound to an interface cannot reach the listener. Root's is unbound; a user's cannot be (the kernel asks for
/// CAP_NET_RAW, also of its own programs): it does not connect, rather than go past the agent.
#[test]
fn a_socket_bound_to_an_interface_is_steered_or_stays_unconnected() {
    let lab = Lab::start().unwrap();
    let agent = Agent::start(&lab, &Settings::default()).unwrap();
    let answer = connect(&lab, "device", MONITORED, None);
    check_owner(&agent, "device", &answer, 0);
    check_peer("device", &answer, MONITORED);

    let seen = lab.origin_requests().len();
    let finished =
        python(&lab, CONNECTS, &["device", MONITORED, DOCX.path, UNMONITORED], Some(USER)).unwrap();
    assert!(finished.stderr.contains("No route to host"), "{finished:?}");
    assert_eq!(lab.origin_requests().len(), seen, "{:?}", lab.origin_requests());
}

/// A socket that was steered once is not for ever.
#[test]
fn a_socket_that_connects_elsewhere_talks_to_that() {
    let lab = Lab::start().unwrap();
    let _agent = Agent::start(&lab, &Settings::default()).unwrap();
    let answer = connect(&lab, "away-again", MONITORED, None);
    assert_eq!(answer["status"], 200, "{answer}");
    assert_eq!(answer["activity"], Value::Null);
    check_peer("away-again", &answer, UNMONITORED);
}

/// A limit that steering by redirection has: two connections from one source port to two addresses are two connections
/// from one port to the listener. The second fails; nothing goes past the agent.
#[test]
fn a_source_port_that_is_used_twice_leads_nowhere_the_second_time() {
    let lab = Lab::start().unwrap();
    // Everything is steered, so that both of the two are.
    let settings = Settings { guard: "all", ..Settings::default() };
    let agent = Agent::start(&lab, &settings).unwrap();
    let answer = connect(&lab, "reuse", MONITORED, None);
    assert_eq!(answer["second"], "EADDRNOTAVAIL", "{answer}");
    check_owner(&agent, "reuse", &answer, 0);
}

#[test]
fn multipath_tcp_is_steered() {
    let lab = Lab::start().unwrap();
    let agent = Agent::start(&lab, &Settings::default()).unwrap();
    let answer = connect(&lab, "mptcp", MONITORED, Some(USER));
    if let Some(error) = answer["missing"].as_str() {
        assert!(
            !fs::exists("/proc/sys/net/mptcp/enabled").unwrap(),
            "this kernel has Multipath TCP, but a socket of it fails with {error}"
        );
        left_out(&format!("this kernel has no Multipath TCP ({error})"));
        return;
    }
    // Its getpeername() is that of the whole, not of the sub-flow that was steered, and shows the listener.
    check_owner(&agent, "mptcp", &answer, USER);
}

#[test]
fn io_uring_connects_are_steered() {
    let lab = Lab::start().unwrap();
    let agent = Agent::start(&lab, &Settings::default()).unwrap();
    let answer = connect(&lab, "io-uring", MONITORED, None);
    if let Some(error) = answer["missing"].as_str() {
        let disabled = fs::read_to_string("/proc/sys/kernel/io_uring_disabled");
        let has_it = fs::read_to_string("/proc/kallsyms").is_ok_and(|text| text.contains("io_uring_setup"));
        assert!(
            !has_it || disabled.is_ok_and(|text| text.trim() != "0"),
            "this kernel has io_uring, but setting it up fails with {error}"
        );
        left_out(&format!("this kernel has no io_uring, or it is switched off ({error})"));
        return;
    }
    check_owner(&agent, "io-uring", &answer, 0);
    check_peer("io-uring", &answer, MONITORED);
}

/// Neither another user namespace nor leaving the network namespace with a socket in the hand changes who one is.
#[test]
fn namespaces_are_no_way_out() {
    let lab = Lab::start().unwrap();
    let agent = Agent::start(&lab, &Settings::default()).unwrap();
    for kind in ["user-namespace", "kept-socket"] {
        let answer = connect(&lab, kind, MONITORED, Some(USER));
        if let Some(error) = answer["missing"].as_str() {
            let most = fs::read_to_string("/proc/sys/user/max_user_namespaces");
            assert!(most.is_err() || most.is_ok_and(|most| most.trim() == "0"), "{kind}: {error}");
            left_out(&format!("{kind}: this kernel makes no user namespaces for users ({error})"));
            continue;
        }
        check_owner(&agent, kind, &answer, USER);
    }
    // A new namespace has no way to the network at all.
    let finished = lab.run(
        &["unshare", "--user", "--net", "curl", "-sS", "--max-time", "5", &url(MONITORED, PAGE)],
        Some(USER),
    );
    assert_ne!(finished.unwrap().code, Some(0));
}

/// A32: a container without a network of the host's: what carries its packets connects for it, and is a program like others.
#[test]
fn a_rootless_containers_network_is_no_way_out() {
    const CONTAINER: &str = r#"
cd "$(mktemp -d)"
trap 'kill $holder $carrier; rm -rf "$PWD"' EXIT
unshare --user --map-root-user --net sleep 120 &
holder=$!
until [ "$(readlink /proc/$holder/ns/net)" != "$(readlink /proc/self/ns/net)" ]; do sleep 0.1; done
slirp4netns --configure --mtu=1500 --ready-fd=4 $holder tap0 4>ready 2>said >&2 &
carrier=$!
for _ in $(seq 100); do [ -s ready ] && break; sleep 0.1; done
[ -s ready ] || { cat said; exit 1; }
for scheme in http:80 https:443; do
    nsenter --target $holder --user --net --preserve-credentials curl --silent --show-error --insecure --max-time 20 \
        --resolve "$1:${scheme#*:}:$2" --output answer --write-out '%{http_code} ' "${scheme%:*}://$1$3"
done
"#;
    let lab = Lab::start().unwrap();
    let agent = Agent::start(&lab, &Settings::default()).unwrap();
    // A kernel without TUN has no such containers either.
    if fs::File::open("/dev/net/tun").is_err() {
        return left_out("a rootless container: this machine has no /dev/net/tun");
    }
    let to = address_of(MONITORED, false).unwrap();
    let finished = lab.run(&["bash", "-c", CONTAINER, "container", MONITORED, to, DOCX.path], None).unwrap();
    assert_eq!(finished.text().trim(), "403 403", "{}\n{}", finished.stderr, agent.log());
    let record = agent.wait_for_activity("the download", |record| record["type"] == "download").unwrap();
    assert!(record["process"]["exe"].to_string().contains("slirp4netns"), "{record}");
}

/// Programs that bring their own resolver, in datagrams and in a stream.
#[test]
fn clients_with_their_own_resolver_are_steered() {
    for guard in ["peek", "off"] {
        let lab = Lab::start().unwrap();
        let agent = Agent::start(&lab, &Settings { guard, ..Settings::default() }).unwrap();
        wait::until("names to be looked up ahead", wait::PATIENCE, || {
            Ok(agent.log().contains("looked names up ahead").then_some(()))
        })
        .unwrap();
        for kind in ["own-resolver", "own-resolver-connected"] {
            // A name that only a wildcard covers: nothing knows its address but the answer.
            let answer = connect(&lab, kind, "api.corp.test", Some(USER));
            check_owner(&agent, kind, &answer, USER);
            check_peer(kind, &answer, "api.corp.test");
        }
        // An answer in a stream is not read: the address was looked up ahead, or is unexplained and peeked.
        let host = if guard == "off" { MONITORED } else { "docs.corp.test" };
        let answer = connect(&lab, "dns-over-tcp", host, Some(USER));
        check_owner(&agent, "dns-over-tcp", &answer, USER);
    }
}

/// A program that runs with another user's rights belongs to the user who started it: borrowed rights change no policy.
#[test]
fn a_setuid_program_belongs_to_who_started_it() {
    const OWNER: u32 = 4243;
    let lab = Lab::start().unwrap();
    let agent = Agent::start(&lab, &Settings::default()).unwrap();
    let program = lab.directory().join("setuid-curl");
    fs::copy("/usr/bin/curl", &program).unwrap();
    std::os::unix::fs::chown(&program, Some(OWNER), None).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o4755)).unwrap();
    let mut command = lab.client().command(&program, Some(USER)).unwrap();
    command.args(["--silent", "--show-error", "--dump-header", "-", "--output", "/dev/null", "--cacert"]);
    command.arg(lab.trust()).arg(url(MONITORED, DOCX));
    let head = run(command, wait::PATIENCE).unwrap().succeeded().unwrap().text();
    assert!(head.contains(" 403"), "{head}");
    let record = agent
        .wait_for_activity("the setuid program", |record| {
            record["process"]["exe"] == program.to_str().unwrap()
        })
        .unwrap_or_else(|error| panic!("{error:#}: {:?}", agent.activities(&[])));
    assert_eq!(record["user"]["uid"], USER, "{record}");
    check_blocked(&Curl::get(url(MONITORED, DOCX)).user(OWNER).send(&lab).unwrap(), DOCX);
}
