//! Gateway mode: hosts behind a bridge that know nothing of the agent, in both families.

use std::time::Duration;

use lab::agent::{Agent, Settings};
use lab::attachment::{DOCX, PAGE, SLOW};
use lab::bpf::Objects;
use lab::client::{Curl, issuer_at};
use lab::gateway::{BRIDGE, GATEWAY, GatewayLab, Inside, LAN, TUNNEL};
use lab::{ORIGIN_CA_NAME, address_of, wait};

use super::{MONITORED, SHARED, UNMONITORED, check_blocked, check_passed, url};

const FAMILIES: [&str; 2] = ["-4", "-6"];

fn steering(guard: &str, interfaces: &[&str]) -> Settings {
    Settings {
        steering: Some(format!(
            "mode = \"gateway\"\nguard = \"{guard}\"\ninterfaces = {interfaces:?}\nfail = \"open\"\n"
        )),
        ..Settings::default()
    }
}

fn kernel(agent: &Agent<'_>, event: &str) -> f64 {
    agent.metric("portcullis_kernel_events_total", &[("event", event)]).unwrap()
}

/// A32: as containers on the host's bridge. No answer was missed: with the guard off a miss would be a download.
#[test]
fn hosts_behind_a_bridge_are_blocked_by_name_in_both_families() {
    let gateway = GatewayLab::start().unwrap();
    let agent = Agent::start(&gateway.lab, &steering("off", &[BRIDGE])).unwrap();
    for (host, family) in [(Inside::A, "-4"), (Inside::B, "-6"), (Inside::B, "-4"), (Inside::A, "-6")] {
        let place = gateway.host(host);
        for name in [MONITORED, "docs.corp.test", "api.corp.test"] {
            let reply = Curl::get(url(name, DOCX)).at(&place).arguments(&[family]).send(&gateway.lab);
            let reply = reply.unwrap_or_else(|error| panic!("{name} {family}: {error:#}\n{}", agent.log()));
            check_blocked(&reply, DOCX);
        }
        let page =
            Curl::get(url(MONITORED, PAGE)).at(&place).arguments(&[family]).send(&gateway.lab).unwrap();
        check_passed(&page, MONITORED, PAGE);
        // In clear text, too.
        let plain = format!("http://{MONITORED}{}", DOCX.path);
        check_blocked(&Curl::get(plain).at(&place).arguments(&[family]).send(&gateway.lab).unwrap(), DOCX);
    }
    assert!(kernel(&agent, "dns-matched") > 0.0);
    assert_eq!(kernel(&agent, "assign-failed"), 0.0);
}

/// Packets of a tunnel begin with their network header.
#[test]
fn clients_of_a_tunnel_without_a_link_layer_are_blocked_in_both_families() {
    let gateway = GatewayLab::start().unwrap();
    let _tunnel = gateway.make_tunnel(Inside::C).unwrap();
    let agent = Agent::start(&gateway.lab, &steering("off", &[TUNNEL])).unwrap();
    let place = gateway.host(Inside::C);
    for family in FAMILIES {
        let get = |name, resource| {
            Curl::get(url(name, resource)).at(&place).arguments(&[family]).send(&gateway.lab).unwrap()
        };
        check_blocked(&get(MONITORED, DOCX), DOCX);
        check_passed(&get(MONITORED, PAGE), MONITORED, PAGE);
        check_passed(&get(UNMONITORED, DOCX), UNMONITORED, DOCX);
    }
    assert!(kernel(&agent, "steered") >= 4.0);
}

/// A13, A33: what the gateway cannot know of another host is not in the record. That the gateway is compliant says nothing of it.
#[test]
fn the_record_names_the_clients_address_and_invents_no_process_and_no_device() {
    let gateway = GatewayLab::start().unwrap();
    let settings = Settings { compliant: true, ..steering("peek", &[BRIDGE]) };
    let agent = Agent::start(&gateway.lab, &settings).unwrap();
    let place = gateway.host(Inside::A);
    check_blocked(
        &Curl::get(url(MONITORED, DOCX)).at(&place).arguments(&["-4"]).send(&gateway.lab).unwrap(),
        DOCX,
    );
    let record = agent.wait_for_activity("the download", |record| record["type"] == "download").unwrap();
    assert!(record["client"].to_string().contains("10.77.0.2"), "{record}");
    for (part, fields) in [("user", &["name", "uid"][..]), ("process", &["pid", "exe", "name"])] {
        for field in fields {
            assert!(record[part][field].is_null(), "{part}.{field}: {record}");
        }
    }
    let device = &record["device"];
    assert_eq!((&device["id"], &device["compliant"]), (&"unknown".into(), &false.into()), "{record}");
}

