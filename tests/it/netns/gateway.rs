//! Gateway mode: hosts behind a bridge that know nothing of the agent, in both families.

mod ends;
mod evasion;
mod who;

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
