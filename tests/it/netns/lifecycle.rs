//! The agent's end, orderly and not, and what remains.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use lab::Lab;
use lab::agent::{Agent, Settings};
use lab::attachment::{DOCX, PAGE, SLOW};
use lab::bpf::{Objects, attached};
use lab::client::{self, Curl};

use super::{MONITORED, Stop, UNMONITORED, check_blocked, check_passed, request_until, url};

#[test]
fn an_orderly_end_leaves_nothing_in_the_kernel() {
    let lab = Lab::start().unwrap();
    let mut agent = Agent::start(&lab, &Settings::default()).unwrap();
    check_blocked(&Curl::get(url(MONITORED, DOCX)).send(&lab).unwrap(), DOCX);
    let held = agent.kernel_objects();
    let hooks = attached(lab.cgroup()).unwrap();
    assert!(held.count("prog") > 0 && held.count("map") > 0, "the agent holds {held}");
    for hook in ["inet4_connect", "inet6_connect", "inet4_getpeername", "inet6_getpeername", "inet_egress"] {
        assert!(hooks.iter().any(|own| own.contains(hook)), "no {hook} among {hooks:?}");
    }

    let status = agent.stop().unwrap();
    assert!(status.success(), "{status}\n{}", agent.log());
    // The kernel frees programs and maps a little after their last reference goes.
    lab::wait::until("the kernel to free the agent's objects", lab::wait::PATIENCE, || {
        Ok(Objects::existing()?.also_in(&held).is_empty().then_some(()))
    })
    .unwrap_or_else(|error| panic!("{error}: {}", Objects::existing().unwrap().also_in(&held)));
    assert_eq!(attached(lab.cgroup()).unwrap(), Vec::<String>::new());
    // Nothing stands between client and origin any more.
    check_passed(&Curl::get(url(MONITORED, DOCX)).send(&lab).unwrap(), MONITORED, DOCX);
}

/// A39: unmonitored sites never notice that the agent was killed, and its next start serves again.
#[test]
fn a_killed_agent_does_not_disturb_unmonitored_sites() {
    let lab = Lab::start().unwrap();
    let mut agent = Agent::start(&lab, &Settings::default()).unwrap();
    let stop = AtomicBool::new(false);
    let (seen, slow) = std::thread::scope(|scope| {
        let _stop = Stop(&stop);
        let (stop, lab) = (&stop, &lab);
        let requests =
            [url(UNMONITORED, PAGE), url(UNMONITORED, DOCX), format!("http://{UNMONITORED}/")].map(Curl::get);
        let looping = scope.spawn(move || request_until(stop, lab, &requests));
        let slow = scope.spawn(move || Curl::get(url(UNMONITORED, SLOW)).send(lab));
        std::thread::sleep(Duration::from_millis(800));
        agent.kill().unwrap();
        std::thread::sleep(Duration::from_millis(1500));
        agent.start_again().unwrap();
        std::thread::sleep(Duration::from_millis(500));
        drop(_stop);
        (looping.join().unwrap(), slow.join().unwrap())
    });
    assert!(seen.len() > 5, "only {} requests", seen.len());
    for one in &seen {
        assert_eq!(one.result, Ok(200));
    }
    check_passed(&slow.unwrap(), UNMONITORED, SLOW);
    check_blocked(&Curl::get(url(MONITORED, DOCX)).send(&lab).unwrap(), DOCX);
}

/// How many requests; the number that releases are measured with is 50000.
const REQUESTS_VARIABLE: &str = "PORTCULLIS_TEST_REQUESTS";
const REQUESTS: u32 = 1000;
/// So that some restarts have nothing to wait for.
const BETWEEN_TRANSFERS: Duration = Duration::from_secs(10);

/// A40: restart after restart while clients ask a monitored site on connections that they keep: no request fails, none goes
/// past the agent, and a transfer that runs at the time of a restart arrives whole.
#[test]
fn restarts_fail_no_request_and_cut_no_transfer() {
    let requests = std::env::var(REQUESTS_VARIABLE).map_or(REQUESTS, |text| text.parse().unwrap());
    let lab = Lab::start().unwrap();
    let mut agent = Agent::start(&lab, &Settings { compliant: true, ..Settings::default() }).unwrap();
    check_passed(&Curl::get(url(MONITORED, DOCX)).send(&lab).unwrap(), MONITORED, DOCX);
    let size = DOCX.body(MONITORED).len();
    let (asked, restarts) = agent
        .restarted_during(|| {
            std::thread::scope(|scope| {
                let asking =
                    scope.spawn(|| client::ask_often(&lab, MONITORED, DOCX.path, size, requests).unwrap());
                // Each of them lasts longer than an agent does.
                while !asking.is_finished() {
                    check_passed(&Curl::get(url(MONITORED, SLOW)).send(&lab).unwrap(), MONITORED, SLOW);
                    std::thread::sleep(BETWEEN_TRANSFERS);
                }
                asking.join().unwrap()
            })
        })
        .unwrap();
    println!("{requests} requests, {restarts} restarts: {asked}");
    assert_eq!(asked["failures"], serde_json::json!([]));
    assert!(restarts >= 2, "{restarts} restarts");
    let issuers: Vec<_> = asked["connections"].as_object().unwrap().keys().collect();
    assert_eq!(issuers, ["Portcullis"], "{asked}");
}