/// A13: devices and users of other hosts come from the inventory; a change of it applies to the next response, and what it
/// does not know, or cannot say, is not compliant.
#[test]
fn the_inventory_tells_devices_and_users_by_their_address() {
    let gateway = GatewayLab::start().unwrap();
    let inventory = gateway.lab.directory().join("inventory.json");
    let write = |text: &str| std::fs::write(&inventory, text).unwrap();
    let entry = |compliant: bool| {
        let device = format!(r#"{{"id":"laptop-a","compliant":{compliant},"tags":["kiosk"]}}"#);
        format!(
            r#"{{"clients":[{{"addresses":["10.77.0.2","fd77::2"],"device":{device},"user":{{"name":"alice"}}}}]}}"#
        )
    };
    write(&entry(true));
    let settings = Settings {
        identity: format!("inventory = \"{}\"", inventory.display()),
        ..steering("peek", &[BRIDGE])
    };
    let agent = Agent::start(&gateway.lab, &settings).unwrap();
    let get = |host| Curl::get(url(MONITORED, DOCX)).at(&gateway.host(host)).send(&gateway.lab).unwrap();
    let until = |host, status: u16, what: &str| {
        wait::until(what, wait::PATIENCE, || Ok((get(host).status == status).then_some(()))).unwrap();
    };
    until(Inside::A, 200, "the inventory to be read");
    check_passed(&get(Inside::A), MONITORED, DOCX);
    check_blocked(&get(Inside::B), DOCX);
    let record = agent
        .wait_for_activity("A's download", |record| {
            record["type"] == "download" && record["device"]["id"] == "laptop-a"
        })
        .unwrap();
    assert_eq!((&record["user"]["name"], &record["device"]["tags"][0]), (&"alice".into(), &"kiosk".into()));

    write(&entry(false));
    until(Inside::A, 403, "the device to be no longer compliant");
    // alice is in a group that the policy leaves out: groups of `[identity]` count for names of the inventory.
    write(&entry(false).replace("alice", "nobody"));
    until(Inside::A, 200, "the user to be another");
    write("not an inventory");
    until(Inside::A, 403, "the broken inventory to count for nothing");
}

/// A12: with no process to go by, the client's word decides.
#[test]
fn the_user_agent_tells_browsers_where_the_process_is_unknown() {
    let gateway = GatewayLab::start().unwrap();
    let mut settings = steering("peek", &[BRIDGE]);
    for (_, policy) in &mut settings.policies {
        *policy =
            policy.replace("[policy.conditions]\n", "[policy.conditions]\nclient_apps = [\"browser\"]\n");
    }
    let _agent = Agent::start(&gateway.lab, &settings).unwrap();
    let place = gateway.host(Inside::A);
    let get = || Curl::get(url(MONITORED, DOCX)).at(&place);
    check_passed(&get().send(&gateway.lab).unwrap(), MONITORED, DOCX);
    let browser =
        get().arguments(&["--user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Firefox/140.0"]);
    check_blocked(&browser.send(&gateway.lab).unwrap(), DOCX);
}

/// A5: what no policy selects keeps the origin's certificate; by name it never meets the agent.
#[test]
fn unmonitored_names_are_forwarded() {
    let gateway = GatewayLab::start().unwrap();
    let agent = Agent::start(&gateway.lab, &steering("peek", &[BRIDGE])).unwrap();
    let place = gateway.host(Inside::A);
    for family in FAMILIES {
        let reply =
            Curl::get(url(UNMONITORED, DOCX)).at(&place).arguments(&[family]).send(&gateway.lab).unwrap();
        check_passed(&reply, UNMONITORED, DOCX);
    }
    assert_eq!(agent.metric("portcullis_connections_total", &[]).unwrap(), 0.0);
    // At a monitored address: relayed untouched.
    check_blocked(&Curl::get(url(MONITORED, DOCX)).at(&place).send(&gateway.lab).unwrap(), DOCX);
    assert!(issuer_at(&gateway.lab, &place, SHARED).unwrap().contains(ORIGIN_CA_NAME));
    // A host behind an interface that is not named.
    let other = gateway.host(Inside::C);
    check_passed(&Curl::get(url(MONITORED, DOCX)).at(&other).send(&gateway.lab).unwrap(), MONITORED, DOCX);
}

/// A30: no answer explains a hard-coded address.
#[test]
fn unexplained_addresses_are_peeked() {
    let gateway = GatewayLab::start().unwrap();
    let mut settings = steering("peek", &[BRIDGE]);
    settings.steering = settings.steering.map(|text| text + "resolve = false\n");
    let agent = Agent::start(&gateway.lab, &settings).unwrap();
    let place = gateway.host(Inside::A);
    for (name, v6) in [(MONITORED, false), (MONITORED, true), (UNMONITORED, false), (UNMONITORED, true)] {
        let address = address_of(name, v6).unwrap();
        let at = if v6 { format!("{name}:443:[{address}]") } else { format!("{name}:443:{address}") };
        let reply =
            Curl::get(url(name, DOCX)).at(&place).arguments(&["--resolve", &at]).send(&gateway.lab).unwrap();
        match name {
            MONITORED => check_blocked(&reply, DOCX),
            _ => check_passed(&reply, name, DOCX),
        }
    }
    assert_eq!(kernel(&agent, "peeked"), 4.0);
    assert_eq!(kernel(&agent, "steered"), 0.0);
}

/// A31: the client is told at once, by an ICMP error that is not the origin's.
#[test]
fn quic_to_monitored_apps_is_refused_at_once() {
    const PROGRAM: &str = r#"
import errno, socket, sys
family = socket.AF_INET if sys.argv[2] == "-4" else socket.AF_INET6
to = socket.getaddrinfo(sys.argv[1], 443, family, socket.SOCK_DGRAM)[0][4]
s = socket.socket(family, socket.SOCK_DGRAM)
s.settimeout(5)
s.connect(to)
s.send(b"\xc0" + bytes(1199))
try:
    s.recv(2000)
except OSError as error:
    print(errno.errorcode.get(error.errno, "timeout"))
"#;
    let gateway = GatewayLab::start().unwrap();
    let agent = Agent::start(&gateway.lab, &steering("peek", &[BRIDGE])).unwrap();
    let place = gateway.host(Inside::A);
    for family in FAMILIES {
        for (name, expected) in [
            (MONITORED, if family == "-4" { "EHOSTUNREACH" } else { "EACCES" }),
            (UNMONITORED, "ECONNREFUSED"),
        ] {
            let said = gateway.python(&place, PROGRAM, &[name, family]).unwrap().succeeded().unwrap().text();
            assert_eq!(said.trim(), expected, "{name} {family}");
        }
    }
    assert_eq!(kernel(&agent, "quic-refused"), 2.0);
}

/// Answers are believed only when they were asked for and come from the outside.
#[test]
fn forged_answers_explain_nothing() {
    const SEND: &str = r#"
import socket, sys
# A response: one question, evil.test A, one answer.
name = b"\x04evil\x04test\x00"
answer = bytes.fromhex(sys.argv[4]) + b"\x81\x80\0\1\0\1\0\0\0\0" + name + b"\0\1\0\1" + b"\xc0\x0c\0\1\0\1\0\0\1\0\0\4" + socket.inet_aton(sys.argv[3])
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("0.0.0.0", 53))
s.sendto(answer, (sys.argv[1], int(sys.argv[2])))
"#;
    const ASK: &str = r#"
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("0.0.0.0", 5353))
s.sendto(b"\x12\x34\1\0\0\1\0\0\0\0\0\0\x04evil\x04test\0\0\1\0\1", (sys.argv[1], 53))
"#;
    let gateway = GatewayLab::start().unwrap();
    let agent = Agent::start(&gateway.lab, &steering("peek", &[BRIDGE, LAN])).unwrap();
    let (a, c) = (gateway.host(Inside::A), gateway.host(Inside::C));
    let target = address_of(MONITORED, false).unwrap();
    let run = |place, program: &str, arguments: &[&str]| {
        gateway.python(place, program, arguments).unwrap().succeeded().unwrap();
    };
    // From outside, to a host that asked nobody.
    let outside = gateway.outside();
    run(&outside, SEND, &[Inside::A.address()[0], "5353", target, "1234"]);
    wait::until("the unasked answer", wait::PATIENCE, || {
        Ok((kernel(&agent, "dns-unasked") == 1.0).then_some(()))
    })
    .unwrap();
    // From another inside network, to a host that asked there.
    run(&a, ASK, &[Inside::C.address()[0]]);
    run(&c, SEND, &[Inside::A.address()[0], "5353", target, "1234"]);
    wait::until("the answer from the inside", wait::PATIENCE, || {
        Ok((kernel(&agent, "dns-from-inside") == 1.0).then_some(()))
    })
    .unwrap();
    assert_eq!(kernel(&agent, "dns-address"), 0.0);
    // From where it was asked for, but to another question.
    run(&a, ASK, &["198.18.0.20"]);
    let answer = SEND.replace("\"0.0.0.0\"", "\"198.18.0.20\"");
    run(&outside, &answer, &[Inside::A.address()[0], "5353", target, "1235"]);
    wait::until("the answer to another question", wait::PATIENCE, || {
        Ok((kernel(&agent, "dns-unasked") == 2.0).then_some(()))
    })
    .unwrap();
    assert_eq!(kernel(&agent, "dns-address"), 0.0);
    // The same to the question is believed: so those above were well-formed.
    run(&outside, &answer, &[Inside::A.address()[0], "5353", target, "1234"]);
    wait::until("the answer that was asked for", wait::PATIENCE, || {
        Ok((kernel(&agent, "dns-address") == 1.0).then_some(()))
    })
    .unwrap();
}

/// What hides the ports of a steered connection does not get past; what can be followed is steered.
#[test]
fn fragments_and_long_chains_of_headers_are_no_way_round() {
    const PROGRAM: &str = r#"
import socket, struct, sys
def tcp(port):
    return struct.pack("!HHIIBBHHH", port, 443, 1, 0, 0x50, 2, 1024, 0, 0)
v4, v6 = sys.argv[1], sys.argv[2]
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
raw6 = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_RAW)
def send6(first, payload):
    head = struct.pack("!IHBB", 6 << 28, len(payload), first, 64)
    addresses = socket.inet_pton(socket.AF_INET6, "fd77::2") + socket.inet_pton(socket.AF_INET6, v6)
    raw6.sendto(head + addresses + payload, (v6, 0))
options = lambda following: bytes([following, 0, 1, 4, 0, 0, 0, 0])
# Fragments: with both ports, with half a port; then the same behind IPv6.
head = struct.pack("!BBHHHBBH", 0x45, 0, 0, 7, 0x2000, 64, 6, 0)
for payload in (tcp(5001), tcp(5002)[:2]):
    raw.sendto(head + socket.inet_aton("10.77.0.2") + socket.inet_aton(v4) + payload, (v4, 0))
send6(44, struct.pack("!BBHI", 6, 0, 1, 9) + tcp(5003))
# Seven headers hide what follows them; a chain that is cut in a fragment does, too.
send6(60, options(60) * 6 + options(6) + tcp(5004))
send6(44, struct.pack("!BBHI", 60, 0, 1, 10) + b"\x06")
# Two headers and an atomic fragment (RFC 6946) are followed.
send6(60, options(60) + options(44) + struct.pack("!BBHI", 6, 0, 0, 11) + tcp(5005))
"#;
    let gateway = GatewayLab::start().unwrap();
    let agent = Agent::start(&gateway.lab, &steering("peek", &[BRIDGE])).unwrap();
    let place = gateway.host(Inside::A);
    let [v4, v6] = [false, true].map(|v6| address_of(MONITORED, v6).unwrap());
    gateway.python(&place, PROGRAM, &[v4, v6]).unwrap().succeeded().unwrap();
    wait::until("the counters", wait::PATIENCE, || {
        // By what was looked up ahead the address may be a monitored one's already.
        let followed = kernel(&agent, "peeked") + kernel(&agent, "steered");
        Ok((kernel(&agent, "fragment-dropped") == 5.0 && followed == 1.0).then_some(()))
    })
    .unwrap_or_else(|error| {
        let [dropped, peeked, steered] =
            ["fragment-dropped", "peeked", "steered"].map(|event| kernel(&agent, event));
        panic!("{error}: {dropped} {peeked} {steered}")
    });
}

/// A40: what runs when the agent is told to stop runs to its end, while new connections go direct.
#[test]
fn a_running_transfer_survives_the_end_of_steering() {
    let gateway = GatewayLab::start().unwrap();
    let mut agent = Agent::start(&gateway.lab, &steering("peek", &[BRIDGE])).unwrap();
    let (a, b) = (gateway.host(Inside::A), gateway.host(Inside::B));
    const NOTES: &str = "notes.memo.test";
    let (slow, during, status) = std::thread::scope(|scope| {
        let slow = scope.spawn(|| Curl::get(url(NOTES, SLOW)).at(&a).send(&gateway.lab));
        wait::until("the transfer", wait::PATIENCE, || {
            Ok((agent.metric("portcullis_connections_total", &[("path", "inspected")])? == 1.0).then_some(()))
        })
        .unwrap();
        let during = scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(300));
            Curl::get(url(MONITORED, DOCX)).at(&b).send(&gateway.lab)
        });
        let status = agent.stop();
        (slow.join().unwrap(), during.join().unwrap(), status)
    });
    check_passed(&slow.unwrap(), NOTES, SLOW);
    check_passed(&during.unwrap(), MONITORED, DOCX);
    assert!(status.unwrap().success());
}

/// A30: a second name on the same address. The answer for a name of nobody's explains it, but the app's exact names were
/// looked up ahead; without that it is a way round.
#[test]
fn an_apps_exact_names_are_looked_up_ahead() {
    let gateway = GatewayLab::start().unwrap();
    let agent = Agent::start(&gateway.lab, &steering("peek", &[BRIDGE])).unwrap();
    let place = gateway.host(Inside::A);
    wait::until("the names to be looked up", wait::PATIENCE, || {
        Ok(agent.log().contains("looked names up ahead").then_some(()))
    })
    .unwrap();
    for (family, v6) in [("-4", false), ("-6", true)] {
        let shared = Curl::get(url(SHARED, PAGE)).at(&place).arguments(&[family]);
        check_passed(&shared.send(&gateway.lab).unwrap(), SHARED, PAGE);
        let address = address_of(SHARED, v6).unwrap();
        let at = if v6 { format!("[{address}]") } else { address.to_owned() };
        let resolve = format!("{MONITORED}:443:{at}");
        let reply = Curl::get(url(MONITORED, DOCX)).at(&place).arguments(&["--resolve", &resolve]);
        check_blocked(&reply.send(&gateway.lab).unwrap(), DOCX);
    }
    assert_eq!(kernel(&agent, "dns-matched"), 0.0);
}

/// With `dial = "client"` the origin sees who asked, however the connection came to the agent; what the agent has no part in
/// is forwarded as ever, and an end leaves nothing.
#[test]
fn origins_see_the_clients_address_where_that_is_asked_for() {
    let gateway = GatewayLab::start().unwrap();
    let mut settings = steering("peek", &[BRIDGE]);
    settings.steering = settings.steering.map(|text| text + "dial = \"client\"\n");
    let mut agent = Agent::start(&gateway.lab, &settings).unwrap();
    const NOTES: &str = "notes.memo.test";
    for (number, family) in FAMILIES.into_iter().enumerate() {
        for host in [Inside::A, Inside::B] {
            let place = gateway.host(host);
            let get = |name, resource| {
                let request = Curl::get(url(name, resource)).at(&place).arguments(&[family]);
                request.send(&gateway.lab).unwrap_or_else(|error| panic!("{error:#}\n{}", agent.log()))
            };
            check_blocked(&get(MONITORED, DOCX), DOCX);
            check_passed(&get(MONITORED, PAGE), MONITORED, PAGE);
            // A transfer of many segments, inspected; one that is relayed, because no answer explains its address; one that
            // the agent has no part in.
            check_passed(&get(NOTES, SLOW), NOTES, SLOW);
            let address = address_of("other.example.test", family == "-6").unwrap();
            let at = if family == "-6" { format!("[{address}]") } else { address.to_owned() };
            let literal = format!("{UNMONITORED}:443:{at}");
            let relayed =
                Curl::get(url(UNMONITORED, DOCX)).at(&place).arguments(&[family, "--resolve", &literal]);
            check_passed(&relayed.send(&gateway.lab).unwrap(), UNMONITORED, DOCX);
            check_passed(&get(UNMONITORED, PAGE), UNMONITORED, PAGE);
            let own = host.address()[number];
            let asked = wait::until("the origin's log", wait::PATIENCE, || {
                let seen = gateway.lab.origin_clients();
                let of = |name: &str, path: &str| seen.contains(&format!("{own} {name}{path}"));
                let all = of(MONITORED, PAGE.path)
                    && of(NOTES, SLOW.path)
                    && of(UNMONITORED, DOCX.path)
                    && of(UNMONITORED, PAGE.path);
                Ok(all.then_some(seen))
            });
            asked.unwrap_or_else(|error| panic!("{error}: {:?}", gateway.lab.origin_clients()));
        }
    }
    let seen = gateway.lab.origin_clients();
    let others = seen.iter().filter(|line| line.starts_with("198.18.") || line.starts_with("fd18:"));
    assert_eq!(others.collect::<Vec<_>>(), Vec::<&String>::new(), "asked by the gateway itself");
    // Behind an interface that is not inside, on which answers are looked at.
    let other = gateway.host(Inside::C);
    check_passed(&Curl::get(url(MONITORED, DOCX)).at(&other).send(&gateway.lab).unwrap(), MONITORED, DOCX);
    let status = agent.command(&["status"]).unwrap().succeeded().unwrap().text();
    for hook in ["pc_gateway_in on br0", "pc_gateway_back on pc0", "pc_gateway_back on in1"] {
        assert!(status.contains(hook), "{hook}: {status}");
    }
    assert!(!status.contains("pc_gateway_back on br0"), "{status}");

    assert!(agent.stop().unwrap().success(), "{}", agent.log());
    assert_eq!(gateway.marked_routing().unwrap(), Vec::<String>::new());
    for interface in ["pc0", LAN, BRIDGE] {
        assert_eq!(gateway.disciplines(interface).unwrap(), Vec::<String>::new());
    }
    let place = gateway.host(Inside::A);
    check_passed(&Curl::get(url(MONITORED, DOCX)).at(&place).send(&gateway.lab).unwrap(), MONITORED, DOCX);
}

/// The gateway's own services are not the agent's business.
#[test]
fn connections_to_the_gateway_itself_are_left_alone() {
    const PROGRAM: &str = r#"
import socket, sys
try:
    socket.create_connection((sys.argv[1], 443), timeout=5)
    print("connected")
except OSError as error:
    print(type(error).__name__)
"#;
    let gateway = GatewayLab::start().unwrap();
    let agent = Agent::start(&gateway.lab, &steering("all", &[BRIDGE])).unwrap();
    for address in GATEWAY {
        let said =
            gateway.python(&gateway.host(Inside::A), PROGRAM, &[address]).unwrap().succeeded().unwrap();
        assert_eq!(said.text().trim(), "ConnectionRefusedError", "{address}");
    }
    assert_eq!(kernel(&agent, "not-forwarded"), 2.0);
}

#[test]
fn an_interface_that_comes_back_is_steered_again() {
    let gateway = GatewayLab::start().unwrap();
    let agent = Agent::start(&gateway.lab, &steering("peek", &[BRIDGE, "later0"])).unwrap();
    let place = gateway.host(Inside::A);
    let status = || agent.command(&["status"]).unwrap();
    assert!(status().text().contains("later0 is not there"), "{}", status().text());
    check_blocked(&Curl::get(url(MONITORED, DOCX)).at(&place).send(&gateway.lab).unwrap(), DOCX);
    gateway.remove_bridge().unwrap();
    wait::until("the agent to notice", wait::PATIENCE, || {
        Ok(status().text().contains(&format!("{BRIDGE} is not there")).then_some(()))
    })
    .unwrap();
    gateway.make_bridge().unwrap();
    gateway.ip(&["link", "add", "later0", "type", "bridge"]).unwrap();
    wait::until("the agent to attach again", wait::PATIENCE, || Ok((status().code == Some(0)).then_some(())))
        .unwrap();
    for family in FAMILIES {
        let reply =
            Curl::get(url(MONITORED, DOCX)).at(&place).arguments(&[family]).send(&gateway.lab).unwrap();
        check_blocked(&reply, DOCX);
    }
}

#[test]
fn unknown_interfaces_are_an_error_that_names_the_setting() {
    let gateway = GatewayLab::start().unwrap();
    let error = Agent::start(&gateway.lab, &steering("peek", &["nowhere0"])).err().expect("it cannot start");
    let said = format!("{error:#}");
    assert!(said.contains("[steering] interfaces") && said.contains("nowhere0 is not there"), "{said}");
    assert_eq!(gateway.marked_routing().unwrap(), Vec::<String>::new());
}

#[test]
fn nothing_stays_behind_an_orderly_end_nor_a_start_after_a_kill() {
    let gateway = GatewayLab::start().unwrap();
    // A rule of somebody else's, with a mark of its own.
    gateway.ip(&["rule", "add", "fwmark", "0x200000", "priority", "90", "lookup", "main"]).unwrap();
    let before = gateway.marked_routing().unwrap();
    let mut agent = Agent::start(&gateway.lab, &steering("peek", &[BRIDGE])).unwrap();
    let place = gateway.host(Inside::A);
    let held = agent.kernel_objects();
    let routing = gateway.marked_routing().unwrap();
    // In each family: two rules and a route.
    assert_eq!(routing.len(), before.len() + 6, "{routing:?}");
    // TCX links; below Linux 6.6 filters of a queueing discipline instead.
    let before_tcx = !gateway.disciplines(BRIDGE).unwrap().is_empty();
    assert_eq!(held.count("link"), if before_tcx { 0 } else { 2 }, "{held}");

    agent.kill().unwrap();
    // Fail-open: nobody is steered to an agent that is gone.
    check_passed(&Curl::get(url(MONITORED, DOCX)).at(&place).send(&gateway.lab).unwrap(), MONITORED, DOCX);
    agent.start_again().unwrap();
    assert_eq!(gateway.marked_routing().unwrap().len(), before.len() + 6);
    check_blocked(&Curl::get(url(MONITORED, DOCX)).at(&place).send(&gateway.lab).unwrap(), DOCX);

    let status = agent.stop().unwrap();
    assert!(status.success(), "{status}\n{}", agent.log());
    assert_eq!(gateway.marked_routing().unwrap(), before);
    assert_eq!(gateway.disciplines(BRIDGE).unwrap(), Vec::<String>::new());
    wait::until("the kernel to free the agent's objects", wait::PATIENCE, || {
        Ok(Objects::existing()?.also_in(&held).is_empty().then_some(()))
    })
    .unwrap();
    check_passed(&Curl::get(url(MONITORED, DOCX)).at(&place).send(&gateway.lab).unwrap(), MONITORED, DOCX);
}

/// A39: killed, monitored apps are refused at once and the rest goes on; the next agent takes over.
#[test]
fn a_killed_agent_that_fails_closed_leaves_monitored_apps_refused() {
    let gateway = GatewayLab::start().unwrap();
    let mut settings = steering("peek", &[BRIDGE]);
    settings.steering = settings.steering.map(|text| text.replace("open", "closed"));
    let mut agent = Agent::start(&gateway.lab, &settings).unwrap();
    let place = gateway.host(Inside::A);
    let get = |name, family| Curl::get(url(name, DOCX)).at(&place).arguments(&[family]);
    for family in FAMILIES {
        check_blocked(&get(MONITORED, family).send(&gateway.lab).unwrap(), DOCX);
    }
    let held = agent.kernel_objects();
    agent.kill().unwrap();
    for family in FAMILIES {
        let finished =
            get(MONITORED, family).arguments(&["--connect-timeout", "10"]).run(&gateway.lab).unwrap();
        // "Failed to connect to host": neither an answer nor a timeout (28).
        assert_eq!(finished.code, Some(7), "{family}: {}", finished.stderr);
        check_passed(&get(UNMONITORED, family).send(&gateway.lab).unwrap(), UNMONITORED, DOCX);
    }

    agent.start_again().unwrap();
    for family in FAMILIES {
        check_blocked(&get(MONITORED, family).send(&gateway.lab).unwrap(), DOCX);
    }
    assert!(agent.metric("portcullis_gap_seconds", &[]).unwrap() > 0.0);
    let told = agent.command(&["activity"]).unwrap().succeeded().unwrap();
    let why = "no agent was there: with fail = \"closed\" connections to monitored apps were refused";
    assert!(told.text().contains(why), "{}", told.text());
    wait::until("the killed agent's programs to go", wait::PATIENCE, || {
        Ok(Objects::existing()?.also_in(&held).is_empty().then_some(()))
    })
    .unwrap();
    // An orderly end takes everything away.
    assert!(agent.stop().unwrap().success());
    assert_eq!(gateway.marked_routing().unwrap(), Vec::<String>::new());
    assert_eq!(lab::pins::pinned(&gateway.lab.pins()), Vec::<std::path::PathBuf>::new());
    check_passed(&get(MONITORED, "-4").send(&gateway.lab).unwrap(), MONITORED, DOCX);
}
